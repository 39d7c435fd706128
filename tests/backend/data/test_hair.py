from dataclasses import replace

import numpy as np

from emo_avatar.data.canvas import canvas
from emo_avatar.data.complexions import complexion
from emo_avatar.data.hair import STYLES, fit_hair
from emo_avatar.data.studio import draw_setting, shoot
from emo_avatar.data.subjects import draw_subject
from emo_avatar.head.data import open_head
from emo_avatar.motion.flame_sequence import FlameSequence


def test_sampled_skins_are_uneven_but_no_other_colour(makehuman_files):
    for name in ("young_caucasian_female2", "old_african_male"):
        added = complexion(name).astype(float)
        assert added.shape == (len(canvas().pixels), 2) and 0.03 < added.std() < 0.2
        assert np.abs(np.median(added, axis=0)).max() < 0.1 and np.abs(added).max() < 0.36


def styles(**wanted):
    return [style for style in STYLES if all(getattr(style, k) == v for k, v in wanted.items())]


def test_hair_lies_on_every_head(makehuman_files):
    for seed in (1, 2):
        head = draw_subject(seed).head
        crown = head.v_template[head.regions["scalp"]][:, 1].max()
        for style in styles(facial=False):
            hair = fit_hair(style, head)
            assert -0.02 < hair.cards.vertices[:, 1].max() - crown < 0.06, style.name
            assert np.isfinite(hair.cards.vertices).all() and np.allclose(hair.shares.sum(1), 1)
            assert np.allclose(np.linalg.norm(hair.cards.normals, axis=1), 1, atol=1e-3)


def test_beards_follow_the_jaw_and_hair_does_not(makehuman_files):
    head = open_head()
    opened = head.v_template + np.where(head.regions["lower_lip"][:, None], [0, -0.01, 0], 0)
    opened = opened.astype(np.float64)
    opened[:, 1] -= 0.01 * (head.v_template[:, 1] < -0.08)
    for style in (styles(name="Full_beard")[0], styles(name="short04")[0]):
        hair = fit_hair(style, head)
        moved = hair.posed(head.v_template, opened, np.eye(4)).vertices - hair.cards.vertices
        assert (np.abs(moved).max() > 0.005) == style.facial


def test_hair_hides_the_scalp_and_not_the_face(makehuman_files):
    subject = draw_subject(1)
    setting = draw_setting(np.random.default_rng(0), subject, 96, max_yaw=5)
    still, calm = FlameSequence.still(1), np.zeros(6)
    plain = shoot(subject, still, calm, setting).rgb
    haired = replace(subject, look=replace(subject.look, hair=tuple(styles(name="short04"))))
    changed = np.abs(shoot(haired, still, calm, setting).rgb - plain).max(-1) > 0.05
    camera = setting.camera
    for region, fewest, most in (("scalp", 0.5, 1.0), ("nose", 0.0, 0.1)):
        (x, y), _ = (a.T for a in camera.project(subject.head.v_template[subject.head.regions[region]]))
        share = changed[y.astype(int).clip(0, 95), x.astype(int).clip(0, 95)].mean()
        assert fewest <= share <= most, region
