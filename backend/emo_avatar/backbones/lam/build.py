"""From a tracked portrait to an avatar, in one pass of the network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from emo_avatar.avatar.appearance import SkinAppearance
from emo_avatar.avatar.avatar import Avatar, SourcePhoto
from emo_avatar.avatar.binding import bind, pose
from emo_avatar.avatar.gaussians import SH_C0, Gaussians, sh_from_rgb
from emo_avatar.avatar.rig import FlameRig
from emo_avatar.backbones.framing import framing_of
from emo_avatar.backbones.lam.checkpoint import WEIGHTS_PATH, Loaded
from emo_avatar.backbones.lam.complexion import evened
from emo_avatar.backbones.lam.evidence import evidence_of
from emo_avatar.backbones.lam.fine import between, fine_splats, fine_surface, trust_in
from emo_avatar.backbones.lam.growth import Ground
from emo_avatar.backbones.lam.look import LamLook
from emo_avatar.backbones.lam.model import Lam
from emo_avatar.backbones.lam.observe import observe
from emo_avatar.backbones.lam.points import PointGaussians
from emo_avatar.backbones.lam.query import queries
from emo_avatar.backbones.lam.sites import Sites, sites_of
from emo_avatar.backbones.portrait.foreground import clean_foreground
from emo_avatar.backbones.portrait.neutralise import neutral_correction
from emo_avatar.backbones.portrait.prepared import prepare_head
from emo_avatar.backbones.portrait.refine import refined
from emo_avatar.backbones.portrait.slits import stance_in_photo
from emo_avatar.backbones.portrait.splats import Layer, Splats
from emo_avatar.backbones.portrait.stance import Stance
from emo_avatar.errors import UserError
from emo_avatar.head.data import HeadData
from emo_avatar.render.rasterize import rasterize
from emo_avatar.tracking.portrait import TrackedPortrait

Progress = Callable[[float, str], None]

WHITE = 1.0  # behind the person in the picture that the network sees, as the authors have it
SOLID = 0.1  # opacity; LAM's skin is made of many translucent layers
ABOVE_TRUST = 0.3  # in what the photograph shows of Gaussians above scalp and neck
EAR_TRUST = 0.3
HAZE = 0.06  # opacity below which a Gaussian is left out: remains of what training has dissolved
LARGEST, OF_SPACING = 0.006, 0.5  # metres, or of the distance to its neighbours: as large a soft Gaussian may be
FREE = 0.6  # trust from which refinement may change more of a Gaussian than its colour
NEUTRAL_SIZE, GREY = 320, (0.5, 0.5, 0.5)  # of the pictures that the neutral face is judged on
NEVER = 1e6  # a limit on distortion that nothing reaches


def build_lam(
    portrait: TrackedPortrait,
    head: HeadData,
    loaded: Loaded,
    *,
    name: str = "",
    refine: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress = lambda fraction, what: None,
) -> Avatar:
    """Make an avatar of a tracked portrait; ``head`` is the one that it was tracked with.

    The network sees the photograph and the points of the person's face at rest, and takes the expression out of the
    photograph by itself. ``refine`` steps of optimisation follow, of the small configuration alone.
    """
    shipped = loaded.path == WEIGHTS_PATH  # those weights stay on the CPU, where looks of other avatars ask them
    model = (copy.deepcopy(loaded.model) if shipped else loaded.model).to(device)
    progress(0.0, "looking at the photo")
    made = (_published if model.config.growth is None else _grown)(portrait, head, model)
    if made.shown is not None and refine:
        report = lambda fraction: progress(0.3 + 0.6 * fraction, "refining")  # noqa: E731
        made = _refined(made, portrait, head, refine, report, device)
    stance, face = made.stance, made.face
    solid = made.gaussians.opacities.numpy() > SOLID
    if not solid.any():
        raise UserError("These weights make nothing but transparent Gaussians; they are not trained far enough.")
    framing = framing_of(made.gaussians.means.numpy()[solid], stance.neutral[head.regions["collar"]])
    faces, binding = (torch.from_numpy(a.astype(np.int64)) for a in (head.faces, face))
    local = bind(made.gaussians, binding, torch.from_numpy(stance.neutral), faces)
    if model.config.growth is not None:
        progress(0.95, "finding the neutral face")
        camera = framing.camera(size=NEUTRAL_SIZE)

        def at_rest(weights: np.ndarray) -> np.ndarray:  # [52] ARKit -> [H, W, 3] uint8
            vertices = torch.from_numpy(stance.at_rest(weights))
            rgb = rasterize(pose(local, binding, vertices, faces), camera, GREY).rgb
            return (rgb.clamp(0, 1) * 255).to(torch.uint8).numpy()

        # What is bound to the triangles in the photograph stays there: the face at rest is another one.
        stance = stance.relaxed(neutral_correction(portrait.blendshapes, stance.units, at_rest))
    rig = FlameRig(stance.person, stance.shape, stance.static_offset, face, _plain_skin(stance.neutral, head, face))
    photo = SourcePhoto(portrait.rgb, (portrait.matte * 255).astype(np.uint8), portrait.camera, stance.pose)
    # An avatar file does not hold the network: emotion colours those that the program's own weights made.
    look = LamLook(made.tokens, rig, photo) if shipped and loaded.has_emotion and made.tokens is not None else None
    return Avatar(name, model.config.name, rig, local, framing, photo, look).to(device)


@dataclass(frozen=True, eq=False)
class _Made:
    """Gaussians of a person at rest."""

    stance: Stance
    gaussians: Gaussians
    face: np.ndarray  # [N] int32 triangle of each
    tokens: np.ndarray | None = None  # [M, width] of the picture
    shown: _Shown | None = None  # where a refinement to the photograph can follow


@dataclass(frozen=True, eq=False)
class _Shown:
    """What the photograph shows of the places of N Gaussians."""

    sites: Sites
    seen: np.ndarray  # [N] in [0, 1] how well
    trusted: np.ndarray  # [N] in [0, 1] how far it may change each
    soft: np.ndarray  # [N] bool, those of hair and clothes

    @classmethod
    def of(cls, seen: np.ndarray, sites: Sites, head: HeadData) -> _Shown:  # [N]
        # Above the skin a photograph shows hair and clothes, if not so surely those of one height.
        # What an ear hides of itself, and hair of it, one mesh for all does not know.
        trusted = seen**2 * np.where(sites.height > 0, ABOVE_TRUST, 1)
        trusted *= np.where(head.regions["ears"][sites.corners].any(1), EAR_TRUST, 1)
        soft = (sites.height > 0) | head.regions["scalp"][sites.corners].all(1)
        return cls(sites, seen, trusted.astype(np.float32), soft)


def _published(portrait: TrackedPortrait, head: HeadData, model: Lam) -> _Made:
    """LAM as its authors have it: a Gaussian for each point of the head."""
    device = model.pcl_embed.basis.device
    stance = Stance.of(portrait, head)
    asked = queries(head, model.config.subdivisions)
    points = torch.from_numpy(asked.points(stance.neutral))
    image = network_image(portrait.rgb / np.float32(255), portrait.matte, model.config.encoder.image)
    with torch.inference_mode():
        out = model(image.to(device), points[None].to(device))
        return _Made(stance, gaussians_of(out, points.to(device), 0).to("cpu"), asked.face)


def _grown(portrait: TrackedPortrait, head: HeadData, model: Lam) -> _Made:
    """Gaussians that grow between the points that the network is asked about."""
    stance = stance_in_photo(portrait, prepare_head(head))
    assert model.config.growth is not None
    device = model.pcl_embed.basis.device
    sites = sites_of(head, model.config.growth)
    observed = observe(portrait, head, stance)
    seen = evidence_of(observed, sites, head).to(device)
    image = network_image(observed.rgb / np.float32(255), portrait.matte, model.config.encoder.image)
    with torch.inference_mode():
        tokens = model.encoder(image.to(device))
        weights = torch.zeros(1, len(model.emotion.table), device=device)
        out = model.grow(tokens, seen, Ground.of(sites, device), weights)
        gaussians = gaussians_of(out, seen.points[0], 0).to("cpu")
        gaussians = replace(gaussians, opacities=torch.where(gaussians.opacities > HAZE, gaussians.opacities, 0.0))
    shown = _Shown.of(seen.seen[0].cpu().numpy(), sites, head)
    return _Made(stance, gaussians, sites.face, tokens[0].cpu().numpy(), shown)


def _refined(
    made: _Made,
    portrait: TrackedPortrait,
    head: HeadData,
    steps: int,
    progress: Callable[[float], None],
    device: torch.device | str,
) -> _Made:
    """The same Gaussians and the photograph's own pixels, led to look like it together."""
    assert made.shown is not None
    shown, count = made.shown, len(made.face)
    faces, binding = (torch.from_numpy(a.astype(np.int64)) for a in (head.faces, made.face))
    resting, posed = (torch.from_numpy(a) for a in (made.stance.neutral, made.stance.vertices))
    world = pose(bind(made.gaussians, binding, resting, faces), binding, posed, faces)
    rgb = (SH_C0 * world.sh[:, 0] + 0.5).numpy()
    prepared = prepare_head(head)
    clean = clean_foreground(portrait.rgb / np.float32(255), portrait.matte)
    vertices, camera, matte = made.stance.vertices, portrait.camera, portrait.matte
    surface = fine_surface(world, prepared, vertices, camera, matte)
    world = between(world, surface, shown.soft, np.maximum(LARGEST, OF_SPACING * shown.sites.spacing))
    layer = np.where(shown.trusted > FREE, Layer.DETAIL, Layer.TEXEL).astype(np.int8)
    means, quats, scales, opacities = (x.numpy() for x in (world.means, world.quats, world.scales, world.opacities))
    splats = Splats(made.face, means, quats, scales, opacities, rgb, layer)
    fine = fine_splats(surface, clean, matte, prepared)
    splats, trusted = Splats.join([splats, fine]), np.concatenate([shown.trusted, trust_in(fine)])
    done = refined(splats, camera, clean, matte, trusted, steps, progress, device)
    evener = evened(done.rgb[:count], shown.seen, shown.sites, head)
    done = replace(done, rgb=np.concatenate([evener, done.rgb[count:]]))
    binding = torch.from_numpy(splats.face.astype(np.int64))
    gaussians = pose(bind(done.gaussians(), binding, posed, faces), binding, resting, faces)
    return replace(made, gaussians=gaussians, face=splats.face)


def network_image(rgb: np.ndarray, matte: np.ndarray, size: int) -> torch.Tensor:  # [H, W, 3], [H, W] in [0, 1]
    """A person on white, ``[1, 3, size, size]``."""
    alpha = matte[..., None]
    picture = torch.from_numpy(np.ascontiguousarray((rgb * alpha + WHITE * (1 - alpha)).transpose(2, 0, 1), np.float32))
    return F.interpolate(picture[None], (size, size), mode="area")


def gaussians_of(out: PointGaussians, points: torch.Tensor, i: int) -> Gaussians:
    """The Gaussians of the ``i``-th picture on a neutral head, whose places are ``points [N, 3]``."""
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
