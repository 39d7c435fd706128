"""How well an avatar shows the person on its photograph: fidelity, identity from the side and under emotion, holes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from emo_avatar import assets
from emo_avatar.avatar.avatar import Avatar, SourcePhoto
from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.backbones.portrait.foreground import clean_foreground
from emo_avatar.errors import UserError
from emo_avatar.evaluation.identity import embed_face
from emo_avatar.evaluation.image import as_float, over, psnr, ssim
from emo_avatar.evaluation.lpips import lpips
from emo_avatar.export.performance import perform
from emo_avatar.export.pictures import picture
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import rasterize_mesh
from emo_avatar.render.rasterize import rasterize
from emo_avatar.tracking.landmarks import find_face

GREY = (0.5, 0.5, 0.5)  # the background of both sides of every comparison
SIDE_YAWS = (25.0, -25.0, 45.0, -45.0)  # degrees
HOLE_ALPHA = 0.9
SIZE = 512


@dataclass(frozen=True)
class PortraitScore:
    """One avatar against its photograph. Identity is the cosine of SFace embeddings; -1 where no face is found."""

    psnr: float  # dB inside the matte, from the fitted camera
    ssim: float
    lpips: float
    identity: float  # of the same view
    identity_at_yaw: Mapping[float, float]  # degrees -> cosine to the photograph
    identity_under: Mapping[str, float]  # emotion -> cosine to the photograph; "neutral" is the neutralised face
    holes: float  # largest share of the mesh's silhouette with alpha below 0.9, over all of these views

    def numbers(self) -> dict[str, float]:
        """All of it by name."""
        return {
            "psnr": self.psnr,
            "ssim": self.ssim,
            "lpips": self.lpips,
            "identity": self.identity,
            **{f"identity_at_{yaw:+.0f}": cosine for yaw, cosine in self.identity_at_yaw.items()},
            **{f"identity_{emotion}": cosine for emotion, cosine in self.identity_under.items()},
            "holes": self.holes,
        }


def standard_portraits() -> dict[str, Path]:
    """Two real photographs and five synthetic people."""
    people = {f"P{i:03d}": f"openpeople/P{i:03d}/studio_portrait.jpg" for i in range(1, 6)}
    names = {"astronaut": "astronaut.png", "grace_hopper": "grace_hopper.jpg"} | people
    return {name: assets.fetch(asset) for name, asset in names.items()}


def score_portrait(avatar: Avatar) -> PortraitScore:
    """Measure an avatar that remembers the photograph it was built from."""
    photo = _photo(avatar)
    alpha = photo.matte / 255
    # The person alone: along the edge of the matte the photograph's own background shines through.
    person_alone = clean_foreground(as_float(photo.image).astype(np.float32), alpha.astype(np.float32))
    reference = over(person_alone, alpha)
    gaussians = avatar.pose(photo.pose)
    shown = picture(gaussians, photo.camera, GREY)
    person = _embedding(photo.image)
    # Turned upright, with the photograph's own expression, for the views from the side.
    upright = replace(photo.pose, rotation=np.zeros((1, 3)), translation=np.zeros((1, 3)), neck_pose=np.zeros((1, 3)))
    views = {yaw: avatar.camera(yaw=yaw, size=SIZE) for yaw in SIDE_YAWS}
    turned = avatar.pose(upright)
    holes = [_holes(avatar, gaussians, photo.pose, photo.camera)]
    holes += [_holes(avatar, turned, upright, camera) for camera in views.values()]
    return PortraitScore(
        psnr=psnr(reference, shown, alpha),
        ssim=ssim(reference, shown, alpha),
        lpips=lpips(reference, shown / 255),
        identity=_cosine(person, _embedding(shown)),
        identity_at_yaw={
            yaw: _cosine(person, _embedding(picture(turned, camera, GREY))) for yaw, camera in views.items()
        },
        identity_under=identity_under(avatar),
        holes=max(holes),
    )


def identity_under(avatar: Avatar, geometry: bool = True, appearance: bool = True) -> dict[str, float]:
    """How much each emotion at full weight, and the neutral face, stays the person on the photograph.

    Cosines of SFace embeddings; -1 where no face is found. Raises UserError for an avatar without a photograph.
    """
    photo = _photo(avatar)
    person = _embedding(photo.image)
    under = partial(_under, avatar, photo, geometry, appearance)
    return {emotion: _cosine(person, under(emotion)) for emotion in ("neutral", *EMOTIONS)}


def _photo(avatar: Avatar) -> SourcePhoto:
    if avatar.photo is None:
        raise UserError(f"{avatar.name} holds no photograph to compare with; build it from one.")
    return avatar.photo


def _under(avatar: Avatar, photo: SourcePhoto, geometry: bool, appearance: bool, emotion: str) -> np.ndarray | None:
    """The embedding of the face under an emotion, posed in the photograph as the person was."""
    sequence = perform(avatar, emotions={emotion: 1.0}, geometry=geometry, appearance=appearance)
    posed = replace(sequence, rotation=photo.pose.rotation, translation=photo.pose.translation)
    return _embedding(picture(avatar.pose(posed), photo.camera, GREY))


def _embedding(rgb: np.ndarray) -> np.ndarray | None:  # [H, W, 3] uint8 -> [128]
    face = find_face(rgb)
    return embed_face(rgb, face.points) if face else None


def _cosine(a: np.ndarray | None, b: np.ndarray | None) -> float:
    return -1.0 if a is None or b is None else float(a @ b)


def _holes(avatar: Avatar, gaussians: Gaussians, sequence: FlameSequence, camera: Camera) -> float:
    """Share of the mesh's silhouette that the Gaussians leave open."""
    inside = rasterize_mesh(avatar.rig.mesh(sequence)[0], avatar.rig.faces, camera).covered
    alpha = rasterize(gaussians, camera).alpha.cpu().numpy()
    return float((alpha[inside] < HOLE_ALPHA).mean()) if inside.any() else 0.0
