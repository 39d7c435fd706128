"""The avatar: canonical Gaussians, the rig that moves them, and where they came from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.avatar.look import Look
from emo_avatar.avatar.rig import FRAMES_ON_GPU, Rig
from emo_avatar.avatar.tone import Tone
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.render.camera import Camera


@dataclass(frozen=True)
class Framing:
    """What a picture of the avatar shows at its best: a sphere's worth of space around a point."""

    target: np.ndarray  # [3] float32 metres, in the space of an unmoved avatar
    half_height: float  # metres from the target to the upper edge of the picture

    def camera(self, yaw: float = 0.0, pitch: float = 0.0, fov: float = 20.0, size: int = 512) -> Camera:
        """A square picture of it from ``yaw`` and ``pitch`` degrees off the front; ``fov`` degrees."""
        distance = self.half_height / math.tan(math.radians(fov) / 2)
        return Camera.orbit(self.target, distance, yaw=yaw, pitch=pitch, fov=fov, size=size)


@dataclass(frozen=True)
class SourcePhoto:
    """The portrait that an avatar was built from, and how the avatar stands in it."""

    image: np.ndarray  # [H, W, 3] uint8 sRGB, the aligned crop
    matte: np.ndarray  # [H, W] uint8, 255 where the person is
    camera: Camera
    pose: FlameSequence  # one frame: with this expression and pose the avatar looks like the photo

    @cached_property
    def tone(self) -> Tone | None:
        """The tone of a photograph in black and white; None for one in colour."""
        return Tone.of(self.image, self.matte)


@dataclass(frozen=True)
class Avatar:
    """A person who can be driven by FLAME sequences.

    Sequences are in the FLAME space of ``rig.head``; zero expression and pose is the person's neutral face, upright
    at the origin. The identity is the avatar's own: ``shape`` and ``static_offset`` of a sequence are ignored.
    """

    name: str
    backbone: str  # which method made it: "uv", "lam"
    rig: Rig
    gaussians: Gaussians  # canonical, in whatever frames the rig poses from
    framing: Framing
    photo: SourcePhoto | None = None
    look: Look | None = None  # how emotion colours this person's skin; sequences say under which emotion they are

    def pose(self, sequence: FlameSequence, frame: int = 0) -> Gaussians:
        """World-space Gaussians of one frame."""
        return self._coloured(self.rig.pose(self.gaussians, sequence, frame), sequence, frame)

    def play(self, sequence: FlameSequence) -> Iterator[Gaussians]:
        """World-space Gaussians of every frame in order; the head is evaluated in batches."""
        for frame, gaussians in enumerate(self.rig.play(self.gaussians, sequence)):
            if frame % FRAMES_ON_GPU == 0 and self.look is not None and sequence.emotions is not None:
                self.look.prepare(sequence.emotions[frame : frame + FRAMES_ON_GPU], gaussians.device)
            yield self._coloured(gaussians, sequence, frame)

    def camera(self, yaw: float = 0.0, pitch: float = 0.0, fov: float = 20.0, size: int = 512) -> Camera:
        """A square picture of head and shoulders from ``yaw`` and ``pitch`` degrees off the front; ``fov`` degrees."""
        return self.framing.camera(yaw, pitch, fov, size)

    def to(self, device: torch.device | str) -> Avatar:
        """The same avatar with its Gaussians on ``device``, where posing and rendering then happen."""
        return replace(self, gaussians=self.gaussians.to(device))

    def _coloured(self, gaussians: Gaussians, sequence: FlameSequence, frame: int) -> Gaussians:
        if self.look is None or sequence.emotions is None:
            return gaussians
        coloured = self.look.under(gaussians, sequence.emotions[frame])
        if coloured is gaussians or self.photo is None or self.photo.tone is None:
            return coloured
        return self.photo.tone.print(coloured)
