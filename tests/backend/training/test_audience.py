"""Tuning recipes: what is read is kept, what is not is moved, within reach and no farther."""

import numpy as np
import pytest
import torch

from emo_avatar.data.portraits import captioned_portraits
from emo_avatar.evaluation.recognisers import LABELS
from emo_avatar.training import audience
from emo_avatar.training.audience import REACH, UNREAD, Player, judgement, tuned
from emo_avatar.training.recipes import most_of, prototype, symmetric_units

STEMS, UNITS = symmetric_units()
JAW = STEMS.index("jawOpen")
EMOTION = "fear"


class Reader:
    """Reads fear in the first value of a crop."""

    name, margin = "reader", 1.0

    def __call__(self, crops):
        probabilities = torch.zeros(len(crops), len(LABELS))
        probabilities[:, LABELS.index(EMOTION)] = crops[:, 0, 0, 0]
        return probabilities


@pytest.fixture(scope="module")
def face():
    return next(p.rgb for p in captioned_portraits(("P001",)) if p.emotion == "neutral")


@pytest.fixture
def whole_pictures(monkeypatch):
    monkeypatch.setattr(
        audience, "face_crop", lambda rgb, landmarks, margin: torch.full((1, 3, 4, 4), float(rgb[0, 0, 0]) / 255)
    )


def player(face, unit, best):
    """Somebody whose fear is legible the nearer ``unit`` is to ``best``, and who is nobody in particular."""

    def show(weights, emotion, yaw):
        picture = face.copy()
        picture[0, 0] = round(255 * float(np.exp(-2 * abs((weights @ UNITS.T)[unit] - best))))
        return picture

    return Player(show, None)


def mixture():
    return np.minimum(prototype(EMOTION, UNITS), most_of(STEMS)) * (np.arange(len(STEMS)) != JAW)


def tune(players, evaluations=120):
    wanted = prototype(EMOTION, UNITS)
    return tuned(mixture(), EMOTION, wanted, STEMS, UNITS, most_of(STEMS), players, [Reader()], evaluations=evaluations)


def test_an_emotion_that_is_not_read_is_changed_until_it_is(face, whole_pictures):
    audience_s_taste = player(face, JAW, 0.4)
    after = tune([audience_s_taste])
    assert after[JAW] > 0.2
    before, now = (judgement(audience_s_taste, m @ UNITS, EMOTION, 0.0, [Reader()]) for m in (mixture(), after))
    assert now < before - 0.2


def test_no_unit_goes_farther_than_the_reach_or_its_own_most(face, whole_pictures):
    after = tune([player(face, JAW, 5.0)], evaluations=60)
    assert np.abs(after - mixture()).max() <= REACH + 1e-9
    assert (after >= 0).all() and (after <= most_of(STEMS) + 1e-9).all()


def test_the_same_search_twice_finds_the_same(face, whole_pictures):
    first, second = (tune([player(face, JAW, 0.4)], evaluations=30) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_face_that_is_somebody_else_s_costs(face, whole_pictures):
    somebody = audience.Player(player(face, JAW, 0.0).show, np.eye(128)[0])
    nobody = audience.Player(somebody.show, None)
    read = [judgement(p, np.zeros(52), EMOTION, 0.0, [Reader()]) for p in (somebody, nobody)]
    assert read[0] > read[1] + 0.5


def test_no_face_is_an_emotion_unread():
    blank = Player(lambda weights, emotion, yaw: np.full((64, 64, 3), 128, np.uint8), None)
    assert judgement(blank, np.zeros(52), EMOTION, 0.0, [Reader()]) == UNREAD
