"""Speech as motion: what lips, jaw, lids, eyes and head do while a text, or an invented sentence, is spoken."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from emo_avatar.data.articulation import TimedPhonemes, articulate
from emo_avatar.data.behaviour import NOD, accents, blinks, glances, head_sway
from emo_avatar.data.persons import Person, draw_person
from emo_avatar.data.phonemes import CONSONANTS, PAUSE, PHONEMES, VOWELS
from emo_avatar.data.text import phonemes_of_text
from emo_avatar.emotion.recipes import load_recipes
from emo_avatar.head.arkit import arkit_weights, flame_from_arkit
from emo_avatar.head.data import HeadData, load_head
from emo_avatar.motion.flame_sequence import FlameSequence

ACCENT_SHARE = 0.3  # of the syllables
ACCENT_STRETCH = 1.25  # accented vowels are longer and wider
PHRASE_SYLLABLES = (4, 10)
LEAD_IN = 0.25  # seconds of silence before the first sound


@dataclass(frozen=True)
class Speech:
    """One utterance of one person with a neutral mind, as ARKit weights."""

    fps: float
    arkit: np.ndarray  # [T, 52] float32, lips not yet closed by `closure`
    closure: np.ndarray  # [T] float32, 1 where p, b or m shuts the lips
    neck_pose: np.ndarray  # [T, 3] float32 radians

    def __len__(self) -> int:
        return len(self.arkit)


def utterance(
    text_or_seed: str | int, seconds: float, fps: float = 30.0, head: HeadData | None = None
) -> FlameSequence:
    """A talking head, for demonstrations and tests: a text (English), or an invented sentence of the given seed.

    A text that is shorter than ``seconds`` is repeated. ``head`` is the open head by default.
    """
    head = load_head() if head is None else head
    seed = text_or_seed if isinstance(text_or_seed, int) else zlib.crc32(text_or_seed.encode())
    rng = np.random.default_rng([seed, 1])
    person = draw_person(seed, load_recipes())
    if isinstance(text_or_seed, int):
        symbols = invented_sentence(rng, seconds)
    else:
        symbols = [*phonemes_of_text(text_or_seed), PAUSE]
    speech = speak(person, symbols, round(seconds * fps), fps, rng)
    expression, jaw, eyes = flame_from_arkit(head, closed(speech.arkit, speech.closure))
    still = np.zeros((len(speech), 3))
    return FlameSequence(fps, np.zeros(300), expression, still, speech.neck_pose, jaw, eyes, still)


def closed(arkit: np.ndarray, closure: np.ndarray) -> np.ndarray:  # [..., 52], [...] -> [..., 52]
    """Lips brought together where they should be: ARKit's mouthClose undoes the parting by an equal jawOpen."""
    weights = arkit.copy()
    weights[..., _MOUTH_CLOSE] += closure * arkit[..., _JAW_OPEN]
    return weights


def speak(person: Person, symbols: list[str], frames: int, fps: float, rng: np.random.Generator) -> Speech:
    """Say the sounds, from the beginning again if there is time left."""
    style = person.speaking
    phonemes = timed(symbols, style.rate, frames / fps, rng)
    mouth = articulate(phonemes, style, frames, fps)
    accented = phonemes.stress > 1
    accent = accents(phonemes.centres[accented], rng.uniform(0.3, 1.0, accented.sum()), frames, fps)  # [T]
    raised_brows = 0.18 * style.liveliness * np.outer(accent, arkit_weights(browInnerUp=1.0, browOuterUp=0.7))
    neck = head_sway(rng, style.liveliness, frames, fps)
    neck[:, 0] += NOD * style.liveliness * accent  # positive about x lowers the chin
    eyes = blinks(rng, style.blinks_per_second, frames, fps) + glances(rng, frames, fps)
    return Speech(fps, mouth.arkit + style.rest + raised_brows.astype(np.float32) + eyes, mouth.closure, neck)


def timed(symbols: list[str], rate: float, seconds: float, rng: np.random.Generator) -> TimedPhonemes:
    """Lay sounds out in time, repeating them until ``seconds`` are filled; some vowels carry an accent."""
    starts, at, said, stress = [], LEAD_IN, [], []
    while at < seconds and symbols:
        for symbol in symbols:
            phoneme = PHONEMES[symbol]
            accent = ACCENT_STRETCH if phoneme.vowel and rng.random() < ACCENT_SHARE else 1.0
            length = phoneme.seconds / rate * accent * rng.uniform(0.8, 1.25)
            said.append(symbol)
            starts.append(at + length / 2)
            stress.append(accent)
            at += length
    if not said:
        said, starts, stress = [PAUSE], [0.0], [1.0]
    return TimedPhonemes(tuple(said), np.array(starts, np.float32), np.array(stress, np.float32))


def invented_sentence(rng: np.random.Generator, seconds: float) -> list[str]:
    """Syllables of English sounds in phrases, somewhat longer than ``seconds``."""
    consonant_share = _consonant_frequencies()
    sounds: list[str] = []
    length = 0.0
    while length < 1.3 * seconds:
        phrase: list[str] = []
        for _ in range(rng.integers(*PHRASE_SYLLABLES)):
            onset, coda = rng.choice(CONSONANTS, 2, p=consonant_share)
            phrase += [onset, rng.choice(VOWELS)] + ([coda] if rng.random() < 0.4 else [])
        phrase.append(PAUSE)
        sounds += [str(symbol) for symbol in phrase]
        length += sum(PHONEMES[symbol].seconds for symbol in phrase)
    return sounds


def _consonant_frequencies() -> np.ndarray:  # [len(CONSONANTS)]
    """Bilabials are 13 % of English consonants but what a viewer notices most: draw them twice as often."""
    frequency = np.array([2.0 if PHONEMES[symbol].closes else 1.0 for symbol in CONSONANTS])
    return frequency / frequency.sum()


_MOUTH_CLOSE = int(np.flatnonzero(arkit_weights(mouthClose=1))[0])
_JAW_OPEN = int(np.flatnonzero(arkit_weights(jawOpen=1))[0])
