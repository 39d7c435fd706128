"""The neutral face is found in a closed loop: by scores and, where a photo smiles, by the corners of the mouth."""

from types import SimpleNamespace

import numpy as np
import pytest

from emo_avatar.backbones.portrait import neutralise
from emo_avatar.backbones.portrait.neutralise import LEVEL, RELAXED, neutral_correction
from emo_avatar.head.arkit import arkit_weights
from emo_avatar.head.data import ARKIT_NAMES

UNITS = {name: i for i, name in enumerate(ARKIT_NAMES)}


class Detector:
    """Sees the weights that are put on a face whose corners are lifted, and no smile at all."""

    def __init__(self, lift: float, roll: float = 0.0) -> None:
        self.lift, self.roll, self.seen = lift, roll, []

    def __call__(self, weights):
        frown, smile = weights[UNITS["mouthFrownLeft"]], weights[UNITS["mouthSmileLeft"]]
        lift = self.lift + 0.13 * (smile - frown)
        points = np.zeros((478, 3))
        points[[61, 291], 0] = 0, 100
        points[[13, 14], 0] = 50
        points[[13, 14], 1] = 100 * lift  # y points down
        c, s = np.cos(self.roll), np.sin(self.roll)
        points[:, :2] = points[:, :2] @ np.array([[c, s], [-s, c]])
        self.seen.append(lift)
        scores = np.zeros(52, np.float32)
        for name, (low, high) in (item for group in RELAXED for item in group.items()):
            scores[[i for unit, i in UNITS.items() if unit.startswith(name)]] = (low + high) / 2
        return [SimpleNamespace(blendshapes=scores, points=points)]


def corrected(monkeypatch, detector, **photo):
    monkeypatch.setattr(neutralise, "detect_faces", detector)
    scores = np.ones(52, np.float32)  # of all that the detector may be right to see
    for name, value in photo.items():
        scores[[i for unit, i in UNITS.items() if unit.startswith(name)]] = value
    return neutral_correction(scores, scores, lambda weights: weights)


@pytest.mark.parametrize("roll", [0.0, 0.4, -0.4])
def test_a_smile_that_scores_do_not_see_is_taken_off_by_the_corners(monkeypatch, roll):
    detector = Detector(lift=0.06, roll=roll)
    weights = corrected(monkeypatch, detector, mouthSmile=0.9)
    assert weights[UNITS["mouthSmileLeft"]] < 0 < weights[UNITS["mouthFrownLeft"]]
    assert weights[UNITS["mouthSmileLeft"]] == weights[UNITS["mouthSmileRight"]]
    assert detector.seen[-1] == pytest.approx(LEVEL, abs=0.01)


def test_corners_that_are_up_by_nature_stay(monkeypatch):
    assert not corrected(monkeypatch, Detector(lift=0.06), mouthSmile=0.1).any()


class Brows:
    """Sees brows as high as they are by nature, and as weights raise them."""

    def __init__(self, natural: float) -> None:
        self.natural = natural

    def __call__(self, weights):
        scores = np.zeros(52, np.float32)
        scores[UNITS["eyeSquintLeft"]] = scores[UNITS["eyeSquintRight"]] = 0.2
        scores[UNITS["eyeBlinkLeft"]] = scores[UNITS["eyeBlinkRight"]] = 0.1
        for side in ("Left", "Right"):
            scores[UNITS[f"browOuterUp{side}"]] = self.natural + weights[UNITS[f"browOuterUp{side}"]]
        return [SimpleNamespace(blendshapes=scores, points=np.zeros((478, 3)) + np.arange(478)[:, None])]


def test_a_frown_does_not_tell_how_high_brows_are_at_rest(monkeypatch):
    monkeypatch.setattr(neutralise, "detect_faces", Brows(0.6))
    frown = arkit_weights(browDown=0.9)
    weights = neutral_correction(frown, frown, lambda weights: weights)
    assert not weights[UNITS["browOuterUpLeft"]]


def test_brows_at_rest_stay_where_the_photo_has_them(monkeypatch):
    monkeypatch.setattr(neutralise, "detect_faces", Brows(0.4))
    weights = neutral_correction(
        arkit_weights(browOuterUp=0.3), arkit_weights(browOuterUp=0.3), lambda weights: weights
    )
    assert weights[UNITS["browOuterUpLeft"]] == pytest.approx(-0.1, abs=0.05)


def test_no_more_is_corrected_than_was_posed(monkeypatch):
    monkeypatch.setattr(neutralise, "detect_faces", Brows(0.4))
    weights = neutral_correction(
        arkit_weights(browOuterUp=0.1), arkit_weights(browOuterUp=0.02), lambda weights: weights
    )
    assert abs(weights[UNITS["browOuterUpLeft"]]) <= 0.02 + 1e-6


def test_no_face_no_correction(monkeypatch):
    assert not corrected(monkeypatch, lambda picture: []).any()
