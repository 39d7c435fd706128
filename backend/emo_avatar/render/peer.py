"""The same image by PyTorch operations alone: what the benchmark measures the rasteriser against.

The formulas are those of gsplat's own PyTorch path (``cuda/_torch_impl.py``), whose last step needs CUDA; here it is
a dense product for each of gsplat's tiles of 16 x 16 pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from emo_avatar.avatar.gaussians import SH_C0, Gaussians
from emo_avatar.render.camera import Camera
from emo_avatar.render.splat.compositing import MAX_ALPHA, MIN_TRANSMITTANCE
from emo_avatar.render.splat.footprint import LOW_PASS, MARGIN
from emo_avatar.render.splat.harmonics import sh_basis
from emo_avatar.render.splat.layout import MIN_ALPHA
from emo_avatar.render.splat.projection import NEAR

TILE = 16  # pixels


def rasterize_with_torch(gaussians: Gaussians, camera: Camera, background: Tensor) -> Tensor:  # [3] -> [H, W, 3]
    """The colours of ``rasterize``, differentiable; every Gaussian must be finite."""
    view, K = torch.from_numpy(camera.viewmat), torch.from_numpy(camera.K)
    means = gaussians.means @ view[:3, :3].T + view[:3, 3]
    centres = (means @ K.T)[:, :2] / means[:, 2:]
    variance_x, covariance, variance_y = _covariances(gaussians, means, view, K, camera)
    determinant = variance_x * variance_y - covariance**2
    conics = torch.stack([variance_y, -covariance, variance_x], dim=1) / determinant[:, None]
    colours = _colours(gaussians, camera)
    with torch.no_grad():
        tiles = -(-torch.tensor([camera.width, camera.height]) // TILE)
        across, down = tiles.tolist()
        reach = torch.sqrt(2 * torch.log(gaussians.opacities / MIN_ALPHA).clamp(min=0))
        radii = reach[:, None] * torch.stack([variance_x, variance_y], dim=1).sqrt()
        drawn = (means[:, 2] >= NEAR) & (gaussians.opacities >= MIN_ALPHA)
        lists = _tile_lists(centres, radii, means[:, 2], drawn, tiles)
    grid = torch.arange(TILE) + 0.5
    pixels = torch.stack(torch.meshgrid(grid, grid, indexing="xy"), dim=-1).reshape(-1, 2)
    blended = []
    for tile, members in enumerate(lists):
        corner = TILE * torch.tensor([tile % across, tile // across])
        centre, conic, opacity, colour = (a[members] for a in (centres, conics, gaussians.opacities, colours))
        blended.append(_blend(pixels + corner, centre, conic, opacity, colour, background))
    image = torch.stack(blended).reshape(down, across, TILE, TILE, 3).transpose(1, 2)
    return image.reshape(down * TILE, across * TILE, 3)[: camera.height, : camera.width]


def _blend(
    pixels: Tensor,  # [P, 2]
    centres: Tensor,  # [n, 2] front to back
    conics: Tensor,  # [n, 3]
    opacities: Tensor,  # [n]
    colours: Tensor,  # [n, 3]
    background: Tensor,  # [3]
) -> Tensor:  # [P, 3]
    dx, dy = (pixels[:, None] - centres).unbind(dim=-1)  # [P, n]
    a, b, c = conics.unbind(dim=1)
    alphas = opacities * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
    alphas = torch.where(alphas >= MIN_ALPHA, alphas.clamp(max=MAX_ALPHA), 0.0)
    behind = torch.cumprod(1 - alphas, dim=1)
    before = torch.cat([torch.ones(len(pixels), 1), behind], dim=1)[:, :-1]
    weights = torch.where(behind > MIN_TRANSMITTANCE, alphas * before, 0.0)
    return weights @ colours + (1 - weights.sum(dim=1, keepdim=True)) * background


def _tile_lists(
    centres: Tensor,  # [N, 2]
    radii: Tensor,  # [N, 2]
    depths: Tensor,  # [N]
    drawn: Tensor,  # [N] bool
    tiles: Tensor,  # [2] across, down
) -> tuple[Tensor, ...]:
    """The Gaussians that touch each tile, front to back."""
    zero = torch.zeros(2, dtype=torch.long)
    first = ((centres - radii) / TILE).floor().long().clamp(min=zero, max=tiles)
    last = ((centres + radii) / TILE).floor().long().clamp(min=zero - 1, max=tiles - 1)
    order = torch.argsort(depths, stable=True)
    spans = ((last - first + 1).clamp(min=0) * drawn[:, None])[order]
    counts = spans.prod(dim=1)
    owners = torch.repeat_interleave(counts)  # [M] of every pair of Gaussian and tile
    place = torch.arange(len(owners)) - (counts.cumsum(0) - counts)[owners]
    column, row = place % spans[owners, 0], place // spans[owners, 0]
    numbers = (first[order][owners, 1] + row) * tiles[0] + first[order][owners, 0] + column
    by_tile = torch.argsort(numbers, stable=True)
    return order[owners[by_tile]].split(torch.bincount(numbers, minlength=int(tiles.prod())).tolist())


def _covariances(
    gaussians: Gaussians, means: Tensor, view: Tensor, K: Tensor, camera: Camera
) -> tuple[Tensor, Tensor, Tensor]:
    """Variance along x, covariance, variance along y, each [N] in px^2."""
    w, x, y, z = normalize(gaussians.quats, dim=1).unbind(dim=1)
    columns = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], dim=1),
        torch.stack([2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)], dim=1),
        torch.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], dim=1),
    ]
    axes = view[:3, :3] @ (torch.stack(columns, dim=2) * gaussians.scales[:, None])
    x, y, z = means.unbind(dim=1)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    margin_x, margin_y = MARGIN * camera.width, MARGIN * camera.height
    slope_x = (x / z).clamp(-(cx + margin_x) / fx, (camera.width - cx + margin_x) / fx)
    slope_y = (y / z).clamp(-(cy + margin_y) / fy, (camera.height - cy + margin_y) / fy)
    u = (fx / z)[:, None] * (axes[:, 0] - slope_x[:, None] * axes[:, 2])
    v = (fy / z)[:, None] * (axes[:, 1] - slope_y[:, None] * axes[:, 2])
    return (u * u).sum(dim=1) + LOW_PASS, (u * v).sum(dim=1), (v * v).sum(dim=1) + LOW_PASS


def _colours(gaussians: Gaussians, camera: Camera) -> Tensor:  # [N, 3]
    directions = normalize(gaussians.means - torch.from_numpy(camera.position), dim=1)
    basis = [torch.full_like(directions[:, 0], SH_C0), *sh_basis(directions.unbind(dim=1), gaussians.sh.shape[1])]
    return (torch.einsum("kn,nkc->nc", torch.stack(basis), gaussians.sh) + 0.5).clamp(min=0)
