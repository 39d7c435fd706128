"""The judgement of the geometry modulator: the measures measure, and the shipped weights keep their promises."""

import numpy as np
import pytest

from emo_avatar.data.lips import as_shut_as, lip_gap_rows
from emo_avatar.emotion.geometry import N_PARAMETERS, load_modulator
from emo_avatar.evaluation import geometry
from emo_avatar.evaluation.geometry import InnerLips, evaluate_geometry, largest_step, path_weights
from emo_avatar.evaluation.recognition import largest_reversal
from emo_avatar.head.arkit import arkit_weights, flame_from_arkit
from emo_avatar.head.data import load_head
from emo_avatar.motion.timeline import EMOTIONS

HEAD = load_head()


def parameters(**units):
    expression, jaw, _ = flame_from_arkit(HEAD, arkit_weights(**units))
    return np.concatenate([expression, jaw])[None]


def test_an_open_mouth_is_apart_and_a_closed_one_is_not():
    lips = InnerLips(HEAD)
    assert lips.parted(np.zeros((1, N_PARAMETERS), np.float32))[0] == 0
    assert lips.parted(parameters(mouthPress=0.5))[0] == 0
    assert lips.parted(parameters(jawOpen=0.3))[0] > 4
    assert lips.parted(parameters(jawOpen=0.1, mouthClose=0.1))[0] < 1


def test_lips_are_brought_to_the_distance_they_had():
    driving, smiling = parameters(jawOpen=0.05), parameters(jawOpen=0.1, mouthSmile=1.0, mouthUpperUp=0.6)
    gap = lip_gap_rows(HEAD).mean(0)
    shut = as_shut_as(HEAD, smiling, driving, np.ones(1, np.float32))
    assert (shut - driving) @ gap == pytest.approx(0, abs=1e-3)
    assert np.array_equal(as_shut_as(HEAD, smiling, driving, np.zeros(1, np.float32)), smiling)


def test_paths_and_their_measures():
    weights = path_weights(("happy", "neutral", "sad"))
    assert weights.shape == (61, 6)
    assert weights[0, EMOTIONS.index("happy")] == weights[-1, EMOTIONS.index("sad")] == 1
    assert not weights[30].any()
    assert largest_step(np.linspace(0, 1, 11)[:, None] * np.ones(N_PARAMETERS)) == pytest.approx(1)
    assert largest_reversal(np.array([0.1, 0.3, 0.2, 0.25, 0.9])) == pytest.approx(0.1)


def test_the_shipped_modulator_keeps_its_promises(monkeypatch):
    """The full judgement, with pictures and more people, is `emo-avatar evaluate geometry`."""
    monkeypatch.setattr(geometry, "path_reversals", lambda *_: {"unseen": (0.0, 0.0)})
    report = evaluate_geometry(HEAD, load_modulator(HEAD), takes=8)
    assert report.passed, report
    assert report.mean("aed_ours") < report.mean("aed_recipe") < report.mean("aed_driving")
