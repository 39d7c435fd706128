"""Fits the blink to the mean head: MakeHuman's upper lid, made for a wider eye, would drop well below the lower one."""

from __future__ import annotations

import numpy as np

from emo_avatar.head.build.makehuman import MakeHuman
from emo_avatar.head.build.topology import HeadCut, boundary_loops

OVERLAP = 0.0020  # metres by which the closed upper lid passes the lower, so that wider eyes close too
CLEARANCE = 0.0007  # metres by which the closed lid stands off the eyeball
LEAST_SHARE = 0.5  # of the original blink, where the lids hardly part (at the corners)


def _margins(mh: MakeHuman, cut: HeadCut, side: int, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the upper and the lower edge of one eye's lids, each from right to left (by x)."""
    outside = np.unique(mh.quads[cut.outer])
    (loop,) = (b for b in boundary_loops(mh.quads[cut.eye_sockets[side]]) if np.isin(b, outside).all())
    x, y = mean[loop, 0], mean[loop, 1]
    right, left = x.argmin(), x.argmax()
    above = y > np.interp(x, x[[right, left]], y[[right, left]])
    corners = np.isin(np.arange(len(loop)), [right, left])
    return tuple(half[np.argsort(mean[half, 0])] for half in (loop[above | corners], loop[~above | corners]))


def fitted_blink(
    mh: MakeHuman,
    cut: HeadCut,
    side: int,  # 0 left, 1 right
    mean: np.ndarray,  # [N, 3] metres, the base mesh's vertices on the mean head
    blink: np.ndarray,  # [N, 3] metres
) -> np.ndarray:  # [N, 3]
    """The blink of one eye with its upper lid scaled, column by column, to meet the lower."""
    upper, lower = _margins(mh, cut, side, mean)
    closed = mean[lower] + blink[lower]
    overlap = OVERLAP * np.sqrt(np.sin(np.pi * np.linspace(0, 1, len(upper))))
    goal = np.interp(mean[upper, 0] + blink[upper, 0], closed[:, 0], closed[:, 1]) - overlap
    drop = -blink[upper, 1]
    share = np.divide(mean[upper, 1] - goal, drop, out=np.ones_like(drop), where=drop > OVERLAP)
    share = np.clip(share, LEAST_SHARE, 1)
    share = np.convolve(np.pad(share, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    slit = np.interp(mean[:, 0], mean[upper][[0, -1], 0], mean[upper][[0, -1], 1])
    above = mean[:, 1] > slit
    scale = np.where(above, np.interp(mean[:, 0], mean[upper, 0], share), 1.0)
    fitted = blink * scale[:, None]
    eye = mean[mh.vertex_group(f"helper-{'lr'[side]}-eye")].mean(0)
    away = mean - eye
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    size = np.linalg.norm(fitted, axis=1, keepdims=True)
    return fitted + CLEARANCE * (size / size.max()) * away
