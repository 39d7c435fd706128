"""Speech as motion: lips meet where sounds demand it, everything repeats from its seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_avatar.data.articulation import TimedPhonemes, articulate
from emo_avatar.data.persons import draw_person
from emo_avatar.data.phonemes import PHONEMES
from emo_avatar.data.speech import timed, utterance
from emo_avatar.data.text import phonemes_of_text
from emo_avatar.emotion.recipes import load_recipes
from emo_avatar.head.data import ARKIT_NAMES

PERSON = draw_person(0, load_recipes())
FPS = 30.0


def said(*symbols):
    centres = 0.3 + 0.09 * np.arange(len(symbols), dtype=np.float32)
    phonemes = TimedPhonemes(symbols, centres, np.ones(len(symbols), np.float32))
    return articulate(phonemes, PERSON.speaking, 60, FPS), np.round(centres * FPS).astype(int)


@pytest.mark.parametrize(
    ("text", "sounds"),
    [
        ("Hello, people!", "HH EH L OW _ P IY P AH L _"),
        ("the quick ship", "TH AH K W IH K SH IH P"),
        ("make five", "M EH IY K F AA IY V"),
        ("", ""),
        ("123 %", ""),
    ],
)
def test_text_becomes_sounds(text, sounds):
    assert " ".join(phonemes_of_text(text)) == sounds


@given(st.text(max_size=60))
def test_any_text_becomes_known_sounds(text):
    assert set(phonemes_of_text(text)) <= set(PHONEMES)


@given(st.sampled_from("BPM"), st.sampled_from(["AA", "IY", "UW", "OW"]), st.sampled_from(["AA", "IY", "UW", "OW"]))
def test_bilabials_close_the_lips_among_any_vowels(bilabial, before, after):
    mouth, frames = said(before, bilabial, after)
    assert mouth.closure[frames[1]] > 0.9
    assert mouth.closure[[frames[0] - 4, frames[2] + 4]].max() < 0.5


def test_a_rounded_vowel_reaches_into_the_consonant_before_it():
    pucker = ARKIT_NAMES.index("mouthPucker")
    rounded, frames = said("T", "UW")
    spread, _ = said("T", "IY")
    assert rounded.arkit[frames[0], pucker] > 0.1
    assert spread.arkit[frames[0], pucker] < 0.02


def test_a_mouth_with_nothing_to_say_rests():
    mouth, _ = said("_")
    assert np.abs(mouth.arkit).max() < 1e-6
    assert mouth.closure.max() == 0


@settings(max_examples=20)
@given(st.floats(0.5, 4.0), st.floats(0.7, 1.4))
def test_sounds_fill_the_time_in_order(seconds, rate):
    phonemes = timed(["M", "AA", "_"], rate, seconds, np.random.default_rng(0))
    assert (np.diff(phonemes.centres) > 0).all()
    assert phonemes.centres[-1] > seconds - 1.0


def test_utterances_repeat_from_their_seed_and_differ_between_seeds():
    one, again, other = utterance(3, 2.0, 25.0), utterance(3, 2.0, 25.0), utterance(4, 2.0, 25.0)
    assert len(one) == 50
    assert np.array_equal(one.expression, again.expression)
    assert not np.array_equal(one.expression, other.expression)
    assert one.jaw_pose[:, 0].max() > 0.03  # somebody is speaking
