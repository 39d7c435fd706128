"""A tracked portrait as the network takes it: the person alone, their neutral head, and how it stands there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from emo_avatar.avatar.avatar import SourcePhoto
from emo_avatar.avatar.rig import FlameRig
from emo_avatar.backbones.portrait.foreground import clean_foreground
from emo_avatar.backbones.portrait.prepared import prepare_head
from emo_avatar.backbones.portrait.slits import stance_in_photo
from emo_avatar.backbones.portrait.stance import Stance
from emo_avatar.head.data import HeadData
from emo_avatar.render.camera import Camera
from emo_avatar.tracking.portrait import TrackedPortrait


@dataclass(frozen=True, eq=False)
class Observed:
    """A portrait of S pixels and the head in it."""

    rgb: np.ndarray  # [S, S, 3] uint8 colours of the person alone, carried outwards beyond the outline
    matte: np.ndarray  # [S, S] uint8
    neutral: np.ndarray  # [V, 3] float32 metres, the face at rest
    posed: np.ndarray  # [V, 3] float32 metres, the head in the photograph, world
    source_viewmat: np.ndarray  # [4, 4]
    source_K: np.ndarray  # [3, 3]

    @property
    def camera(self) -> Camera:
        height, width = self.matte.shape
        return Camera(self.source_viewmat, self.source_K, width, height)

    def arrays(self) -> dict[str, np.ndarray]:
        return dict(vars(self))

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Observed:
        return cls(*(arrays[name] for name in cls.__dataclass_fields__))


def observe(portrait: TrackedPortrait, head: HeadData, stance: Stance | None = None) -> Observed:
    """A portrait that was tracked with ``head``; ``stance`` where it is known already."""
    stance = stance or stance_in_photo(portrait, prepare_head(head))
    return _observed(portrait.rgb, portrait.matte, stance.neutral, stance.vertices, portrait.camera)


def observed_again(rig: FlameRig, photo: SourcePhoto) -> Observed:
    """What `observe` said of the portrait of an avatar."""
    matte = photo.matte / np.float32(255)
    return _observed(photo.image, matte, rig.head.v_template, rig.mesh(photo.pose)[0], photo.camera)


def _observed(image: np.ndarray, matte: np.ndarray, neutral: np.ndarray, posed: np.ndarray, camera: Camera) -> Observed:
    rgb = clean_foreground(image / np.float32(255), matte)
    return Observed(
        np.uint8(np.clip(rgb, 0, 1) * 255 + 0.5),
        np.uint8(np.clip(matte, 0, 1) * 255 + 0.5),
        neutral.astype(np.float32),
        posed.astype(np.float32),
        camera.viewmat,
        camera.K,
    )
