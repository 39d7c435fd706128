"""From a tracked portrait to an avatar, in one pass of the network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from emo_avatar.avatar.appearance import SkinAppearance
from emo_avatar.avatar.avatar import Avatar, SourcePhoto
from emo_avatar.avatar.binding import bind
from emo_avatar.avatar.gaussians import Gaussians, sh_from_rgb
from emo_avatar.avatar.rig import FlameRig
from emo_avatar.backbones.framing import framing_of
from emo_avatar.backbones.lam.checkpoint import WEIGHTS_PATH, Loaded
from emo_avatar.backbones.lam.look import LamLook
from emo_avatar.backbones.lam.model import PointGaussians
from emo_avatar.backbones.lam.query import queries
from emo_avatar.backbones.uv.stance import Stance
from emo_avatar.errors import UserError
from emo_avatar.head.data import HeadData
from emo_avatar.tracking.portrait import TrackedPortrait

Progress = Callable[[float, str], None]

WHITE = 1.0  # behind the person in the picture that the network sees, as the authors have it
SOLID = 0.1  # opacity; LAM's skin is made of many translucent layers
NEVER = 1e6  # a limit on distortion that nothing reaches


def build_lam(
    portrait: TrackedPortrait,
    head: HeadData,
    loaded: Loaded,
    *,
    name: str = "",
    device: torch.device | str = "cpu",
    progress: Progress = lambda fraction, what: None,
) -> Avatar:
    """Make an avatar of a tracked portrait; ``head`` is the one that it was tracked with.

    The network sees the photograph and the points of the person's face at rest, and takes the expression out of the
    photograph by itself.
    """
    model = loaded.model.to(device)
    stance = Stance.of(portrait, head)
    asked = queries(head, model.config.subdivisions)
    points = torch.from_numpy(asked.points(stance.neutral))
    progress(0.0, "looking at the photo")
    with torch.inference_mode():
        tokens = model.encoder(network_image(portrait, model.config.encoder.image).to(device))
        progress(0.3, "making Gaussians")
        weights = torch.zeros(1, len(model.emotion.table), device=device) if loaded.has_emotion else None
        canonical = gaussians_of(model.decode(tokens, points[None].to(device), weights), points.to(device), 0).to("cpu")
    faces, binding = (torch.from_numpy(a.astype(np.int64)) for a in (head.faces, asked.face))
    local = bind(canonical, binding, torch.from_numpy(stance.neutral), faces)
    skin = _plain_skin(stance.neutral, head, asked.face)
    rig = FlameRig(stance.person, stance.shape, stance.static_offset, asked.face, skin)
    photo = SourcePhoto(portrait.rgb, (portrait.matte * 255).astype(np.uint8), portrait.camera, stance.pose)
    solid = canonical.opacities.numpy() > SOLID
    if not solid.any():
        raise UserError("These weights make nothing but transparent Gaussians; they are not trained far enough.")
    framing = framing_of(canonical.means.numpy()[solid], stance.neutral[stance.head.regions["collar"]])
    # An avatar file does not hold the network: emotion colours those that the program's own weights made.
    shipped = loaded.has_emotion and loaded.path == WEIGHTS_PATH
    look = LamLook(tokens[0].cpu().numpy(), points.numpy()) if shipped else None
    return Avatar(name, model.config.name, rig, local, framing, photo, look).to(device)


def network_image(portrait: TrackedPortrait, size: int) -> torch.Tensor:  # [1, 3, size, size]
    """The photograph on white."""
    matte = portrait.matte[..., None]
    on_white = portrait.rgb / np.float32(255) * matte + WHITE * (1 - matte)
    picture = torch.from_numpy(np.ascontiguousarray(on_white.transpose(2, 0, 1), np.float32))[None]
    return F.interpolate(picture, (size, size), mode="area")


def gaussians_of(out: PointGaussians, points: torch.Tensor, i: int) -> Gaussians:
    """The Gaussians of the ``i``-th picture on a neutral head, where the network was asked about ``points [N, 3]``."""
    return Gaussians(points + out.offset[i], out.quats[i], out.scales[i], out.opacities[i], sh_from_rgb(out.rgb[i]))


def _plain_skin(neutral: np.ndarray, head: HeadData, face: np.ndarray) -> SkinAppearance:
    """Skin that does not answer to the moving mesh: how it looks under an emotion the network has learnt."""
    n, f = len(face), len(head.faces)
    return SkinAppearance(
        neutral=neutral,
        photo=neutral,
        shaded=np.zeros(f, bool),
        stretch_limit=np.full(f, NEVER, np.float32),
        barycentric=np.full((n, 3), 1 / 3, np.float32),
        folds=np.zeros((n, 3), np.uint8),
        detail=np.zeros(n, np.float32),
    )
