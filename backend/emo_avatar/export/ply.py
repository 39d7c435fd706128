"""Gaussian splats as PLY, in the layout of the INRIA reference implementation (Kerbl et al. 2023) that viewers read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from plyfile import PlyData, PlyElement

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.export.folders import FRAME_PATTERN, whole_folder
from emo_avatar.export.pictures import Progress
from emo_avatar.files import whole_file

OPACITY_MARGIN = 1e-6  # keeps the logit of 0 and of 1 finite
SMALLEST_SCALE = 1e-12  # metres; keeps the logarithm of a collapsed axis finite


def write_ply(path: Path | str, gaussians: Gaussians) -> None:
    """Write one frame: world space, opacity as logit, scale as natural logarithm, unit quaternions wxyz."""
    with whole_file(path) as temporary:
        _element(gaussians).write(temporary)


def write_ply_sequence(folder: Path | str, frames: Iterable[Gaussians], total: int, progress: Progress) -> None:
    """Write ``00001.ply``, ``00002.ply``, ... into a folder, in place of such files there; all of them or none."""
    with whole_folder(folder, FRAME_PATTERN + ".ply") as temporary:
        for number, gaussians in enumerate(frames, 1):
            _element(gaussians).write(temporary / f"{number:05d}.ply")
            progress(number / total, f"frame {number} of {total}")


def _element(gaussians: Gaussians) -> PlyData:
    g = gaussians.to("cpu")
    n, k = len(g), g.sh.shape[1]
    opacity = torch.logit(g.opacities, eps=OPACITY_MARGIN)
    rest = g.sh[:, 1:].transpose(1, 2).reshape(n, 3 * (k - 1))  # all coefficients of red, then of green, then of blue
    columns = torch.cat(
        [
            g.means,
            torch.zeros(n, 3),  # normals, which the layout has and nobody fills
            g.sh[:, 0],
            rest,
            opacity[:, None],
            g.scales.clamp_min(SMALLEST_SCALE).log(),
            torch.nn.functional.normalize(g.quats, dim=1),
        ],
        dim=1,
    )
    names = [
        *("x", "y", "z", "nx", "ny", "nz"),
        *(f"f_dc_{i}" for i in range(3)),
        *(f"f_rest_{i}" for i in range(3 * (k - 1))),
        "opacity",
        *(f"scale_{i}" for i in range(3)),
        *(f"rot_{i}" for i in range(4)),
    ]
    table = np.ascontiguousarray(columns.numpy()).view([(name, "<f4") for name in names])[:, 0]
    return PlyData([PlyElement.describe(table, "vertex")], byte_order="<")
