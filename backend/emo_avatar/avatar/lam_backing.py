"""An opaque layer under the skin of an imported avatar.

The packages' splats were fitted to views from the front. Seen from the side they part, and what lies behind the head
shows through brow and cheek. Discs in the colours of the skin or hair around them, which ride under the surface, close
it; from the front they are hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from scipy.ndimage import binary_closing, distance_transform_edt
from scipy.spatial import cKDTree

from emo_avatar.avatar.gaussians import SH_C0, Gaussians, sh_from_rgb
from emo_avatar.avatar.lam_halo import figure
from emo_avatar.avatar.lam_visibility import seen_in
from emo_avatar.render.adam import Adam
from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import vertex_normals
from emo_avatar.render.rasterize import rasterize

_SPACING = 0.006  # metres between discs
_RADIUS, _THICKNESS = 0.0045, 0.0008  # metres of standard deviation
_OPACITY, _FAINT = 0.95, 0.05
_CHIN = (0.025, 0.040)  # metres of travel over which discs fade: a beard is painted as much on the neck behind it
_DEPTH = 0.008  # metres below the middle of the splats around a disc
_AROUND = 0.009  # metres from which a disc takes its place and colour
_FROM_HOLE = 3.0  # standard deviations that a disc keeps away from mouth and eyes
_SMALLEST = 0.0012  # metres: smaller discs are left out
_GAP = 5  # pixels: gaps of the figure up to twice as wide belong to it
_FARTHEST = 0.06  # metres that the splats around a disc may lie off the surface
_INSIDE = 2.0  # standard deviations that a disc keeps away from the figure's outline
_FRONTAL = 3  # views, of those given, that discs must leave as they were
_STEPS, _STEP = 24, 0.2  # of the optimiser, which finds colours for that
_TOWARDS_SKIN = 0.05  # how much it prefers the colours around
_NOTICED = 0.045  # of full brightness; discs that change a picture by more where they show are left out
_WHITE = (1.0, 1.0, 1.0)
_SEEN = 0.05  # sum of blending weights that tells a colour


@dataclass(frozen=True)
class Backing:
    """Splats ``first`` onward, each moved with a vertex."""

    first: int
    vertices: np.ndarray  # [K] int32

    def pose(self, rest: np.ndarray, vertices: np.ndarray, centers: np.ndarray) -> None:
        """Move the discs with the surface, in place: ``rest, vertices [V, 3]``, ``centers [N, 3]`` of all splats."""
        centers[self.first : self.first + len(self.vertices)] += vertices[self.vertices] - rest[self.vertices]

    def pack(self) -> tuple[dict[str, int], dict[str, np.ndarray]]:
        """JSON-able settings and arrays, as a rig packs them."""
        return {"first": self.first}, {"vertices": self.vertices}

    @classmethod
    def unpack(cls, settings: Mapping[str, int], arrays: Mapping[str, np.ndarray]) -> Backing:
        """The inverse of `pack`."""
        return cls(int(settings["first"]), arrays["vertices"])

    def check(self, n_vertices: int, n_splats: int) -> None:
        """Raises ValueError when the parts do not fit together."""
        index = self.vertices
        if index.ndim != 1 or not 0 <= self.first <= n_splats - len(index):
            raise ValueError("the layer under the skin does not fit the rig")
        if len(index) and not 0 <= index.min() <= index.max() < n_vertices:
            raise ValueError("the layer under the skin points past the rig's vertices")


def build_backing(
    gaussians: Gaussians,  # the splats that show at neutral, one for each vertex
    vertices: np.ndarray,  # [V, 3]
    faces: np.ndarray,  # [F, 3]
    skin: np.ndarray,  # [V] bool: vertices that are no eyeball
    holes: np.ndarray,  # [H, 3] points around which nothing may be covered
    clearance: np.ndarray,  # [H] metres around each
    travel: np.ndarray,  # [V] metres that the jaw takes each vertex along
    cameras: tuple[Camera, ...],  # views that show the figure's outline, those of the front first
) -> tuple[np.ndarray, Gaussians]:
    """The vertices that discs ride on ``[K]``, and the discs."""
    weight = _weights(gaussians, cameras)
    places = _spread(vertices, skin)
    means = gaussians.means.numpy().astype(np.float64)
    own = skin & (weight > 0)
    colours = 0.5 + SH_C0 * gaussians.sh[:, 0].numpy().astype(np.float64)
    middle, colour, known = _around(vertices[places], vertices[own], means[own], weight[own], colours[own])
    normals = vertex_normals(vertices.astype(np.float64), faces)[places]
    radius = np.full(len(places), _RADIUS)
    if len(holes):
        room = (np.linalg.norm(vertices[places][:, None] - holes, axis=2) - clearance).min(1)
        radius = np.minimum(radius, room / _FROM_HOLE)
    centres = middle - _DEPTH * normals
    kept = (
        known
        & (np.linalg.norm(middle - vertices[places], axis=1) < _FARTHEST)
        & (radius >= _SMALLEST)
        & (np.linalg.norm(normals, axis=1) > 0.5)
    )
    opacity = _OPACITY * np.interp(travel[places], _CHIN, (1.0, 0.0))
    kept &= opacity > _FAINT
    for camera in cameras:
        kept &= _inside(gaussians, camera, centres, radius)
    scales = np.stack([radius, radius, np.full(len(radius), _THICKNESS)], 1)
    discs = Gaussians(
        _tensor(centres[kept]),
        _tensor(_turned_to(normals[kept])),
        _tensor(scales[kept]),
        _tensor(opacity[kept]),
        sh_from_rgb(_tensor(colour[kept])),
    )
    frontal = cameras[:_FRONTAL]
    noticed = _noticed(gaussians, _unnoticed(gaussians, discs, frontal), frontal)
    left = Gaussians(*(getattr(discs, f.name)[noticed < _NOTICED] for f in fields(Gaussians)))
    return places[kept][noticed < _NOTICED].astype(np.int32), _unnoticed(gaussians, left, frontal)


def _unnoticed(gaussians: Gaussians, discs: Gaussians, cameras: tuple[Camera, ...]) -> Gaussians:
    """The discs in colours that leave pictures as they were: those of what they hide.

    Faces are translucent, and much of what is seen of them lies on the back of the head.
    """
    with torch.no_grad():
        wanted = [rasterize(gaussians, camera, _WHITE).rgb for camera in cameras]
    sh = discs.sh.clone().requires_grad_(True)
    optimiser = Adam([sh], [_STEP])
    for _ in range(_STEPS):
        optimiser.zero_grad()
        loss = _TOWARDS_SKIN * (sh - discs.sh).square().sum()
        for camera, picture in zip(cameras, wanted, strict=True):
            both = joined(gaussians, replace(discs, sh=sh))
            loss = loss + (rasterize(both, camera, _WHITE).rgb - picture).square().sum()
        loss.backward()
        optimiser.step()
    return replace(discs, sh=sh.detach())


def _noticed(gaussians: Gaussians, discs: Gaussians, cameras: tuple[Camera, ...]) -> np.ndarray:  # [K]
    """By how much the pictures of the front differ where each disc shows: root mean square."""
    both = joined(gaussians, discs)
    most = torch.zeros(len(discs))
    for camera in cameras:
        with torch.no_grad():
            change = rasterize(both, camera, _WHITE).rgb - rasterize(gaussians, camera, _WHITE).rgb
        squared = change.square().mean(dim=2)
        seen = seen_in(both, camera, torch.stack([squared, torch.ones_like(squared)]))[-len(discs) :]
        most = torch.maximum(most, (seen[:, 0] / seen[:, 1].clamp_min(_SEEN)).sqrt())
    return most.numpy()


def joined(first: Gaussians, second: Gaussians) -> Gaussians:
    """Both sets, one after the other."""
    return Gaussians(*(torch.cat([getattr(first, f.name), getattr(second, f.name)]) for f in fields(Gaussians)))


def _weights(gaussians: Gaussians, cameras: tuple[Camera, ...]) -> np.ndarray:  # [N]
    """How much of each splat is seen, in all views together."""
    total = np.zeros(len(gaussians.means))
    for camera in cameras:
        everywhere = torch.ones(1, camera.height, camera.width)
        total += seen_in(gaussians, camera, everywhere)[:, 0].numpy()
    return total


def _spread(vertices: np.ndarray, skin: np.ndarray) -> np.ndarray:  # [K] indices
    """Vertices about ``_SPACING`` apart: of each cell of a grid the one nearest to its middle."""
    own = np.flatnonzero(skin)
    cell = np.floor(vertices[own] / _SPACING)
    off = np.linalg.norm(vertices[own] / _SPACING - cell - 0.5, axis=1)
    order = np.argsort(off, kind="stable")
    _, first = np.unique(cell[order], axis=0, return_index=True)
    return own[order[first]]


def _around(
    places: np.ndarray,  # [K, 3]
    vertices: np.ndarray,  # [N, 3] that splats ride on
    means: np.ndarray,  # [N, 3]
    weights: np.ndarray,  # [N]
    colours: np.ndarray,  # [N, 3]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # [K, 3], [K, 3], [K] bool
    """Where the splats that ride around each place are, their colour, and whether they are seen at all."""
    near = cKDTree(places).sparse_distance_matrix(cKDTree(vertices), _AROUND, output_type="coo_matrix").tocsr()
    near.data = 1.0 - near.data / _AROUND
    share = near.multiply(weights[None]).tocsr()
    total = np.asarray(share.sum(1))
    middle, colour = (share @ values / np.maximum(total, 1e-9) for values in (means - vertices, colours))
    return places + middle, colour, total[:, 0] > _SEEN


def _inside(gaussians: Gaussians, camera: Camera, centres: np.ndarray, radius: np.ndarray) -> np.ndarray:  # [K] bool
    """Whether discs lie within the figure's outline."""
    solid = binary_closing(figure(rasterize(gaussians, camera).alpha.numpy()), iterations=_GAP)
    room = distance_transform_edt(solid)
    (pixels, depth) = camera.project(centres)
    column = np.clip(pixels[:, 0].astype(int), 0, camera.width - 1)
    row = np.clip(pixels[:, 1].astype(int), 0, camera.height - 1)
    return room[row, column] >= _INSIDE * radius * float(camera.K[0, 0]) / depth


def _turned_to(normals: np.ndarray) -> np.ndarray:  # [K, 3] unit -> [K, 4] wxyz, that turn the z axis to them
    x, y, z = normals.T
    quats = np.stack([1.0 + z, -y, x, np.zeros_like(x)], 1)
    quats[z < -0.999] = (0.0, 1.0, 0.0, 0.0)
    return quats / np.linalg.norm(quats, axis=1, keepdims=True)


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
