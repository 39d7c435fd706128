"""Learning recipes: head motion does not count, what is visible is recovered, what is not stays as FACS has it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from emo_avatar.head.arkit import arkit_weights
from emo_avatar.head.data import ARKIT_NAMES
from emo_avatar.head.facs import arkit_from_facs, facs_code
from emo_avatar.training.recipes import APEX, MOST, PROTOTYPES, displacement, explain, styles, symmetric_units

RNG = np.random.default_rng(0)
FACE = RNG.normal(0, 0.04, (478, 3))
BLIND = "cheekSquint"


class LinearFace:
    """A landmarker to whom every unit moves its own random landmarks, except one that it cannot see."""

    def __init__(self):
        self._units = RNG.normal(0, 0.004, (len(ARKIT_NAMES), 478, 2))
        for left, name in enumerate(ARKIT_NAMES):
            if name.startswith(BLIND):
                self._units[left] = 0
        self.neutral = FACE

    def displacement(self, weights):
        return np.tensordot(weights, self._units, 1)

    def visibility(self, unit, seen):
        return 1.0 if np.abs(seen).max() > 0 else 0.0


@pytest.fixture(scope="module")
def face():
    return LinearFace()


@settings(max_examples=25, deadline=None)
@given(st.floats(0.3, 4.0), st.floats(-0.4, 0.4), st.floats(-0.4, 0.4), st.integers(0, 1000))
def test_moving_the_head_is_no_expression(scale, yaw, roll, seed):
    turn = Rotation.from_euler("yz", [yaw, roll])
    moved = scale * turn.apply(FACE) + np.random.default_rng(seed).normal(size=3)
    assert np.abs(displacement(FACE, moved, FACE)).max() < 1e-9


def test_raised_brows_are_measured_in_metres_whatever_the_picture_s_scale():
    brow = 105
    raised = FACE.copy()
    raised[brow, 1] += 0.005
    shift = displacement(700 * FACE, 1300 * raised + 20, FACE)
    assert shift[brow, 1] == pytest.approx(0.005, rel=0.02)
    assert np.abs(np.delete(shift, brow, axis=0)).max() < 2e-4


@pytest.mark.parametrize("emotion", ["happy", "sad", "surprised"])
def test_what_is_shown_is_recovered(face, emotion):
    shown = arkit_from_facs(facs_code(PROTOTYPES[emotion])) * 0.6 + arkit_weights(mouthRollLower=0.3)
    limit = np.array([MOST.get(name.removesuffix("Left").removesuffix("Right"), 1.2) for name in ARKIT_NAMES])
    shown = np.minimum(shown, limit / APEX[emotion])
    found = explain([face.displacement(shown)], emotion, face)[0]
    seen = np.array([not name.startswith(BLIND) for name in ARKIT_NAMES])
    possible = symmetric_units()[1].any(0)
    assert np.abs(found - shown)[seen & possible].max() < 0.1


def test_what_the_landmarker_is_blind_to_stays_as_the_prototype_has_it(face):
    found = explain([face.displacement(arkit_weights(mouthSmile=0.5))], "happy", face)[0]
    prototype = arkit_from_facs(facs_code(PROTOTYPES["happy"]))
    cheek = ARKIT_NAMES.index("cheekSquintLeft")
    assert found[cheek] == pytest.approx(prototype[cheek], abs=0.01)


def test_styles_group_what_is_alike():
    wide, narrow = arkit_weights(mouthSmile=1.0, jawOpen=0.5), arkit_weights(mouthSmile=0.6)
    found = styles(np.stack([wide, narrow, wide, wide]), ["a", "b", "c", "d"])
    assert [style["style"] for style in found] == ["a, c, d", "b"]
    assert [style["share"] for style in found] == [0.75, 0.25]
    assert found[0]["weights"]["jawOpen"] == 0.5 and "jawOpen" not in found[1]["weights"]
    assert found[0]["intensity"] > 1 > found[1]["intensity"]
