"""The mouth's opening: its rims, the light between them, and what becomes of the line between closed lips."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emo_avatar.avatar.appearance import SkinAppearance
from emo_avatar.avatar.gaussians import Gaussians, sh_from_rgb
from emo_avatar.avatar.mouth import BRIGHTER, DARKEST, Mouth, MouthModulator
from emo_avatar.head.arkit import arkit_weights, flame_from_arkit
from emo_avatar.head.data import HeadData, load_head
from emo_avatar.head.model import HeadModel

SMILE = {"mouthSmile": 1.2, "mouthUpperUp": 0.6, "jawOpen": 0.3, "mouthLowerDown": 0.3}
GASP = {"jawOpen": 0.8, "mouthFunnel": 0.4}


@pytest.fixture(scope="module")
def head() -> HeadData:
    return load_head()


@pytest.fixture(scope="module")
def mouth(head) -> Mouth:
    found = Mouth.of(head)
    assert found is not None
    return found


def shaped(head: HeadData, **units: float) -> np.ndarray:  # [V, 3]
    expression, jaw, eyes = (torch.from_numpy(a)[None] for a in flame_from_arkit(head, arkit_weights(**units)))
    with torch.no_grad():
        return HeadModel(head)(expression=expression, jaw_pose=jaw, eyes_pose=eyes).vertices[0].numpy()


def test_the_rims_part_when_the_jaw_opens(head, mouth):
    opened = shaped(head, jawOpen=0.7)
    middle_up, middle_low = (opened[side[len(side) // 2]] for side in (mouth.upper, mouth.lower))
    assert middle_up[1] - middle_low[1] > 0.008
    assert set(mouth.upper) & set(mouth.lower), "the corners are of both lips"
    across = np.abs(head.v_template[mouth.rim, 0] - head.v_template[mouth.partner, 0])
    assert across.max() < 0.006, "lips meet what is opposite"


def test_a_smile_lights_the_upper_teeth_and_a_gasp_leaves_them_in_shade(head, mouth):
    teeth = np.unique(head.faces[head.face_part == head.part_names.index("upper_teeth")])
    front = teeth[head.v_template[teeth, 2] > head.v_template[teeth, 2].max() - 0.008]
    smile, gasp, shut = (mouth.light(shaped(head, **units))[front] for units in (SMILE, GASP, {}))
    assert np.percentile(smile, 75) > 0.8
    assert np.percentile(gasp, 75) < 0.5 * np.percentile(smile, 75)
    assert shut.max() < 0.6
    assert min(light.min() for light in (smile, gasp, shut)) >= DARKEST - 1e-6


def test_there_is_no_mouth_s_shade_on_a_face(head, mouth):
    light = mouth.light(shaped(head, **GASP))
    assert np.array_equal(np.flatnonzero(light < 1), np.intersect1d(np.flatnonzero(light < 1), mouth.inside))


def modulated(head: HeadData, mouth: Mouth, detail: float, photo: dict, now: dict) -> tuple[np.ndarray, np.ndarray]:
    """Opacity and brightness of one grey Gaussian on every triangle."""
    n = len(head.faces)
    skin = SkinAppearance(
        neutral=head.v_template,
        photo=shaped(head, **photo),
        shaded=np.ones(n, bool),
        stretch_limit=np.full(n, 10, np.float32),
        barycentric=np.full((n, 3), 1 / 3, np.float32),
        folds=np.zeros((n, 3), np.uint8),
        detail=np.full(n, detail, np.float32),
    )
    grey = sh_from_rgb(torch.full((n, 3), 0.5))
    gaussians = Gaussians(torch.zeros(n, 3), torch.ones(n, 4), torch.ones(n, 3), torch.ones(n), grey)
    modulator = MouthModulator(mouth, skin, head.faces, np.arange(n, dtype=np.int32))
    out = modulator(gaussians, torch.from_numpy(shaped(head, **now)))
    return out.opacities.numpy(), (out.sh[:, 0, 0] * 0.28209479 + 0.5).numpy()


def test_the_photo_s_teeth_are_as_bright_as_in_it_and_no_brighter_than_light_makes_them(head, mouth):
    _, same = modulated(head, mouth, -1, SMILE, SMILE)
    assert np.allclose(same, 0.5, atol=1e-5)
    _, brighter = modulated(head, mouth, -1, GASP, SMILE)
    assert brighter.max() <= 0.5 * BRIGHTER + 1e-5
    _, shut = modulated(head, mouth, -1, SMILE, {})
    assert shut[mouth.faces].mean() < 0.8 * 0.5 and np.allclose(shut[~mouth.faces], 0.5)


def test_the_line_between_lips_stays_while_they_touch_and_goes_when_they_part(head, mouth):
    still, _ = modulated(head, mouth, 2, {}, {})
    assert np.allclose(still, 1)
    opened, _ = modulated(head, mouth, 2, {}, {"jawOpen": 0.6})
    lips = np.isin(head.faces, mouth.rim[len(mouth.rim) // 2 :]).any(1)
    assert np.isin(head.faces, mouth.lips).any(1)[opened < 1].all(), "nothing beyond the lips goes"
    assert (opened < 0.05)[lips].mean() > 0.3
    plain, _ = modulated(head, mouth, 1, {}, {"jawOpen": 0.6})
    assert np.allclose(plain, 1), "other pixels stay"


def test_a_head_without_a_bag_has_no_opening(head):
    regions = {name: each for name, each in head.regions.items() if name != "mouth_bag"}
    assert Mouth.of(replace(head, regions=regions)) is None
