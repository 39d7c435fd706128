"""The inside of a LAM avatar's mouth: two rows of teeth, a tongue and the dark behind them.

The packages' mesh has a hole there with nothing behind it, so that an open mouth shows the inside of the back of the
head. The skin is translucent, too: whatever lies behind closed lips shows through them. The interior is therefore drawn
only where the lips stand apart, and fades in as they open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from emo_avatar.head.data import ARKIT_NAMES

_JAW_OPEN = ARKIT_NAMES.index("jawOpen")
_JAW_SLIDES = tuple(ARKIT_NAMES.index(name) for name in ("jawForward", "jawLeft", "jawRight"))
_OPENING = (0.0004, 0.0025)  # metres between the lips at which the interior begins to show, and shows fully
_EDGE = (-0.0012, 0.0008)  # metres inside the lips' edges over which a tooth fades in
_WALL_OVERLAP = 0.12  # of the opening, by which the wall reaches behind either lip
_WALL_COVER = 0.75  # standard deviation of a wall splat over the distance to the next row
_WALL_THIN = 2e-4  # metres: its smallest height, when the lips meet


@dataclass(frozen=True)
class MouthInterior:
    """Splats ``first`` onward: a wall of ``columns x rows`` splats that fills the opening, then teeth and tongue."""

    first: int  # index of the first splat
    rows: int  # of the wall in each column
    upper: np.ndarray  # [K, S] int32, vertices of which the lowest is the upper lip's edge in a column, left to right
    lower: np.ndarray  # [K, S] int32, vertices of which the highest is the lower lip's edge
    closed: np.ndarray  # [K] float32 metres between the edges at neutral
    wall_depth: np.ndarray  # [K * rows] float32 z of the wall in metres
    jaw_pivot: np.ndarray  # [3] float32 metres
    jaw_open: np.ndarray  # [3] float32 axis-angle of jawOpen = 1
    jaw_slides: np.ndarray  # [3, 3] float32 metres, of jawForward, jawLeft and jawRight = 1
    jaw_share: np.ndarray  # [T] float32, how much a tooth or tongue splat follows the jaw

    def pose(
        self,
        vertices: np.ndarray,  # [V, 3] morphed mesh, before the head turns
        units: np.ndarray,  # [52] ARKit weights
        centers: np.ndarray,  # [N, 3]
        scales: np.ndarray,  # [N, 3]
        opacities: np.ndarray,  # [N]
    ) -> None:
        """Places and fades the interior's splats in place."""
        upper, lower = self._edges(vertices)
        gap = upper[:, 1] - lower[:, 1]  # [K]
        shown = _smoothstep(gap - self.closed, *_OPENING)
        wall = slice(self.first, self.first + len(self.wall_depth))
        self._pose_wall(upper, lower, shown, centers[wall], scales[wall], opacities[wall])
        teeth = slice(wall.stop, wall.stop + len(self.jaw_share))
        self._move_jaw(units, centers[teeth])
        x, y = centers[teeth, 0], centers[teeth, 1]
        middle_x = (upper[:, 0] + lower[:, 0]) / 2
        order = np.argsort(middle_x)
        inside = np.minimum(
            np.interp(x, middle_x[order], upper[order, 1]) - y, y - np.interp(x, middle_x[order], lower[order, 1])
        )
        opacities[teeth] *= _smoothstep(inside, *_EDGE) * np.interp(x, middle_x[order], shown[order], 0.0, 0.0)

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """JSON-able settings and arrays, as a rig packs them."""
        return {name: getattr(self, name) for name in _SETTINGS}, {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def unpack(cls, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> MouthInterior:
        """The inverse of `pack`."""
        return cls(**{n: int(settings[n]) for n in _SETTINGS}, **{n: arrays[n] for n in _ARRAYS})  # type: ignore[arg-type]

    def check(self, n_vertices: int, n_splats: int) -> None:
        """Raises ValueError when the parts do not fit together."""
        k = len(self.upper)
        splats = len(self.wall_depth) + len(self.jaw_share)
        expected = {
            "lower": self.upper.shape,
            "closed": (k,),
            "wall_depth": (k * self.rows,),
            "jaw_pivot": (3,),
            "jaw_open": (3,),
            "jaw_slides": (3, 3),
            "jaw_share": (len(self.jaw_share),),
        }
        wrong = any(getattr(self, name).shape != shape for name, shape in expected.items())
        if wrong or self.upper.ndim != 2 or not 0 <= self.first <= n_splats - splats:
            raise ValueError("the mouth does not fit the rig")
        if k < 2 or any(not 0 <= lip.min() <= lip.max() < n_vertices for lip in (self.upper, self.lower)):
            raise ValueError("the mouth points past the rig's vertices")

    def _edges(self, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # [K, 3], [K, 3]
        """Where the lips end in each column."""
        upper, lower = vertices[self.upper], vertices[self.lower]  # [K, S, 3]
        columns = np.arange(len(upper))
        return upper[columns, upper[:, :, 1].argmin(axis=1)], lower[columns, lower[:, :, 1].argmax(axis=1)]

    def _pose_wall(
        self,
        upper: np.ndarray,  # [K, 3]
        lower: np.ndarray,  # [K, 3]
        shown: np.ndarray,  # [K]
        centers: np.ndarray,  # [K * rows, 3]
        scales: np.ndarray,  # [K * rows, 3]
        opacities: np.ndarray,  # [K * rows]
    ) -> None:
        """Stretches the wall between the lips."""
        t = (np.arange(self.rows) + 0.5) / self.rows
        t = (t - 0.5) * (1 + 2 * _WALL_OVERLAP) + 0.5  # 0 at the upper lip, 1 at the lower
        between = upper[:, None] * (1 - t)[None, :, None] + lower[:, None] * t[None, :, None]  # [K, rows, 3]
        centers[:, :2] = between.reshape(-1, 3)[:, :2]
        centers[:, 2] = self.wall_depth
        height = np.maximum((upper[:, 1] - lower[:, 1]) / self.rows * _WALL_COVER, _WALL_THIN)
        scales[:, 1] = np.repeat(height, self.rows)
        opacities *= np.repeat(shown, self.rows).astype(np.float32)

    def _move_jaw(self, units: np.ndarray, centers: np.ndarray) -> None:
        """Swings lower teeth and tongue with the jaw, in place."""
        turn = Rotation.from_rotvec(self.jaw_share[:, None] * (units[_JAW_OPEN] * self.jaw_open))
        slide = units[list(_JAW_SLIDES)] @ self.jaw_slides
        centers[:] = self.jaw_pivot + turn.apply(centers - self.jaw_pivot) + self.jaw_share[:, None] * slide


_SETTINGS = ("first", "rows")
_ARRAYS = tuple(f.name for f in fields(MouthInterior) if f.name not in _SETTINGS)


def _smoothstep(x: np.ndarray, start: float, end: float) -> np.ndarray:
    t = np.clip((x - start) / (end - start), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
