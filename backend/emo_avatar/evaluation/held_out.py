"""The people, words and moods that avatars are judged on: never trained with, known in full."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from emo_avatar.data.as_portrait import portrait_of
from emo_avatar.data.studio import Setting, Shot, draw_setting, shoot
from emo_avatar.data.subjects import Subject
from emo_avatar.data.synchronised_shots import EmotionalSequence, draw_sequence
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.tracking.portrait import TrackedPortrait
from emo_avatar.training.geometry import FIRST_HELD_OUT_SEED

FIRST_SEED = FIRST_HELD_OUT_SEED + 5000  # away from the takes that the geometry path alone is judged on
SECONDS, FPS = 2.0, 30.0
SOURCE_SIZE = 512
SOURCE_YAW, TARGET_YAW = 25.0, 60.0  # degrees to either side, at most


@dataclass(frozen=True, eq=False)
class Case:
    """One person: a photograph to build from, and an utterance in seven moods to be judged by."""

    sequence: EmotionalSequence
    source: Shot
    setting: Setting  # of the frames to be judged: the source's light, another camera
    instants: tuple[int, ...]  # frames of the utterance that are judged

    @property
    def subject(self) -> Subject:
        return self.sequence.subject

    def portrait(self) -> TrackedPortrait:
        """The photograph as a tracker would have understood it, with its errors."""
        return portrait_of(self.subject, self.source, np.random.default_rng([self.subject.seed, 31]))

    def driving(self, instant: int) -> FlameSequence:
        """The performance of a neutral mind at one instant."""
        return self.sequence.frame(None, instant)[0]

    def shot(self, instant: int, emotion: int | None) -> Shot:
        """The true picture of that instant under an emotion, by its place in EMOTIONS."""
        return shoot(self.subject, *self.sequence.frame(emotion, instant), self.setting)

    def performed(self, frame: FlameSequence) -> Shot:
        """The true picture of this person doing what ``frame`` says, with a neutral mind."""
        return shoot(self.subject, frame, np.zeros(len(EMOTIONS), np.float32), self.setting)


def cases(count: int, instants: int = 2, size: int = 256, first: int = FIRST_SEED) -> Iterator[Case]:
    """``count`` people of consecutive seeds; the photographs show them in any mood."""
    for seed in range(first, first + count):
        rng = np.random.default_rng([seed, 30])
        sequence = draw_sequence(seed, SECONDS, FPS)
        mood = rng.integers(len(EMOTIONS) + 1)
        moment = int(rng.integers(len(sequence)))
        frame = sequence.frame(None if mood == len(EMOTIONS) else int(mood), moment)
        photographed = draw_setting(rng, sequence.subject, SOURCE_SIZE, SOURCE_YAW)
        source = shoot(sequence.subject, *frame, photographed)
        elsewhere = draw_setting(rng, sequence.subject, size, TARGET_YAW)
        setting = Setting(elsewhere.camera, photographed.light, elsewhere.background)
        chosen = tuple(sorted(int(t) for t in rng.choice(len(sequence), instants, replace=False)))
        yield Case(sequence, source, setting, chosen)
