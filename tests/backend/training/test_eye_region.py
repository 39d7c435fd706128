"""Exaggeration stops short of the eyes: brows and lids keep the heights asked for; what is clear stays as it was."""

import numpy as np
import pytest

from emo_avatar.head.arkit import arkit_weights
from emo_avatar.head.data import load_head
from emo_avatar.training.eye_region import height_rates, heights, with_clear_eyes
from emo_avatar.training.recipes import Synthesis, most_of, symmetric_units

STEMS, UNITS = symmetric_units()
AT_REST = np.ones(4)


@pytest.fixture(scope="module")
def rates():
    return height_rates(Synthesis(load_head()).landmarks, UNITS)


def mixture(**units):
    return np.array([units.get(stem, 0.0) for stem in STEMS])


def test_heights_are_measured_in_either_eye():
    points = np.random.default_rng(0).normal(size=(478, 3))
    mirrored = points.copy()
    mirrored[:, 0] *= -1
    assert np.allclose(heights(mirrored), heights(points))
    raised = points.copy()
    raised[[107, 55, 336, 285], 1] += 0.5  # the inner ends of both brows
    assert np.allclose(heights(raised) - heights(points), [0, 0.5, 0, 0])


def test_units_move_what_they_are_named_after(rates):
    by_name = dict(zip(STEMS, rates.T, strict=True))
    assert by_name["eyeWide"][0] > 0.2 > 0 > by_name["eyeBlink"][0]
    assert (by_name["browDown"][1:] < -0.1).all()
    assert by_name["browInnerUp"][1] > by_name["browInnerUp"][3] and by_name["browOuterUp"][3] > 0.1
    assert np.allclose(by_name["mouthFrown"], 0, atol=0.02)


def test_rates_predict_what_a_mixture_does(rates):
    synthesis = Synthesis(load_head())
    asked = mixture(browDown=0.7, eyeWide=0.5, noseSneer=0.4)
    rest = heights(synthesis.landmarks(arkit_weights()))
    assert np.allclose(heights(synthesis.landmarks((asked @ UNITS).astype("f4"))) / rest, 1 + rates @ asked, atol=1e-3)


def test_clear_eyes_stay_as_they_are(rates):
    asked = mixture(browInnerUp=1.0, eyeWide=1.0, mouthFrown=1.0)
    assert np.allclose(with_clear_eyes(asked, 0.8 * AT_REST, rates, asked), asked, atol=1e-5)


def test_brows_that_bury_the_eyes_come_up_and_nothing_else_moves(rates):
    asked = mixture(browDown=2.5, eyeSquint=0.8, mouthFrown=1.0, browInnerUp=0.0)
    found = with_clear_eyes(asked, 0.8 * AT_REST, rates, asked)
    assert (1 + rates @ found >= 0.8 - 0.01).all()
    assert (found <= asked + 1e-6).all() and (found >= 0).all()
    assert found[STEMS.index("mouthFrown")] == pytest.approx(1.0, abs=0.01)


def test_units_that_may_rise_help(rates):
    asked = mixture(browDown=1.0)
    stiff = with_clear_eyes(asked, AT_REST, rates, asked)
    helped = with_clear_eyes(asked, AT_REST, rates, most_of(STEMS))
    assert helped[STEMS.index("browDown")] > stiff[STEMS.index("browDown")]
    assert helped[STEMS.index("browInnerUp")] > 0
