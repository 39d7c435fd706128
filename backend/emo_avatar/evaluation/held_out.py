"""The people, words and moods that avatars are judged on: never trained with, known in full."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from emo_avatar.data.as_portrait import portrait_of, tracked_motion
from emo_avatar.data.studio import Setting, Shot, draw_setting, shoot
from emo_avatar.data.subjects import Subject
from emo_avatar.data.synchronised_shots import SOURCE_SIZE, EmotionalSequence, draw_sequence
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.tracking.landmarks import detect_faces
from emo_avatar.tracking.portrait import TrackedPortrait
from emo_avatar.training.geometry import FIRST_HELD_OUT_SEED

FIRST_SEED = FIRST_HELD_OUT_SEED + 5000  # away from the takes that the geometry path alone is judged on
SECONDS, FPS = 2.0, 30.0


@dataclass(frozen=True)
class Protocol:
    """How hard it is made."""

    name: str
    any_mood: bool  # of the photograph, which else is a frame of the neutral performance
    photo_yaw: float  # degrees that the photograph's camera stands to either side, at most
    frame_yaw: float | None  # the same of the frames to be judged; None: the camera stays where it was


# What recorded corpora judge: people before a fixed camera, one frame of the neutral take as the photograph.
RECORDED = Protocol("recorded", any_mood=False, photo_yaw=15.0, frame_yaw=None)
# What users bring, and what they look at it from.
ANYWHERE = Protocol("anywhere", any_mood=True, photo_yaw=25.0, frame_yaw=60.0)
PROTOCOLS = {protocol.name: protocol for protocol in (RECORDED, ANYWHERE)}


@dataclass(frozen=True, eq=False)
class Case:
    """One person: a photograph to build from, and an utterance in seven moods to be judged by."""

    sequence: EmotionalSequence
    source: Shot
    setting: Setting  # of the frames to be judged, in the source's light
    instants: tuple[int, ...]  # frames of the utterance that are judged

    @property
    def subject(self) -> Subject:
        return self.sequence.subject

    @functools.cached_property
    def portrait(self) -> TrackedPortrait:
        """The photograph as a tracker would have understood it, with its errors and with the detector's own scores."""
        portrait = portrait_of(self.subject, self.source, np.random.default_rng([self.subject.seed, 31]))
        faces = detect_faces(portrait.rgb)
        return replace(portrait, blendshapes=faces[0].blendshapes) if faces else portrait

    def driving(self, instant: int) -> FlameSequence:
        """The performance of a neutral mind at one instant, as tracked."""
        return self.tracked(self.sequence.frame(None, instant)[0])

    def tracked(self, frame: FlameSequence) -> FlameSequence:
        """What the tracker would say of this person's ``frame``, to drive an avatar of `portrait` with."""
        return tracked_motion(self.subject, frame, self.setting.camera, self.source, self.portrait)

    def shot(self, instant: int, emotion: int | None) -> Shot:
        """The true picture of that instant under an emotion, by its place in EMOTIONS."""
        return shoot(self.subject, *self.sequence.frame(emotion, instant), self.setting)

    def performed(self, frame: FlameSequence) -> Shot:
        """The true picture of this person doing what ``frame`` says, with a neutral mind."""
        return shoot(self.subject, frame, np.zeros(len(EMOTIONS), np.float32), self.setting)


def cases(
    count: int, instants: int = 2, size: int = 256, first: int = FIRST_SEED, protocol: Protocol = RECORDED
) -> Iterator[Case]:
    """``count`` people of consecutive seeds."""
    for seed in range(first, first + count):
        rng = np.random.default_rng([seed, 30])
        sequence = draw_sequence(seed, SECONDS, FPS)
        mood = int(rng.integers(len(EMOTIONS) + 1))
        moment = int(rng.integers(len(sequence)))
        frame = sequence.frame(mood if protocol.any_mood and mood < len(EMOTIONS) else None, moment)
        photographed = draw_setting(rng, sequence.subject, SOURCE_SIZE, protocol.photo_yaw)
        source = shoot(sequence.subject, *frame, photographed)
        elsewhere = draw_setting(rng, sequence.subject, size, protocol.frame_yaw or protocol.photo_yaw)
        camera = photographed.camera.resized(size) if protocol.frame_yaw is None else elsewhere.camera
        setting = Setting(camera, photographed.light, elsewhere.background)
        chosen = tuple(sorted(int(t) for t in rng.choice(len(sequence), instants, replace=False)))
        yield Case(sequence, source, setting, chosen)
