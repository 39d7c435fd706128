"""Making an avatar of a LAM package: what moves, what are the eyes, where it stands, how it is framed."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import connected_components

from emo_avatar.avatar.avatar import Avatar, Framing
from emo_avatar.avatar.gaussians import Gaussians, sh_from_rgb
from emo_avatar.avatar.lam import Eyeball, LamRig
from emo_avatar.avatar.lam_backing import Backing, build_backing, joined
from emo_avatar.avatar.lam_eyes import complete_eyeballs
from emo_avatar.avatar.lam_halo import halo_fade
from emo_avatar.avatar.lam_mouth_build import build_mouth
from emo_avatar.avatar.lam_package import LamPackage, LamSplats, read_lam_package
from emo_avatar.head.data import ARKIT_NAMES, HeadData, open_head

_STILL = 1e-6  # metres: deltas below are rounding
_FOLLOWS_UP_TO, _FOLLOWS_FROM = 0.015, 0.035  # metres off the surface: full and no turn with it; farther is hair
# Splats of the lids were fitted to open eyes seen from the front; turned all the way over the eye they would show sides
# that nobody has seen.
_LID_FOLLOWS, _LID_TRAVEL = 0.4, 0.003  # share of the turn, for vertices that a blink moves by this many metres or more
_EYE_EXTENT = (0.018, 0.036)  # metres; a human eyeball has 24 mm
_EYE_SHELL = (0.001, 0.004)  # metres outside the eyeball: splats up to the first belong to it, beyond the second not
_EYE_WHITE = 0.8  # of what is seen of eyeballs is darker than their white
_GREY_WHITE = 0.8  # display brightness of white in portraits whose eyeballs are not known
_HALO_SIZE, _HALO_YAWS = (
    256,
    (-60.0, -40.0, -20.0, 20.0, 40.0, 60.0),
)  # pixels, degrees: views in which the halo is looked for
_BACKED_YAWS = (
    0.0,
    -15.0,
    15.0,
    -40.0,
    40.0,
    -60.0,
    60.0,
)  # degrees: views that show the figure's outline, the front ones first
_EYE_ROOM, _LIP_ROOM = 1.15, 0.002  # of the eyeball's radius; metres: what the layer under the skin keeps clear of
_VISIBLE = 0.05  # opacity from which on a splat counts as part of the figure
_MARGIN = 0.06  # of the picture's half height, left free above the hair


@dataclass(frozen=True)
class ImportedAvatar:
    """An avatar and what the user should know about how it was read."""

    avatar: Avatar
    notes: tuple[str, ...]


def import_lam(path: Path) -> ImportedAvatar:
    """Read a LAM package, zip or folder. Raises `UserError` with the reason when it cannot be used."""
    package = read_lam_package(path)
    head = open_head()
    eyeballs = _eyeballs(package)
    notes = package.notes
    if not eyeballs:
        notes += ("The package has no separate eyeballs; its gaze moves by its eyeLook targets alone.",)
    rig, gaussians = _assemble(package, head, eyeballs)
    n = len(rig.vertices)  # what follows is the inside of the mouth, which neutral hides
    shown = Gaussians(*(getattr(gaussians, f.name)[:n] for f in fields(Gaussians)))
    avatar = Avatar(package.name, "lam", rig, gaussians, _framing(shown))
    sides = tuple(avatar.camera(yaw=yaw, size=_HALO_SIZE) for yaw in _HALO_YAWS)
    gaussians.opacities[:n] *= halo_fade(shown, avatar.camera(size=_HALO_SIZE), sides)
    if rig.eyes:
        gaussians.sh[:n] = complete_eyeballs(shown, rig.eyes).sh
    return ImportedAvatar(_backed(avatar), notes)


def _backed(avatar: Avatar) -> Avatar:
    """The avatar with an opaque layer under its skin."""
    rig, gaussians = avatar.rig, avatar.gaussians
    assert isinstance(rig, LamRig)
    n = len(rig.vertices)
    shown = Gaussians(*(getattr(gaussians, f.name)[:n] for f in fields(Gaussians)))
    skin = np.zeros(n, bool)
    skin[rig.faces] = True
    holes, clearance = [np.zeros((0, 3))], [np.zeros(0)]
    for eye in rig.eyes:
        skin[eye.members] = False
        size = np.linalg.norm(rig.vertices[eye.members] - eye.center, axis=1).max()
        holes.append(eye.center[None])
        clearance.append(np.full(1, _EYE_ROOM * size))
    if rig.mouth is not None:
        lips = np.unique(np.concatenate([rig.mouth.upper.ravel(), rig.mouth.lower.ravel()]))
        holes.append(rig.vertices[lips])
        clearance.append(np.full(len(lips), _LIP_ROOM))
    views = tuple(avatar.camera(yaw=yaw, size=_HALO_SIZE) for yaw in _BACKED_YAWS)
    travel = np.zeros(n)
    travel[: len(rig.follow)] = np.linalg.norm(rig.targets[ARKIT_NAMES.index("jawOpen")], axis=1)
    vertices, discs = build_backing(
        shown, rig.vertices, rig.faces, skin, np.concatenate(holes), np.concatenate(clearance), travel, views
    )
    weights = np.concatenate([rig.chain_weights, rig.chain_weights[vertices]])
    rig = replace(rig, chain_weights=weights, backing=Backing(len(gaussians), vertices))
    return replace(avatar, rig=rig, gaussians=joined(gaussians, discs))


def _eyeballs(package: LamPackage) -> list[np.ndarray]:  # vertex indices of the left and the right one, or nothing
    """The two mesh components of an eyeball's size and equal shape."""
    n, faces = len(package.vertices), package.faces
    edges = sp.coo_matrix((np.ones(2 * len(faces), bool), (faces[:, :2].T.ravel(), faces[:, 1:].T.ravel())), (n, n))
    _, labels = connected_components(edges, directed=False)
    found = []
    for label in np.flatnonzero(np.bincount(labels) > 50):
        members = np.flatnonzero(labels == label)
        extent = np.ptp(package.vertices[members], axis=0)
        if _EYE_EXTENT[0] < extent.min() and extent.max() < _EYE_EXTENT[1]:
            found.append(members)
    if len(found) != 2 or len(found[0]) != len(found[1]):
        return []
    return sorted(found, key=lambda members: -package.vertices[members, 0].mean())


def _assemble(package: LamPackage, head: HeadData, eyeballs: list[np.ndarray]) -> tuple[LamRig, Gaussians]:
    targets = package.targets.copy()
    for members in eyeballs:
        targets[:, members] = 0.0  # eyeballs turn rigidly, by the gaze itself
    moves = np.abs(targets).max(axis=(0, 2)) > _STILL
    order = np.argsort(~moves, kind="stable")  # moving vertices first
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    m = int(moves.sum())
    targets = np.ascontiguousarray(targets[:, order[:m]])
    shift = _shift_to(head, package, eyeballs)
    vertices = (package.vertices[order] + shift).astype(np.float32)
    faces = place[package.faces].astype(np.int32)
    splats = LamSplats(**{f.name: getattr(package.splats, f.name)[order] for f in fields(LamSplats)})
    means, scales, opacities, colors = vertices + splats.offsets, splats.scales, splats.opacities, splats.colors
    eyes = tuple(_eyeball(vertices, means, place[members]) for members in eyeballs)
    weights = package.chain.weights[order]
    mouth = build_mouth(vertices, faces, targets, splats, _white(eyes, vertices, splats))
    if mouth is not None:
        added = mouth[1]
        means, scales = np.concatenate([means, added.means]), np.concatenate([scales, added.scales])
        opacities, colors = np.concatenate([opacities, added.opacities]), np.concatenate([colors, added.colors])
        with_head = np.eye(weights.shape[1], dtype=np.float32)[-1]
        weights = np.concatenate([weights, np.tile(with_head, (len(added.means), 1))])
    upright = np.tile(np.array([1, 0, 0, 0], np.float32), (len(means) - len(vertices), 1))
    quats = np.concatenate([splats.quats, upright])
    rig = LamRig(
        head=head,
        vertices=vertices,
        faces=faces,
        targets=targets,
        follow=_follow(splats.offsets[:m], targets),
        chain_pivots=(package.chain.pivots + shift).astype(np.float32),
        chain_weights=weights,
        eyes=eyes,
        mouth=None if mouth is None else mouth[0],
    )
    return rig, Gaussians(
        _tensor(means), _tensor(quats), _tensor(scales), _tensor(opacities), sh_from_rgb(_tensor(colors))
    )


def _white(eyes: tuple[Eyeball, ...], vertices: np.ndarray, splats: LamSplats) -> np.ndarray:  # [3]
    """What white looks like in the portrait's light: the white of the eye, or else a bright grey."""
    if not eyes:
        return np.full(3, _GREY_WHITE)
    balls = np.concatenate([eye.members[eye.share == 1] for eye in eyes])
    means = vertices[balls] + splats.offsets[balls]
    front = balls[means[:, 2] > min(eye.center[2] for eye in eyes)]
    shown = np.sort(splats.scales[front], axis=1)[:, 1:].prod(axis=1) * splats.opacities[front]  # about their area
    order = np.argsort(splats.colors[front].mean(axis=1))
    level = np.searchsorted(np.cumsum(shown[order]), _EYE_WHITE * shown.sum())
    around = order[max(level - 5, 0) : level + 6]
    return np.average(splats.colors[front[around]], axis=0, weights=shown[around])


def _follow(offsets: np.ndarray, targets: np.ndarray) -> np.ndarray:  # [M, 3], [52, M, 3] -> [M]
    """How far each splat turns with its surface: fully on the skin, less on the lids, not at all in the hair."""
    distance = np.linalg.norm(offsets, axis=1)
    blinks = [ARKIT_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]
    travel = np.linalg.norm(targets[blinks], axis=2).max(axis=0)
    on_skin = np.interp(distance, (_FOLLOWS_UP_TO, _FOLLOWS_FROM), (1.0, 0.0))
    return (on_skin * np.interp(travel, (0.0, _LID_TRAVEL), (1.0, _LID_FOLLOWS))).astype(np.float32)


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


def _shift_to(head: HeadData, package: LamPackage, eyeballs: list[np.ndarray]) -> np.ndarray:  # [3] metres
    """Where the package must move for its eyes to stand at the head's, so that all avatars share one place."""
    eyes = (head.J_regressor[3:5] @ head.v_template).mean(axis=0)
    if eyeballs:
        return eyes - np.mean([package.vertices[members].mean(axis=0) for members in eyeballs], axis=0)
    return (head.J_regressor[1] @ head.v_template) - package.chain.pivots[0]


def _eyeball(vertices: np.ndarray, means: np.ndarray, members: np.ndarray) -> Eyeball:
    center = vertices[members].mean(axis=0)
    radius = np.linalg.norm(vertices[members] - center, axis=1).max()
    outside = np.linalg.norm(means[members] - center, axis=1) - radius
    share = np.clip((_EYE_SHELL[1] - outside) / (_EYE_SHELL[1] - _EYE_SHELL[0]), 0.0, 1.0)
    return Eyeball(center.astype(np.float32), members.astype(np.int32), share.astype(np.float32))


def _framing(gaussians: Gaussians) -> Framing:
    """Head and shoulders: from above the hair to where the bust begins to fade."""
    visible = gaussians.means[gaussians.opacities > _VISIBLE].numpy()
    top, bottom = np.quantile(visible[:, 1], (0.999, 0.01))
    half_height = (top - bottom) / 2 / (1 - _MARGIN / 2)
    target = np.array([np.median(visible[:, 0]), bottom + half_height, np.median(visible[:, 2])], np.float32)
    return Framing(target, float(half_height))
