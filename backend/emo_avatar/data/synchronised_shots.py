"""Emotion-synchronised shots: the same person, words, instant, camera and light, feeling one thing and another.

After Sec. 3.3 of the paper, with invented people in place of a recorded corpus. `Example` is the appearance
configuration (many people, single frames); `draw_sequence` the geometry configuration (fewer people, whole
utterances at 30 frames a second, in all seven emotions).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from emo_avatar.data.speech import closed
from emo_avatar.data.studio import MAX_YAW, Setting, Shot, draw_setting, shoot
from emo_avatar.data.subjects import Subject, draw_subject
from emo_avatar.data.synchronised import LEVEL_SHARES, LEVELS, Takes, draw_takes
from emo_avatar.emotion.recipes import load_recipes
from emo_avatar.head.arkit import flame_from_arkit
from emo_avatar.head.data import open_head
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import EMOTIONS

SOURCE_SIZE = 512  # pixels of the portraits that avatars are made of
SOURCE_YAW = 28.0  # degrees that these are turned at most
STRENGTHS, STRENGTH_SHARES = (0.5, 1.0), (0.25, 0.75)  # of the emotions that changes of colour are learnt from
EXAMPLE_FPS, EXAMPLE_SECONDS = 25.0, 1.2  # of the utterance that an example's instant is taken from
NEUTRAL_SHARE = 0.12  # of the targets, which feel nothing
BLEND_SHARE = 0.25  # of the others, which feel two things
SOURCE_NEUTRAL_SHARE = 0.45  # of the sources; the other photographs show somebody feeling something
TURN_SPREAD = np.radians([5.0, 7.0, 4.0])  # of the head, standard deviations about x, y and z


@dataclass(frozen=True, eq=False)
class Example:
    """One thing to learn appearance from."""

    subject: Subject
    source: Shot  # the photograph: any emotion, its own words, camera and light
    driving: FlameSequence  # one frame, with a neutral mind
    target: Shot  # the same instant under `weights`
    weights: np.ndarray  # [6] float32


@dataclass(frozen=True, eq=False)
class EmotionalSequence:
    """One utterance of one person in one setting: with a neutral mind, and under each emotion."""

    subject: Subject
    setting: Setting
    driving: FlameSequence  # T frames, neutral
    emotional: tuple[FlameSequence, ...]  # in the order of EMOTIONS, T frames each
    weights: np.ndarray  # [6] float32 strength of each

    def __len__(self) -> int:
        return len(self.driving)

    def frame(self, emotion: int | None, t: int) -> tuple[FlameSequence, np.ndarray]:
        """The performance at one instant and what is felt; ``emotion`` indexes EMOTIONS, None is neutral."""
        weights = np.zeros(len(EMOTIONS), np.float32)
        if emotion is None:
            return self.driving.slice(t, t + 1), weights
        weights[emotion] = self.weights[emotion]
        return self.emotional[emotion].slice(t, t + 1), weights

    def shots(self, emotion: int | None) -> Iterator[Shot]:
        """Every frame photographed."""
        return (self.shot(emotion, t) for t in range(len(self)))

    def shot(self, emotion: int | None, t: int) -> Shot:
        """One frame photographed."""
        return shoot(self.subject, *self.frame(emotion, t), self.setting)


@dataclass(frozen=True, eq=False)
class Moment:
    """One instant of one person's utterance in one setting, to be photographed in any emotion."""

    subject: Subject
    setting: Setting
    seed: tuple[int, int]  # of the utterance

    def performed(self, weights: np.ndarray) -> tuple[FlameSequence, FlameSequence]:  # [6]
        """The instant with a neutral mind and under ``weights``, a frame each: nothing but the emotion differs."""
        rng = np.random.default_rng([self.seed[0], 24, self.seed[1]])
        takes = _takes(self.seed[0], self.seed[1], self.subject)
        t = int(rng.integers(takes.closure.shape[1]))
        turn = rng.normal(0, TURN_SPREAD, (1, 3))
        neutral = _sequence(takes, takes.driving(open_head()), turn, t)
        if not weights.any():
            return neutral, neutral
        frames = np.tile(np.asarray(weights, np.float32), (1, takes.closure.shape[1], 1))
        return neutral, _sequence(takes, takes.under(open_head(), frames, rng), turn, t)

    def shot(self, weights: np.ndarray) -> Shot:  # [6]
        """The photograph under ``weights``."""
        return shoot(self.subject, self.performed(weights)[1], weights, self.setting)


def draw_moment(
    seed: int, number: int = 0, size: int = 256, subject: Subject | None = None, max_yaw: float = MAX_YAW
) -> Moment:
    """A moment of a seed, one of several by ``number``, of ``subject`` or by default of that seed's own."""
    subject = draw_subject(seed) if subject is None else subject
    setting = draw_setting(np.random.default_rng([seed, 25, number]), subject, size, max_yaw)
    return Moment(subject, setting, (seed, number))


def draw_example(seed: int, size: int = 256, subject: Subject | None = None, max_yaw: float = MAX_YAW) -> Example:
    """The example of a seed, of ``subject`` or by default of that seed's own."""
    rng = np.random.default_rng([seed, 21])
    subject = draw_subject(seed) if subject is None else subject
    source_weights = _no_feeling() if rng.random() < SOURCE_NEUTRAL_SHARE else draw_feeling(rng)
    weights = _no_feeling() if rng.random() < NEUTRAL_SHARE else draw_feeling(rng)
    source = draw_moment(seed, 1, size, subject, max_yaw).shot(source_weights)
    moment = draw_moment(seed, 2, size, subject, max_yaw)
    driving, emotional = moment.performed(weights)
    return Example(subject, source, driving, shoot(subject, emotional, weights, moment.setting), weights)


def draw_feeling(rng: np.random.Generator) -> np.ndarray:  # [6] float32
    """One emotion or two, of graded intensity."""
    weights = _no_feeling()
    first, second = rng.choice(len(EMOTIONS), 2, replace=False)
    intensity = rng.choice(LEVELS, p=LEVEL_SHARES) if rng.random() < 0.5 else rng.uniform(0.05, 1.0)
    share = rng.random() if rng.random() < BLEND_SHARE else 0.0
    weights[first], weights[second] = intensity * (1 - share), intensity * share
    return weights


def draw_strength(rng: np.random.Generator) -> float:
    """How strongly an emotion is felt where its colours are learnt."""
    return float(rng.choice(STRENGTHS, p=STRENGTH_SHARES))


def draw_sequence(seed: int, seconds: float = 2.0, fps: float = 30.0, size: int = 256) -> EmotionalSequence:
    """The sequence of a seed: all seven emotions of one utterance, each at full strength."""
    rng = np.random.default_rng([seed, 22])
    subject = draw_subject(seed)
    takes = draw_takes([seed], _recipes(), seconds, fps)
    strength = np.ones(len(EMOTIONS), np.float32)
    turn = np.repeat(rng.normal(0, 0.3 * TURN_SPREAD, (1, 3)), takes.closure.shape[1], 0)
    emotional = []
    for k in range(len(EMOTIONS)):
        weights = np.zeros((1, takes.closure.shape[1], len(EMOTIONS)), np.float32)
        weights[..., k] = strength[k]
        # The same fluctuation for all: nothing but the emotion differs.
        emotional.append(_sequence(takes, takes.under(open_head(), weights, np.random.default_rng([seed, 23])), turn))
    driving = _sequence(takes, takes.driving(open_head()), turn)
    return EmotionalSequence(subject, draw_setting(rng, subject, size), driving, tuple(emotional), strength)


def _takes(seed: int, number: int, subject: Subject) -> Takes:
    """An utterance of this person; the seed says which."""
    takes = draw_takes([seed * 4 + number], _recipes(), EXAMPLE_SECONDS, EXAMPLE_FPS)
    style = subject.person.emotional
    return replace(
        takes,
        apex=style.apex[None],
        onset=style.onset[None],
        offset=style.offset[None],
        masking=np.array([style.masking], np.float32),
    )


def _sequence(takes: Takes, parameters: np.ndarray, turn: np.ndarray, t: int | None = None) -> FlameSequence:
    """Parameters ``[1, T, 103]`` of a take as a sequence, or its frame ``t``; ``turn [T or 1, 3]`` of the head."""
    eyes = flame_from_arkit(open_head(), closed(takes.arkit, takes.closure)[0])[2]
    own = parameters[0]
    if t is not None:
        own, eyes = own[t : t + 1], eyes[t : t + 1]
    still = np.zeros((len(own), 3), np.float32)
    return FlameSequence(takes.fps, np.zeros(300), own[:, :100], still, turn, own[:, 100:], eyes, still)


def _no_feeling() -> np.ndarray:
    return np.zeros(len(EMOTIONS), np.float32)


_recipes = functools.cache(load_recipes)
