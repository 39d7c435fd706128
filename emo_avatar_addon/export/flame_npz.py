"""The FLAME motion npz of VHAP and GaussianAvatars; `docs/formats.md` says what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

N_SHAPE = 300


def write_flame_npz(
    path: Path,
    poses: Mapping[
        str, np.ndarray
    ],  # expression [T, 100]; rotation, neck_pose, jaw_pose, translation [T, 3]; eyes_pose
    *,
    fps: float,
    identity: np.ndarray,  # [n] the first components of the head's identity basis
    head: str = "open",  # whose bases the numbers refer to; every avatar's is the open head's
) -> None:
    shape = np.zeros(N_SHAPE, np.float32)
    shape[: len(identity)] = identity
    fields: dict[str, Any] = {
        "expr" if name == "expression" else name: np.asarray(x, np.float32) for name, x in poses.items()
    }
    with path.open("wb") as stream:
        np.savez(stream, **fields, shape=shape, fps=np.float64(fps), head=np.array(head))
