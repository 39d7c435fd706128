"""Synchronised sequences: the same utterance, frame by frame, with a neutral mind and under emotion.

They stand in for a recorded corpus such as MEAD, whose licence does not allow shipping weights trained on it. All is
drawn from seeds, so that training and held-out people, utterances and styles never mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from emo_avatar.data.behaviour import smoothstep
from emo_avatar.data.emotional_speech import emotional_speech, follow
from emo_avatar.data.lips import as_shut_as
from emo_avatar.data.persons import draw_person
from emo_avatar.data.speech import closed, invented_sentence, speak
from emo_avatar.emotion.recipes import EmotionRecipe
from emo_avatar.head.arkit import flame_from_arkit
from emo_avatar.head.data import HeadData
from emo_avatar.motion.timeline import EMOTIONS

SILENT_SHARE = 0.15  # of the takes, in which the person listens instead of speaking
HELD_SHARE = 0.4  # of the curves, which hold one value throughout
BLEND_SHARE = 0.5  # of the curves, in which a second emotion mixes with the first, joins it, or takes over
LEVELS, LEVEL_SHARES = (0.4, 0.7, 1.0), (0.2, 0.2, 0.6)  # intensities that half of the curves use; the others use any
RAMP = (0.05, 0.8)  # seconds an artist gives to an onset or an offset
MICRO_SPREAD = 0.04  # standard deviation of the slow fluctuation of a held emotion
MICRO_PERIOD = 0.4  # seconds


@dataclass(frozen=True)
class Takes:
    """N people, each saying one thing of their own, neutrally; with what it takes to say it under emotion."""

    fps: float
    arkit: np.ndarray  # [N, T, 52] float32 neutral speech, lips not yet closed by `closure`
    closure: np.ndarray  # [N, T] float32
    apex: np.ndarray  # [N, 6, 52] float32 each person's emotions at full strength
    onset: np.ndarray  # [N, 52] float32 seconds
    offset: np.ndarray  # [N, 52] float32 seconds
    masking: np.ndarray  # [N] float32

    def __len__(self) -> int:
        return len(self.arkit)

    def windows(self, takes: np.ndarray, starts: np.ndarray, frames: int) -> Takes:  # [M], [M] -> M takes of `frames`
        """Stretches of some of the takes."""
        people = {name: getattr(self, name)[takes] for name in ("apex", "onset", "offset", "masking")}
        at = starts[:, None] + np.arange(frames)
        return replace(self, arkit=self.arkit[takes[:, None], at], closure=self.closure[takes[:, None], at], **people)

    def driving(self, head: HeadData) -> np.ndarray:  # [N, T, 103]
        """The neutral performances as expression and jaw."""
        return _parameters(head, closed(self.arkit, self.closure))

    def under(self, head: HeadData, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The same performances, same timing, under emotions ``[N, T, 6]``: parameters ``[N, T, 103]``.

        ``rng`` draws how steadily each emotion is held, which no driving performance could tell.
        """
        takes, frames = self.closure.shape
        steady = _fluctuation(rng, takes, frames, self.fps)
        followed = follow(weights * steady, self.onset, self.offset, self.fps)
        emotion = np.einsum("nteu,neu->ntu", followed, self.apex)
        arkit = emotional_speech(self.arkit, self.closure, emotion, weights, self.masking, self.fps)
        return as_shut_as(head, _parameters(head, arkit), self.driving(head), self.closure)


def draw_takes(seeds: Sequence[int], recipes: tuple[EmotionRecipe, ...], seconds: float, fps: float) -> Takes:
    """One take for each seed: its own person, style and utterance."""
    frames = round(seconds * fps)
    people = [draw_person(seed, recipes) for seed in seeds]
    speeches = []
    for seed, person in zip(seeds, people, strict=True):
        rng = np.random.default_rng([seed, 2])
        symbols = [] if rng.random() < SILENT_SHARE else invented_sentence(rng, seconds)
        speeches.append(speak(person, symbols, frames, fps, rng))
    return Takes(
        fps=fps,
        arkit=np.stack([speech.arkit for speech in speeches]),
        closure=np.stack([speech.closure for speech in speeches]),
        apex=np.stack([person.emotional.apex for person in people]),
        onset=np.stack([person.emotional.onset for person in people]),
        offset=np.stack([person.emotional.offset for person in people]),
        masking=np.array([person.emotional.masking for person in people], np.float32),
    )


def draw_weights(rng: np.random.Generator, frames: int, fps: float) -> np.ndarray:  # [T, 6]
    """An emotion curve as an artist would key it: held, or rising, held and falling; one emotion or two."""
    weights = np.zeros((frames, len(EMOTIONS)), np.float32)
    first, second = rng.choice(len(EMOTIONS), 2, replace=False)
    intensity = rng.choice(LEVELS, p=LEVEL_SHARES) if rng.random() < 0.5 else rng.uniform(0.05, 1.0)
    envelope = np.ones(frames, np.float32) if rng.random() < HELD_SHARE else _envelope(rng, frames, fps)
    weights[:, first] = intensity * envelope
    if rng.random() < BLEND_SHARE:
        share = smoothstep(np.linspace(0, 1, frames)) if rng.random() < 0.3 else rng.random()
        weights[:, second] = share * weights[:, first]
        if rng.random() < 0.7:
            weights[:, first] *= 1 - share
    return weights


def _envelope(rng: np.random.Generator, frames: int, fps: float) -> np.ndarray:  # [T] 0 to 1
    """Onset, apex and offset as eased ramps; the curve may begin or end in mid-apex."""
    duration = frames / fps
    start, stop = np.sort(rng.uniform(-0.3 * duration, 1.3 * duration, 2))
    rise, fall = rng.uniform(*RAMP, 2)
    time = np.arange(frames) / fps
    rising = smoothstep(np.clip((time - start) / rise, 0, 1))
    falling = smoothstep(np.clip((stop - time) / fall, 0, 1))
    return (rising * falling).astype(np.float32)


def _fluctuation(rng: np.random.Generator, takes: int, frames: int, fps: float) -> np.ndarray:  # [N, T, 1] around 1
    knots = rng.normal(0, MICRO_SPREAD, (takes, int(frames / fps / MICRO_PERIOD) + 2))
    at = np.arange(frames) / fps / MICRO_PERIOD
    before = at.astype(int)
    t = at - before
    noise = knots[:, before] * (1 - t) + knots[:, before + 1] * t
    return (1 + noise[:, :, None]).astype(np.float32)


def _parameters(head: HeadData, arkit: np.ndarray) -> np.ndarray:  # [N, T, 52] -> [N, T, 103]
    expression, jaw, _ = flame_from_arkit(head, arkit)
    return np.concatenate([expression, jaw], axis=-1).astype(np.float32)
