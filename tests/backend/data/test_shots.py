from dataclasses import replace

import numpy as np
import pytest

from emo_avatar.avatar.personal import personal_head
from emo_avatar.data.as_portrait import portrait_of, tracked_motion
from emo_avatar.data.studio import draw_setting, shoot
from emo_avatar.data.subjects import draw_subject
from emo_avatar.data.synchronised_shots import draw_example, draw_sequence
from emo_avatar.head.arkit import flame_from_arkit
from emo_avatar.head.data import N_SHAPE, open_head
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import EMOTIONS


@pytest.fixture(scope="module")
def example():
    return draw_example(3, size=128)


def test_a_seed_is_a_person(example):
    again = draw_subject(3)
    assert np.array_equal(again.look.albedo, example.subject.look.albedo)
    assert np.array_equal(again.head.v_template, example.subject.head.v_template)
    assert not np.allclose(draw_subject(4).look.albedo, again.look.albedo)


def test_an_example_is_the_same_each_time(example):
    again = draw_example(3, size=128)
    assert np.array_equal(again.target.rgb, example.target.rgb) and np.array_equal(again.source.rgb, example.source.rgb)
    assert np.array_equal(again.driving.expression, example.driving.expression)


def test_a_shot_shows_a_head_before_its_background(example):
    shot = example.target
    assert shot.rgb.shape == (128, 128, 3) and shot.rgb.dtype == np.float32
    assert 0.15 < (shot.alpha == 1).mean() < 0.9
    clear = shot.alpha == 0
    assert clear.any() and np.allclose(shot.rgb[clear], shot.setting.background[clear])
    assert np.isfinite(shot.rgb).all() and shot.rgb.min() >= 0 and shot.rgb.max() <= 1


def test_feeling_shows_in_colour_where_the_form_is_the_same(example):
    subject = example.subject
    setting = draw_setting(np.random.default_rng(0), subject, 128)
    still = FlameSequence.still(1)
    calm = shoot(subject, still, np.zeros(6), setting).rgb
    angry, afraid = (shoot(subject, still, np.eye(6)[EMOTIONS.index(name)], setting).rgb for name in ("angry", "fear"))

    def redness(rgb):
        return (rgb[..., 0] - rgb[..., 1]).mean()

    assert redness(angry) > redness(calm) > redness(afraid)
    assert np.array_equal(shoot(subject, still, np.zeros(6), setting).rgb, calm)


def test_folds_deepen_with_age():
    def forehead(seed, age):
        from emo_avatar.data.folds import draw_folds

        folds = draw_folds(np.random.default_rng(seed), age)
        return folds.depth(np.full((open_head().n_vertices, 3), 0.2)).sum()

    assert all(forehead(seed, 0.9) > forehead(seed, 0.1) for seed in range(4))


def test_a_raised_brow_folds_the_forehead_up_to_the_hair_and_nothing_else():
    """The mesh is shortened above the brows alone; skin slides."""
    from emo_avatar.data.folds import draw_folds

    head = open_head()
    x, y, z = head.v_template.T / 1e-3
    front = head.part("skin") & (z > 45) & (np.abs(x) < 20)
    shortened = np.zeros((head.n_vertices, 3))
    shortened[front & (y > 22) & (y < 42), 0] = 0.3
    depth = draw_folds(np.random.default_rng(0), 0.0).depth(shortened)[:, 0]
    assert depth[front & (y > 48) & (y < 55)].min() > 0.1
    assert not depth[front & (y < 0)].any()


def test_the_tracked_portrait_is_the_shot(example):
    head, shot = open_head(), example.source
    tracked = portrait_of(example.subject, shot)
    seen, _ = tracked.camera.project(tracked.vertices(head))
    true, _ = shot.setting.camera.resized(512).project(shot.vertices)
    face = head.regions["face"]
    assert np.abs(seen - true)[face].max() < 2.0
    assert tracked.rgb.shape == (512, 512, 3) and tracked.matte.shape == (512, 512)
    assert np.abs(tracked.landmarks - 256).max() < 256


def test_a_tracker_errs_but_little(example):
    exact, erring = (portrait_of(example.subject, example.source, rng) for rng in (None, np.random.default_rng(1)))
    moved = np.linalg.norm(exact.landmarks - erring.landmarks, axis=1)
    assert 0.2 < np.median(moved) < 8
    assert 0.002 < erring.landmark_error < 0.03 and exact.landmark_error == 0
    assert not np.array_equal(exact.shape, erring.shape)


@pytest.mark.parametrize("erring", [False, True])
def test_tracked_motion_agrees_with_the_tracked_portrait(example, erring):
    """The photograph's own frame comes out as the portrait has it, errors and all; other frames and cameras follow."""
    subject, shot, head = example.subject, example.source, open_head()
    portrait = portrait_of(subject, shot, np.random.default_rng(1) if erring else None)
    personal = replace(subject, head=personal_head(head, portrait.shape, portrait.static_offset))
    camera = shot.setting.camera.resized(512)

    again = replace(
        tracked_motion(subject, shot.frame, shot.setting.camera, shot, portrait), expression=portrait.expression[None]
    )
    rigid = head.regions["face"] & ~head.regions["lids"] & ~head.regions["eye_sockets"]
    (seen,), ours = personal.vertices(again), portrait.vertices(head)
    error = camera.project(seen)[0] - portrait.camera.project(ours)[0]
    assert np.abs(error[rigid]).max() < 1.0  # the lids move a little of what surrounds them

    other = example.target
    moved = tracked_motion(subject, other.frame, other.setting.camera, shot, portrait)
    seen, true = (other.setting.camera.project(v)[0] for v in (personal.vertices(moved)[0], other.vertices))
    side = np.ptp(true[rigid], axis=0).max()
    assert np.abs(seen - true)[rigid].max() < (0.08 if erring else 0.01) * side
    assert not moved.neck_pose.any()


def test_a_sequence_is_one_utterance_in_seven_emotions():
    sequence = draw_sequence(5, seconds=0.4, size=64)
    assert len(sequence) == 12 and len(sequence.emotional) == len(EMOTIONS)
    neutral, happy = sequence.frame(None, 6), sequence.frame(0, 6)
    assert not neutral[1].any() and happy[1][0] == 1
    assert np.array_equal(neutral[0].neck_pose, happy[0].neck_pose)
    assert not np.allclose(neutral[0].expression, happy[0].expression)


def test_the_identity_is_the_heads_own(example):
    subject = example.subject
    assert not subject.head.shapedirs[:, :, :N_SHAPE].any()
    blink = replace(FlameSequence.still(1), expression=flame_from_arkit(subject.head, np.eye(52)[:1])[0])
    assert not np.array_equal(subject.vertices(blink), subject.vertices(FlameSequence.still(1)))
