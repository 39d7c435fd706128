"""Synchronised takes: emotion changes the face and never the timing, and gives way where speech insists."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_avatar.data.emotional_speech import emotional_speech, follow
from emo_avatar.data.persons import draw_person
from emo_avatar.data.synchronised import draw_takes, draw_weights
from emo_avatar.emotion.recipes import load_recipes
from emo_avatar.head.arkit import arkit_weights
from emo_avatar.head.data import ARKIT_NAMES, load_head
from emo_avatar.motion.timeline import EMOTIONS

HEAD, RECIPES, FPS = load_head(), load_recipes(), 30.0
TAKES = draw_takes(range(12), RECIPES, 2.0, FPS)


def held(emotion, level=1.0, frames=60):
    weights = np.zeros((len(TAKES), frames, len(EMOTIONS)), np.float32)
    weights[..., EMOTIONS.index(emotion)] = level
    return weights


def unit(name):
    return ARKIT_NAMES.index(name)


def test_takes_repeat_from_their_seeds():
    again = draw_takes(range(12), RECIPES, 2.0, FPS)
    assert np.array_equal(TAKES.arkit, again.arkit)
    assert np.array_equal(TAKES.apex, again.apex)
    assert not np.array_equal(TAKES.arkit[0], TAKES.arkit[1])


def test_without_emotion_the_performance_is_the_driving_one():
    none = np.zeros((len(TAKES), 60, 6), np.float32)
    assert np.allclose(TAKES.under(HEAD, none, np.random.default_rng(0)), TAKES.driving(HEAD), atol=1e-5)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_stronger_emotion_departs_further_from_the_driving_performance(emotion):
    driving = TAKES.driving(HEAD)
    departures = [
        np.abs(TAKES.under(HEAD, held(emotion, level), np.random.default_rng(0)) - driving).mean()
        for level in (0.3, 0.6, 1.0)
    ]
    assert departures == sorted(departures)
    assert departures[2] > 2 * departures[0]


def one_frame(speech, closure, emotion):
    """A still take of one person who gives the emotion nothing up to speech beyond what the rules say."""
    weights = np.zeros((1, 1, 6), np.float32)
    return emotional_speech(
        speech[None, None], np.array([[closure]], np.float32), emotion[None, None], weights, np.zeros(1), FPS
    )[0, 0]


def test_shut_lips_stay_shut_under_a_smile_and_a_dropped_jaw():
    smile = arkit_weights(mouthSmile=1.2, mouthUpperUp=0.8, mouthLowerDown=0.5, jawOpen=0.5)
    shut = one_frame(arkit_weights(jawOpen=0.05), 1.0, smile)
    assert shut[unit("mouthUpperUpLeft")] == shut[unit("mouthLowerDownLeft")] == 0
    assert shut[unit("mouthClose")] == pytest.approx(shut[unit("jawOpen")])
    assert shut[unit("mouthSmileLeft")] > 0.8  # the corners go on smiling
    assert one_frame(arkit_weights(), 0.0, smile)[unit("jawOpen")] == pytest.approx(0.5)


def test_a_blink_closes_wide_eyes_and_rounding_takes_from_a_smile():
    wide = arkit_weights(eyeWide=1.5, mouthSmile=1.0)
    assert one_frame(arkit_weights(eyeBlink=1.0), 0.0, wide)[unit("eyeWideLeft")] == 0
    rounded = one_frame(arkit_weights(mouthPucker=0.8), 0.0, wide)
    assert rounded[unit("mouthSmileLeft")] < 0.6


def test_muscles_follow_faster_up_than_down_and_are_settled_at_first():
    weights = np.zeros((1, 60, 6), np.float32)
    weights[:, :30, 0] = 1
    onset, offset = np.full((1, 52), 0.06), np.full((1, 52), 0.12)
    fall = follow(weights, onset, offset, FPS)[0, :, 0, 0]
    rise = follow(1 - weights, onset, offset, FPS)[0, :, 0, 0]
    assert np.all(fall[:30] == 1)
    assert 0 < 1 - rise[32] < fall[32] < 1


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 90))
def test_curves_are_what_an_artist_could_key(seed, frames):
    weights = draw_weights(np.random.default_rng(seed), frames, FPS)
    assert weights.shape == (frames, 6)
    assert weights.min() >= 0 and weights.max() <= 1
    assert (weights.max(0) > 0).sum() <= 2


def test_lively_speakers_are_lively_emoters():
    people = [draw_person(seed, RECIPES) for seed in range(150)]
    articulation = [np.log(person.speaking.articulation).mean() for person in people]
    strength = [np.log(person.emotional.apex.sum()) for person in people]
    assert 0.3 < np.corrcoef(articulation, strength)[0, 1] < 0.9
