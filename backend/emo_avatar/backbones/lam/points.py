"""What the network answers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class PointGaussians:
    """What the network says of N points, for each of B pictures."""

    offset: Tensor  # [B, N, 3] metres from the point
    quats: Tensor  # [B, N, 4] wxyz, of unit length
    scales: Tensor  # [B, N, 3] metres
    opacities: Tensor  # [B, N]
    rgb: Tensor  # [B, N, 3] in [0, 1]
