"""The one representation that every renderer, exporter and rig of the project exchanges."""

from __future__ import annotations

from dataclasses import dataclass

import torch

SH_C0 = 0.28209479177387814  # zeroth real spherical harmonic, 1 / (2 sqrt(pi))


@dataclass(frozen=True)
class Gaussians:
    """A set of N anisotropic 3D Gaussians in world space (metres), float32 tensors on one device.

    Colours follow gsplat: ``rgb = max(0, sum_k sh_k Y_k(direction) + 0.5)`` in display sRGB, so a
    constant colour ``c`` is ``sh[:, 0] = (c - 0.5) / SH_C0``.
    """

    means: torch.Tensor  # [N, 3] metres
    quats: torch.Tensor  # [N, 4] wxyz, need not be normalised
    scales: torch.Tensor  # [N, 3] standard deviations, metres
    opacities: torch.Tensor  # [N] in [0, 1]
    sh: torch.Tensor  # [N, K, 3], K in {1, 4, 9, 16}

    def __post_init__(self) -> None:
        n = self.means.shape[0]
        expected = {"means": (n, 3), "quats": (n, 4), "scales": (n, 3), "opacities": (n,)}
        for name, shape in expected.items():
            actual = tuple(getattr(self, name).shape)
            if actual != shape:
                raise ValueError(f"Gaussians.{name} must have shape {shape}, not {actual}.")
        if self.sh.ndim != 3 or self.sh.shape[0] != n or self.sh.shape[1] not in (1, 4, 9, 16) or self.sh.shape[2] != 3:
            raise ValueError(f"Gaussians.sh must have shape ({n}, 1|4|9|16, 3), not {tuple(self.sh.shape)}.")

    def __len__(self) -> int:
        return self.means.shape[0]

    @property
    def sh_degree(self) -> int:
        return {1: 0, 4: 1, 9: 2, 16: 3}[self.sh.shape[1]]

    @property
    def device(self) -> torch.device:
        return self.means.device

    def to(self, device: torch.device | str) -> Gaussians:
        return Gaussians(
            self.means.to(device),
            self.quats.to(device),
            self.scales.to(device),
            self.opacities.to(device),
            self.sh.to(device),
        )


def sh_from_rgb(rgb: torch.Tensor) -> torch.Tensor:  # [N, 3] -> [N, 1, 3]
    """Degree-0 coefficients that show the display colour ``rgb`` from every direction."""
    return ((rgb - 0.5) / SH_C0)[:, None, :]
