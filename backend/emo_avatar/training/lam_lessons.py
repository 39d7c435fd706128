"""What the small LAM learns from: people photographed once, kept on disk, each one lesson.

A lesson is a portrait of somebody, as a tracker would have understood it, and photographs of two other moments in the
same light from elsewhere, each with a neutral mind and under emotions. Drawing a person and their photographs takes
seconds, and reading them back milliseconds.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from emo_avatar.backbones.lam.observe import Observed, observe
from emo_avatar.data.as_portrait import portrait_of
from emo_avatar.data.studio import Shot
from emo_avatar.data.subjects import draw_subject
from emo_avatar.data.synchronised_shots import (
    SOURCE_NEUTRAL_SHARE,
    SOURCE_SIZE,
    SOURCE_YAW,
    Moment,
    draw_feeling,
    draw_moment,
    draw_strength,
)
from emo_avatar.files import whole_file
from emo_avatar.head.data import open_head
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.render.camera import Camera

FELT = (2, 1)  # emotions in which each of the two other moments is photographed, beside the neutral mind


@dataclass(frozen=True, eq=False)
class Lesson:
    """One portrait, and T photographs that it must explain."""

    portrait: Observed
    shown: np.ndarray  # [T, H, W, 3] uint8 display sRGB of the person alone, on black
    alpha: np.ndarray  # [T, H, W] uint8
    vertices: np.ndarray  # [T, V, 3] float32 metres, world
    viewmat: np.ndarray  # [T, 4, 4]
    K: np.ndarray  # [T, 3, 3]
    weights: np.ndarray  # [T, 6] float32 emotion
    moment: np.ndarray  # [T] int32 photographs of one moment differ in emotion alone; its first is neutral

    def camera(self, i: int) -> Camera:
        """Of a photograph."""
        height, width = self.alpha.shape[1:]
        return Camera(self.viewmat[i], self.K[i], width, height)

    def write(self, path: Path) -> None:
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "portrait"} | self.portrait.arrays()
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def read(cls, path: Path) -> Lesson:
        with np.load(path) as arrays:
            return cls(Observed.of(arrays), *(arrays[f.name] for f in fields(cls) if f.name != "portrait"))


def draw_lesson(seed: int, size: int) -> Lesson:
    """The lesson of a seed's person, with photographs of ``size`` pixels."""
    rng = np.random.default_rng([seed, 41])
    subject = draw_subject(seed)
    feeling = np.zeros(len(EMOTIONS), np.float32) if rng.random() < SOURCE_NEUTRAL_SHARE else draw_feeling(rng)
    first = draw_moment(seed, 1, SOURCE_SIZE, subject, SOURCE_YAW)
    portrait = observe(portrait_of(subject, first.shot(feeling), rng), open_head())
    shots: list[Shot] = []
    moments: list[int] = []
    felt = iter(rng.permutation(len(EMOTIONS)))
    for number, count in enumerate(FELT):
        elsewhere = draw_moment(seed, 2 + number, size, subject)
        moment = Moment(subject, replace(elsewhere.setting, light=first.setting.light), elsewhere.seed)
        for emotion in (None, *(next(felt) for _ in range(count))):
            weights = np.zeros(len(EMOTIONS), np.float32)
            if emotion is not None:
                weights[emotion] = draw_strength(rng)
            shots.append(moment.shot(weights))
            moments.append(number)
    alone = [shot.rgb - (1 - shot.alpha[..., None]) * shot.setting.background for shot in shots]
    return Lesson(
        portrait,
        shown=np.stack([_bytes(rgb) for rgb in alone]),
        alpha=np.stack([_bytes(shot.alpha) for shot in shots]),
        vertices=np.stack([shot.vertices for shot in shots]),
        viewmat=np.stack([shot.setting.camera.viewmat for shot in shots]),
        K=np.stack([shot.setting.camera.K for shot in shots]),
        weights=np.stack([shot.weights for shot in shots]),
        moment=np.array(moments, np.int32),
    )


@dataclass(frozen=True)
class Lessons:
    """Lessons in a folder, drawn when first asked for."""

    folder: Path
    size: int

    def __call__(self, seed: int) -> Lesson:
        path = self.folder / f"{seed}.npz"
        if not path.exists():
            draw_lesson(seed, self.size).write(path)
        return _read(path)


@functools.lru_cache(maxsize=64)  # of some 3 MB each
def _read(path: Path) -> Lesson:
    return Lesson.read(path)


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.uint8(np.clip(image, 0, 1) * 255 + 0.5)
