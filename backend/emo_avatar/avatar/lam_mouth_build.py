"""Building the inside of a mouth for a LAM mesh: where the lips are, how the jaw swings, teeth of human size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.transform import Rotation

from emo_avatar.avatar.lam_mouth import MouthInterior
from emo_avatar.avatar.lam_package import LamSplats
from emo_avatar.head.data import ARKIT_NAMES

_LIP_RINGS = 14  # edges from the hidden rim of the mouth over the lip to its outer border
_COLUMNS, _CANDIDATES, _ROWS = 25, 10, 8
_COLUMN_REACH = 0.0018  # metres to either side in which a column looks for its lip edge
_SPACING = 0.0009  # metres between teeth splats; sigma is chosen so that they melt into a surface
_SIGMA = 0.75  # of the spacing
_WALL_SIGMA = 1.2  # of the distance between the wall's columns, which lips that stretch move apart
# Crown widths from the midline outward and heights, metres (Wheeler's Dental Anatomy, rounded means).
_UPPER_WIDTHS = (0.0085, 0.0065, 0.0075, 0.0070, 0.0068, 0.0100)
_LOWER_WIDTHS = (0.0050, 0.0055, 0.0070, 0.0070, 0.0071, 0.0110)
_UPPER_HEIGHT, _LOWER_HEIGHT, _GUM_HEIGHT = 0.0095, 0.0080, 0.004
_OVERBITE = 0.002  # metres by which upper incisors cover and stand before lower ones
_ENAMEL = np.array([1.05, 1.02, 0.99])  # teeth are a little brighter and warmer than the white of the eye
_LOWER_LIGHT = 0.8  # lower teeth stand in the shade of the upper ones
_EDGE_BELOW_LIP_LINE = 0.001  # metres that upper incisors reach below the line where closed lips meet


@dataclass(frozen=True)
class InteriorSplats:
    """Splats to append to the package's own."""

    means: np.ndarray  # [I, 3] metres
    scales: np.ndarray  # [I, 3] metres
    opacities: np.ndarray  # [I]
    colors: np.ndarray  # [I, 3]


def build_mouth(
    vertices: np.ndarray,  # [V, 3] metres
    faces: np.ndarray,  # [F, 3]
    targets: np.ndarray,  # [52, M, 3] of the first M vertices
    splats: LamSplats,  # of the V vertices
    white: np.ndarray,  # [3] what white looks like in the portrait's light
) -> tuple[MouthInterior, InteriorSplats] | None:
    """The interior and its splats, or None when the mesh has no hole where a mouth would be."""
    rim = _mouth_rim(vertices, faces, targets)
    if rim is None:
        return None
    upper_rim, lower_rim = rim
    upper_lip, lower_lip = _lips(vertices, faces, upper_rim, lower_rim)
    columns = _columns(vertices, upper_lip, lower_lip)
    if columns is None:
        return None
    upper, lower = columns
    top, bottom = vertices[upper][:, :, 1].min(axis=1), vertices[lower][:, :, 1].max(axis=1)
    line_x, line_y = vertices[upper][:, 0, 0], (top + bottom) / 2

    palette = _Palette.of(splats, lower_lip, white)
    arch = _Arch.behind(vertices[upper_rim], float(np.interp(0.0, line_x, line_y)))
    teeth = [_upper_row(arch, palette), _lower_row(arch, palette), _tongue(arch, palette)]
    pivot, opening = _jaw_swing(vertices, targets)
    chin = _chin(targets)
    wall, depth = _wall(vertices, upper, lower, arch, palette)
    parts = [wall, *teeth]
    interior = MouthInterior(
        first=len(vertices),
        rows=_ROWS,
        upper=upper,
        lower=lower,
        closed=(top - bottom).astype(np.float32),
        wall_depth=depth.astype(np.float32),
        jaw_pivot=pivot.astype(np.float32),
        jaw_open=opening.astype(np.float32),
        jaw_slides=np.stack(
            [targets[ARKIT_NAMES.index(name), chin].mean(axis=0) for name in ("jawForward", "jawLeft", "jawRight")]
        ).astype(np.float32),
        jaw_share=np.concatenate(
            [np.full(len(part.means), share, np.float32) for part, share in zip(teeth, (0, 1, 1), strict=True)]
        ),
    )
    joined = (np.concatenate([getattr(p, name) for p in parts]) for name in ("means", "scales", "opacities", "colors"))
    return interior, InteriorSplats(*joined)


def _mouth_rim(
    vertices: np.ndarray, faces: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:  # vertex indices of the upper and of the lower half
    """The border of the hole in the front of the face; its lower half is what the jaw takes along."""
    edges = np.sort(np.concatenate([faces, np.roll(faces, 1, axis=1)]).reshape(2, -1).T, axis=1)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    border = np.unique(unique[counts == 1])
    travel = np.zeros(len(vertices))
    travel[: targets.shape[1]] = np.linalg.norm(targets[ARKIT_NAMES.index("jawOpen")], axis=1)
    lower_face = travel > 0
    if not lower_face.any():
        return None
    low, high = vertices[lower_face].min(axis=0), vertices[lower_face].max(axis=0)
    inside = ((vertices[border] > low) & (vertices[border] < high)).all(axis=1)
    rim = border[inside & (vertices[border, 2] > (low[2] + high[2]) / 2)]
    if len(rim) < 16:
        return None
    carried = travel[rim] > travel[rim].max() / 2
    if not 0.2 < carried.mean() < 0.8:
        return None
    return rim[~carried], rim[carried]


def _lips(
    vertices: np.ndarray, faces: np.ndarray, upper_rim: np.ndarray, lower_rim: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of either lip: those within some rings of its half of the rim and nearer to it than to the other."""
    n = len(vertices)
    ends = np.concatenate([faces, np.roll(faces, 1, axis=1)]).reshape(2, -1)
    graph = sp.csr_matrix((np.ones(ends.shape[1]), ends), (n, n))
    graph.data[:] = 1
    far = _LIP_RINGS + 1
    to_upper, to_lower = (
        dijkstra(graph, directed=False, indices=rim, unweighted=True, limit=far, min_only=True)
        for rim in (upper_rim, lower_rim)
    )
    return (
        np.flatnonzero((to_upper <= _LIP_RINGS) & (to_upper < to_lower)),
        np.flatnonzero((to_lower <= _LIP_RINGS) & (to_lower < to_upper)),
    )


def _columns(
    vertices: np.ndarray, upper_lip: np.ndarray, lower_lip: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:  # [K, S], [K, S]
    """Vertices that can be the edge of either lip, in columns from the subject's right to the left."""
    half = min(np.abs(vertices[lip, 0]).max() for lip in (upper_lip, lower_lip))
    upper, lower = [], []
    for x in np.linspace(-half, half, _COLUMNS):
        above = upper_lip[np.abs(vertices[upper_lip, 0] - x) < _COLUMN_REACH]
        below = lower_lip[np.abs(vertices[lower_lip, 0] - x) < _COLUMN_REACH]
        if len(above) >= _CANDIDATES and len(below) >= _CANDIDATES:
            upper.append(above[np.argsort(vertices[above, 1])[:_CANDIDATES]])
            lower.append(below[np.argsort(-vertices[below, 1])[:_CANDIDATES]])
    if len(upper) < _COLUMNS // 2:
        return None
    return np.array(upper, np.int32), np.array(lower, np.int32)


def _chin(targets: np.ndarray) -> np.ndarray:  # vertex indices
    """The vertices that jawOpen carries farthest."""
    travel = np.linalg.norm(targets[ARKIT_NAMES.index("jawOpen")], axis=1)
    return np.flatnonzero(travel > np.quantile(travel[travel > 0], 0.9))


def _jaw_swing(vertices: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # pivot [3], axis-angle [3]
    """The rotation that explains how jawOpen moves the chin."""
    chin = _chin(targets)
    before = vertices[chin]
    after = before + targets[ARKIT_NAMES.index("jawOpen"), chin]
    turn, _ = Rotation.align_vectors(after - after.mean(axis=0), before - before.mean(axis=0))
    matrix = turn.as_matrix()
    # The pivot satisfies (I - R) p = after - R before; along the axis it is free, so the midline is taken.
    pivot, *_ = np.linalg.lstsq(np.eye(3) - matrix, after.mean(axis=0) - matrix @ before.mean(axis=0), rcond=1e-3)
    return pivot, turn.as_rotvec()


@dataclass(frozen=True)
class _Arch:
    """The curve on which the front faces of the teeth stand, seen from above: ``z = front - bend x^2``."""

    front: float  # metres
    bend: float  # 1 / metres
    line: float  # y in metres at which closed lips meet

    @classmethod
    def behind(cls, rim: np.ndarray, line: float) -> _Arch:  # rim [R, 3] of the upper lip
        design = np.stack([np.ones(len(rim)), -(rim[:, 0] ** 2)], axis=1)
        front, bend = np.linalg.lstsq(design, rim[:, 2], rcond=None)[0]
        return cls(float(front), float(max(bend, 0.0)), line)

    def points(self, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # x, z
        """Points at arc lengths ``along`` from the midline, positive to the subject's left."""
        x = np.linspace(0.0, 0.04, 400)
        length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), 2 * self.bend * x[1:] * np.diff(x)))])
        across = np.interp(np.abs(along), length, x) * np.sign(along)
        return across, self.front - self.bend * across**2


@dataclass(frozen=True)
class _Palette:
    """Colours of the interior that fit the portrait's light and tint."""

    tooth: np.ndarray  # [3]
    gum: np.ndarray  # [3]
    dark: np.ndarray  # [3]

    @classmethod
    def of(cls, splats: LamSplats, lower_lip: np.ndarray, white: np.ndarray) -> _Palette:
        shown = lower_lip[splats.opacities[lower_lip] > 0.3]
        lip = np.quantile(splats.colors[shown], 0.6, axis=0) if len(shown) else 0.6 * white
        return cls(white * _ENAMEL, 0.7 * lip, 0.14 * lip)


def _upper_row(arch: _Arch, palette: _Palette) -> InteriorSplats:
    edge = arch.line - _EDGE_BELOW_LIP_LINE
    return _row(arch, palette, _UPPER_WIDTHS, edge, _UPPER_HEIGHT, up=1.0, setback=0.0)


def _lower_row(arch: _Arch, palette: _Palette) -> InteriorSplats:
    edge = arch.line - _EDGE_BELOW_LIP_LINE + _OVERBITE / 2
    row = _row(arch, palette, _LOWER_WIDTHS, edge, _LOWER_HEIGHT, up=-1.0, setback=_OVERBITE)
    return replace(row, colors=_LOWER_LIGHT * row.colors)


def _row(
    arch: _Arch, palette: _Palette, widths: tuple[float, ...], edge: float, height: float, up: float, setback: float
) -> InteriorSplats:
    """One row of teeth with its gum; ``up`` is the direction from the biting edge to the gum."""
    ends = np.cumsum(widths)
    along = np.arange(-ends[-1], ends[-1], _SPACING)
    rise = np.arange(0.0, height + _GUM_HEIGHT, _SPACING)
    s, r = (grid.ravel() for grid in np.meshgrid(along, rise))
    tooth = np.searchsorted(ends, np.abs(s)).clip(max=len(widths) - 1)
    start = np.concatenate([[0.0], ends])[tooth]
    across = (np.abs(s) - start) / np.array(widths)[tooth] * 2 - 1  # -1 to 1 over the tooth
    crown = height * (1 - 0.12 * across**2 - 0.05 * (tooth == 1))  # the gum's scallops
    inset = np.where(r < _SPACING, 0.5 * np.abs(across) ** 3, 0.0) * _SPACING  # rounded corners of the biting edge
    x, z = arch.points(s)
    means = np.stack([x, edge + up * (r + inset), z - setback - 0.0008 * across**2], axis=1)
    depth = np.clip((arch.front - z) / 0.02, 0.0, 1.0)  # 0 at the incisors, 1 at the back
    light = (1 - 0.3 * np.abs(across) ** 4) * (1 - 0.8 * depth) * (1 - 0.2 * np.minimum(r / height, 1) ** 2)
    colors = np.where((r > crown)[:, None], palette.gum * (1 - 0.7 * depth)[:, None], palette.tooth * light[:, None])
    return _splats(means, colors, _SPACING * _SIGMA)


def _tongue(arch: _Arch, palette: _Palette) -> InteriorSplats:
    """A low mound between the lower teeth; narrow and short, for from the side it would show through the cheek."""
    x, d = (g.ravel() for g in np.meshgrid(np.linspace(-0.011, 0.011, 10), np.linspace(0.006, 0.018, 6)))
    bulge = 1 - (x / 0.014) ** 2 - ((d - 0.014) / 0.02) ** 2
    groove = 0.001 * np.exp(-((x / 0.0025) ** 2))
    y = arch.line - 0.0125 + 0.005 * bulge - groove
    light = 0.75 * (1 - 0.6 * (d - 0.006) / 0.012) * (1 - 0.35 * (x / 0.011) ** 2)
    return _splats(np.stack([x, y, arch.front - d], axis=1), palette.gum * light[:, None], 0.0014)


def _wall(
    vertices: np.ndarray, upper: np.ndarray, lower: np.ndarray, arch: _Arch, palette: _Palette
) -> tuple[InteriorSplats, np.ndarray]:  # splats, z [K * rows]
    """The dark behind the teeth; heights and positions follow the lips in every frame."""
    x = (vertices[upper][:, 0, 0] + vertices[lower][:, 0, 0]) / 2
    t = (np.arange(_ROWS) + 0.5) / _ROWS
    half = np.abs(x).max()
    hollow = 0.008 + 0.014 * (1 - (x / half) ** 2)[:, None] * np.sin(np.pi * t)[None]  # [K, rows] behind the arch
    z = (arch.front - arch.bend * x**2)[:, None] - hollow
    y = np.broadcast_to(arch.line, z.shape)
    means = np.stack([np.broadcast_to(x[:, None], z.shape), y, z], axis=2).reshape(-1, 3)
    spacing = 2 * half / (len(x) - 1)
    shade = np.broadcast_to((1.2 - 0.8 * np.sin(np.pi * t))[None], z.shape).reshape(-1, 1)
    splats = _splats(means, np.clip(palette.dark * shade, 0, 1), spacing * _WALL_SIGMA)
    return splats, means[:, 2]


def _splats(means: np.ndarray, colors: np.ndarray, sigma: float) -> InteriorSplats:
    n = len(means)
    return InteriorSplats(means, np.full((n, 3), sigma), np.full(n, 0.97), np.clip(colors, 0.0, 1.0))
