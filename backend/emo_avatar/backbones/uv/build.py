"""From a tracked portrait to an avatar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from emo_avatar.avatar.appearance import SkinAppearance, SkinModulator
from emo_avatar.avatar.avatar import Avatar, Framing, SourcePhoto
from emo_avatar.avatar.binding import Footing, bind, pose
from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.avatar.mouth import Mouth, MouthModulator
from emo_avatar.avatar.rig import FlameRig
from emo_avatar.backbones.framing import framing_of
from emo_avatar.backbones.portrait.foreground import clean_foreground
from emo_avatar.backbones.portrait.neutralise import neutral_correction
from emo_avatar.backbones.portrait.prepared import PreparedHead, prepare_head
from emo_avatar.backbones.portrait.refine import refined
from emo_avatar.backbones.portrait.slits import stance_in_photo
from emo_avatar.backbones.portrait.splats import Layer, Splats
from emo_avatar.backbones.portrait.stance import Stance
from emo_avatar.backbones.portrait.view import MeshView, smooth_over_mesh
from emo_avatar.backbones.uv.complete import Observation
from emo_avatar.backbones.uv.grid import PortraitMaps
from emo_avatar.backbones.uv.learned import complete, on_device, places_of
from emo_avatar.backbones.uv.look import UVLook
from emo_avatar.backbones.uv.maps import fold_depth
from emo_avatar.backbones.uv.network import UVNetwork
from emo_avatar.backbones.uv.project import most_opaque, outlined, project
from emo_avatar.backbones.uv.unfolding import marks_in_photo, unfolding_of
from emo_avatar.head.data import HeadData
from emo_avatar.render.rasterize import rasterize
from emo_avatar.tracking.portrait import TrackedPortrait

Progress = Callable[[float, str], None]
REFINE_STEPS = 100
# Share of the photo's own colour at the matte's edge: where the matte errs, the recovered colour overshoots.
EDGE_TRUTH = 0.4
# By what factor a pixel of the photo may be drawn out or pressed until it says nothing any more: less on lids, and less
# where it shows the dark between the lips.
LID_STRETCH, GAP_STRETCH, SKIN_STRETCH = 1.45, 1.45, 2.6
IN_MOUTH = -1.0  # `SkinAppearance.detail` of the photo's teeth
LID_ROUNDS, LID_REACH = 2, 3.0  # of smoothing, and the factor after it, that lay the lids' crease up to under the brow
NEUTRAL_SIZE = 320  # pixels of the pictures that the neutral face is judged on


def build_avatar(
    portrait: TrackedPortrait,
    head: HeadData,
    *,
    name: str = "",
    refine: int = REFINE_STEPS,
    network: UVNetwork | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = lambda fraction, what: None,
) -> Avatar:
    """Make an avatar of a tracked portrait; ``refine`` steps of optimisation, 0 for a preview.

    ``head`` is the one that the portrait was tracked with. With a ``network`` (`learned.default_network`) it completes
    what the photo hides, and emotions colour the skin. Network and optimisation run on ``device``, where the avatar is
    then. Calls ``progress`` with a fraction and what is being done.
    """
    prepared = prepare_head(head)
    photo_rgb = portrait.rgb / np.float32(255)
    rgb = clean_foreground(photo_rgb, portrait.matte)
    progress(0.0, "projecting the photo")
    stance, splats, trusted, seen = analysed(portrait, prepared, rgb)
    maps = None
    if network is not None:
        splats, maps = complete(on_device(network, device), splats, seen, portrait, prepared, stance.vertices)
    progress(0.15, "finding the neutral face")
    skin = _skin(prepared, stance, splats)
    pictures = _neutral_pictures(prepared, stance, splats, skin)
    correction = neutral_correction(portrait.blendshapes, stance.units, pictures)
    stance = stance.relaxed(correction)
    if refine:
        edge = np.where(portrait.matte > 0.5, EDGE_TRUTH, 0)[..., None]
        target = (1 - edge) * rgb + edge * photo_rgb
        report = lambda fraction: progress(0.25 + 0.75 * fraction, "refining")  # noqa: E731
        # What is inside the mouth is led to the photograph in its light, and kept in full light.
        light = _light_in_photo(prepared, splats, skin)
        shown = replace(splats, rgb=light * splats.rgb)
        ceiling, matte = most_opaque(splats, prepared), portrait.matte
        shown = refined(shown, portrait.camera, target, matte, trusted, refine, report, device, ceiling)
        splats = replace(shown, rgb=shown.rgb / light)
    return assembled(name, portrait, prepared, stance, splats, maps, skin, seen).to(device)


def analysed(
    portrait: TrackedPortrait, prepared: PreparedHead, rgb: np.ndarray
) -> tuple[Stance, Splats, np.ndarray, Observation]:  # [H, W, 3] clean foreground
    """How the person stands in the photo, and what `project` makes of it."""
    stance = stance_in_photo(portrait, prepared)
    vertices, labels = outlined(portrait, prepared, rgb, stance.vertices)
    stance = stance.moved(vertices - stance.vertices)
    return stance, *project(portrait, prepared, rgb, stance.vertices, labels)


def assembled(
    name: str,
    portrait: TrackedPortrait,
    prepared: PreparedHead,
    stance: Stance,
    splats: Splats,
    maps: PortraitMaps | None = None,
    skin: SkinAppearance | None = None,
    seen: Observation | None = None,
) -> Avatar:
    """Bind Gaussians that show the photo to the person in it; with ``maps``, emotions will colour the skin.

    ``skin`` may be that of these Gaussians before they were refined or the person relaxed; with ``seen``,
    what the photo shows of the head's texels, which then come first, the marks of its expression are measured.
    """
    skin = _skin(prepared, stance, splats) if skin is None else skin
    skin = replace(skin, neutral=stance.neutral, photo=stance.unturned)
    if seen is not None:
        skin = replace(skin, unfolding=_unfolding(portrait, prepared, stance, splats, skin, seen))
    local = _bound(prepared, stance, splats)
    rig = FlameRig(stance.person, stance.shape, stance.static_offset, splats.face, skin)
    photo = SourcePhoto(portrait.rgb, (portrait.matte * 255).astype(np.uint8), portrait.camera, stance.pose)
    framing = _framing(prepared, stance, splats, local)
    look = None if maps is None else UVLook(maps, _reach(prepared, maps, splats, skin.barycentric), rig, photo)
    return Avatar(name, "uv", rig, local, framing, photo, look)


def _unfolding(
    portrait: TrackedPortrait,
    prepared: PreparedHead,
    stance: Stance,
    splats: Splats,
    skin: SkinAppearance,
    seen: Observation,
) -> np.ndarray:  # [N, 4] int8
    """What the folds of the photo's expression do to the Gaussians."""
    shown = prepared.opaque & ~prepared.interior
    view = MeshView.of(stance.vertices, prepared.head.faces, portrait.camera, shown)
    folding = SkinModulator(skin, prepared.head.faces, splats.face).folding_in_photo
    marks = marks_in_photo(prepared, view, folding, portrait.rgb / np.float32(255), portrait.matte)
    return unfolding_of(prepared, splats, seen, marks, portrait.camera)


def _light_in_photo(prepared: PreparedHead, splats: Splats, skin: SkinAppearance) -> np.ndarray:  # [N, 3]
    """What the lips leave of the light on each Gaussian in the photo."""
    mouth = Mouth.of(prepared.head)
    if mouth is None:
        return np.ones((len(splats), 3), np.float32)
    return MouthModulator(mouth, skin, prepared.head.faces, splats.face).gain_in_photo


def _bound(prepared: PreparedHead, stance: Stance, splats: Splats) -> Gaussians:
    """The Gaussians in the frames of the triangles that they lie on in the photo."""
    faces, binding = torch.from_numpy(prepared.head.faces), torch.from_numpy(splats.face)
    return bind(splats.gaussians(), binding, torch.from_numpy(stance.vertices), faces)


def _skin(prepared: PreparedHead, stance: Stance, splats: Splats) -> SkinAppearance:
    weights = closest_barycentric(splats.means, stance.vertices[prepared.head.faces[splats.face]])
    detail = np.isin(splats.layer, (Layer.DETAIL, Layer.LASH)).astype(np.float32)
    detail[splats.layer == Layer.GAP] = SKIN_STRETCH / GAP_STRETCH
    detail[(splats.layer == Layer.SHEET) & prepared.interior[splats.face]] = IN_MOUTH
    return skin_of(prepared, stance.neutral, stance.unturned, splats.face, weights, detail)


def skin_of(
    prepared: PreparedHead,
    neutral: np.ndarray,  # [V, 3] metres, the face at rest
    photo: np.ndarray,  # [V, 3] metres, the face in the photo, unturned
    face: np.ndarray,  # [N]
    barycentric: np.ndarray,  # [N, 3]
    detail: np.ndarray,  # [N] as in `SkinAppearance`
) -> SkinAppearance:
    """What is known of the skin under Gaussians on these places of the head."""
    limit = np.where(prepared.on_face["lids"], LID_STRETCH, SKIN_STRETCH).astype(np.float32)
    return SkinAppearance(
        neutral=neutral,
        photo=photo,
        shaded=prepared.outer,
        stretch_limit=limit,
        barycentric=barycentric,
        folds=_folds(prepared, face, barycentric),
        detail=detail,
    )


def _reach(
    prepared: PreparedHead, maps: PortraitMaps, splats: Splats, barycentric: np.ndarray
) -> np.ndarray:  # [N] uint8
    """How far emotion colours each Gaussian: those on skin, not hair and clothing beside the head."""
    on_surface = np.isin(splats.layer, (Layer.TEXEL, Layer.DETAIL, Layer.LASH, Layer.GAP))
    reach = places_of(prepared, maps, splats.face, barycentric).reach.numpy()
    return np.where(on_surface, np.round(255 * np.clip(reach, 0, 1)), 0).astype(np.uint8)


def _folds(prepared: PreparedHead, face: np.ndarray, barycentric: np.ndarray) -> np.ndarray:  # [N, 3] uint8
    """How deep skin folds: as drawn on the head's map, and on lids, which lie in a crease where they are pressed."""
    head = prepared.head
    folds = fold_depth(head, face, barycentric)
    lids = smooth_over_mesh(head.regions["lids"].astype(float), head.faces, LID_ROUNDS)
    crease = (np.clip(lids * LID_REACH, 0, 1)[head.faces[face]] * barycentric).sum(1) * prepared.outer[face]
    folds[:, 0] = np.maximum(folds[:, 0], np.round(255 * crease).astype(np.uint8))
    return folds


def _neutral_pictures(
    prepared: PreparedHead, stance: Stance, splats: Splats, skin: SkinAppearance
) -> Callable[[np.ndarray], np.ndarray]:  # [52] -> [H, W, 3] uint8
    """Pictures of the person's face at rest with ARKit weights on it.

    They do without the person's own head and rig, which take longer to make than to draw.
    """
    head, local = prepared.head, _bound(prepared, stance, splats)
    faces, binding = torch.from_numpy(head.faces), torch.from_numpy(splats.face)
    modulator = SkinModulator(skin, head.faces, splats.face)
    footing = Footing.of(torch.from_numpy(stance.vertices), faces, binding, torch.from_numpy(skin.barycentric))
    camera = _framing(prepared, stance, splats, local).camera(size=NEUTRAL_SIZE)

    def picture(weights: np.ndarray) -> np.ndarray:
        vertices = torch.from_numpy(stance.at_rest(weights))
        shown = pose(modulator(local, vertices), binding, vertices, faces, footing)
        rgb = rasterize(shown, camera, (0.5, 0.5, 0.5)).rgb
        return (rgb.clamp(0, 1) * 255).to(torch.uint8).numpy()

    return picture


def _framing(prepared: PreparedHead, stance: Stance, splats: Splats, local: Gaussians) -> Framing:
    faces, binding = torch.from_numpy(prepared.head.faces), torch.from_numpy(splats.face)
    means = pose(local, binding, torch.from_numpy(stance.neutral), faces).means.numpy()
    solid = (splats.opacities > 0.5) & (splats.layer != Layer.BACK)
    return framing_of(means[solid], stance.neutral[prepared.head.regions["collar"]])


def closest_barycentric(points: np.ndarray, corners: np.ndarray) -> np.ndarray:  # [N, 3], [N, 3, 3] -> [N, 3]
    """Barycentrics of points projected onto their triangle's plane, clipped to the triangle."""
    a, u, v = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = points - a
    uu, uv, vv, pu, pv = (np.einsum("nc,nc->n", x, y) for x, y in ((u, u), (u, v), (v, v), (p, u), (p, v)))
    determinant = np.maximum(uu * vv - uv * uv, 1e-20)
    b, c = (vv * pu - uv * pv) / determinant, (uu * pv - uv * pu) / determinant
    weights = np.clip(np.stack([1 - b - c, b, c], axis=1), 0, None)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
