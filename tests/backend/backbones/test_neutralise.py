"""The neutral face is found in a closed loop: by scores and, where a photo smiles, by the corners of the mouth."""

from types import SimpleNamespace

import numpy as np
import pytest

from emo_avatar.backbones.uv import neutralise
from emo_avatar.backbones.uv.neutralise import LEVEL, RELAXED, neutral_correction
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
        for name, value in RELAXED.items():
            scores[[i for unit, i in UNITS.items() if unit.startswith(name)]] = value
        return [SimpleNamespace(blendshapes=scores, points=points)]


def corrected(monkeypatch, detector, **photo):
    monkeypatch.setattr(neutralise, "detect_faces", detector)
    scores = np.ones(52, np.float32)  # of all that the detector may be right to see
    for name, value in photo.items():
        scores[arkit_weights(**{name: 1.0}) > 0] = value
    return neutral_correction(scores, lambda weights: weights)


@pytest.mark.parametrize("roll", [0.0, 0.4, -0.4])
def test_a_smile_that_scores_do_not_see_is_taken_off_by_the_corners(monkeypatch, roll):
    detector = Detector(lift=0.06, roll=roll)
    weights = corrected(monkeypatch, detector, mouthSmile=0.9)
    assert weights[UNITS["mouthSmileLeft"]] < 0 < weights[UNITS["mouthFrownLeft"]]
    assert weights[UNITS["mouthSmileLeft"]] == weights[UNITS["mouthSmileRight"]]
    assert detector.seen[-1] == pytest.approx(LEVEL, abs=0.01)


def test_corners_that_are_up_by_nature_stay(monkeypatch):
    assert not corrected(monkeypatch, Detector(lift=0.06), mouthSmile=0.1).any()


def test_no_face_no_correction(monkeypatch):
    assert not corrected(monkeypatch, lambda picture: []).any()
