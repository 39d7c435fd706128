"""Gaussian splatting in plain PyTorch, one formula after the other as in the papers; slow, differentiable, any dtype.

Conventions of gsplat 1.5 (``cuda/_torch_impl.py`` and the CUDA kernels' thresholds).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.render.camera import Camera

EPS2D = 0.3
NEAR = 0.01
MAX_ALPHA = 0.999
MIN_ALPHA = 1 / 255
MIN_TRANSMITTANCE = 1e-4
PIXELS_AT_ONCE = 1024


def rasterize_reference(
    gaussians: Gaussians,
    camera: Camera,
    background: Tensor,  # [3]
) -> tuple[Tensor, Tensor, Tensor]:
    """rgb [H, W, 3], alpha [H, W] and expected depth [H, W], in the dtype of the means."""
    dtype = gaussians.means.dtype
    drawn = drawable(gaussians, camera)
    means, quats, scales = gaussians.means[drawn], gaussians.quats[drawn], gaussians.scales[drawn]
    opacities, sh = gaussians.opacities[drawn], gaussians.sh[drawn]

    view = torch.as_tensor(camera.viewmat, dtype=dtype)
    K = torch.as_tensor(camera.K, dtype=dtype)
    means_camera = means @ view[:3, :3].T + view[:3, 3]  # [N, 3]
    depths = means_camera[:, 2]
    means2d = (means_camera @ K.T)[:, :2] / depths[:, None]  # [N, 2]
    covariances = projected_covariances(means_camera, quats, scales, view, K, camera)  # [N, 2, 2]
    colours = (spherical_harmonics(means, sh, view) + 0.5).clamp(min=0)  # [N, 3]

    front_to_back = torch.argsort(depths, stable=True)
    precisions = torch.linalg.inv(covariances)[front_to_back]
    means2d, opacities = means2d[front_to_back], opacities[front_to_back]
    features = torch.cat([colours, depths[:, None]], dim=1)[front_to_back]  # [N, 4]

    x, y = torch.meshgrid(torch.arange(camera.width), torch.arange(camera.height), indexing="xy")
    pixels = torch.stack([x, y], dim=-1).reshape(-1, 2).to(dtype) + 0.5
    rgb, alpha, depth = [], [], []
    for some in pixels.split(PIXELS_AT_ONCE):  # [P, 2]
        offsets = some[:, None] - means2d  # [P, N, 2]
        mahalanobis = ((offsets[:, :, None] @ precisions) @ offsets[..., None])[..., 0, 0]  # [P, N]
        alphas = (opacities * torch.exp(-0.5 * mahalanobis)).clamp(max=MAX_ALPHA)
        alphas = torch.where(alphas >= MIN_ALPHA, alphas, 0.0)
        behind = torch.cumprod(1 - alphas, dim=1)  # transmittance behind each Gaussian
        before = torch.cat([torch.ones_like(behind[:, :1]), behind], dim=1)[:, :-1]
        weights = torch.where(behind > MIN_TRANSMITTANCE, alphas * before, 0.0)
        opacity = weights.sum(dim=1)
        blended = weights @ features  # [P, 4]
        rgb.append(blended[:, :3] + (1 - opacity)[:, None] * background.to(dtype))
        alpha.append(opacity)
        depth.append(blended[:, 3] / opacity.clamp(min=1e-10))
    size = camera.height, camera.width
    return torch.cat(rgb).reshape(*size, 3), torch.cat(alpha).reshape(size), torch.cat(depth).reshape(size)


def drawable(gaussians: Gaussians, camera: Camera) -> Tensor:  # [N] bool
    """In front of the near plane, opaque enough to be seen, and finite."""
    parts = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities[:, None], gaussians.sh.flatten(1))
    finite = torch.isfinite(torch.cat([part.detach() for part in parts], dim=1)).all(dim=1)
    view = torch.as_tensor(camera.viewmat, dtype=gaussians.means.dtype)
    depths = gaussians.means.detach() @ view[2, :3] + view[2, 3]
    return finite & (depths >= NEAR) & (gaussians.opacities.detach() >= MIN_ALPHA)


def projected_covariances(
    means_camera: Tensor, quats: Tensor, scales: Tensor, view: Tensor, K: Tensor, camera: Camera
) -> Tensor:  # [N, 2, 2]
    axes = rotation_matrices(quats) * scales[:, None, :]
    covariances = view[:3, :3] @ axes @ axes.mT @ view[:3, :3].T
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    x, y, z = means_camera.unbind(dim=1)
    margin_x, margin_y = 0.15 * camera.width / fx, 0.15 * camera.height / fy
    x = z * (x / z).clamp(-cx / fx - margin_x, (camera.width - cx) / fx + margin_x)
    y = z * (y / z).clamp(-cy / fy - margin_y, (camera.height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [torch.stack([fx / z, zero, -fx * x / z**2], dim=1), torch.stack([zero, fy / z, -fy * y / z**2], dim=1)], dim=1
    )
    return jacobian @ covariances @ jacobian.mT + EPS2D * torch.eye(2, dtype=z.dtype)


def rotation_matrices(quats: Tensor) -> Tensor:  # [N, 4] wxyz -> [N, 3, 3]
    w, x, y, z = normalize(quats, dim=1).unbind(dim=1)
    entries = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in entries], dim=1)


def spherical_harmonics(means: Tensor, sh: Tensor, view: Tensor) -> Tensor:  # [N, 3]
    """The polynomials of Kerbl et al. 2023, written out."""
    position = -view[:3, :3].T @ view[:3, 3]
    x, y, z = normalize(means - position, dim=1).unbind(dim=1)
    basis = [
        torch.full_like(x, 0.28209479177387814),
        -0.4886025119029199 * y,
        0.4886025119029199 * z,
        -0.4886025119029199 * x,
        1.0925484305920792 * x * y,
        -1.0925484305920792 * y * z,
        0.31539156525252005 * (2 * z * z - x * x - y * y),
        -1.0925484305920792 * x * z,
        0.5462742152960396 * (x * x - y * y),
        -0.5900435899266435 * y * (3 * x * x - y * y),
        2.890611442640554 * x * y * z,
        -0.4570457994644658 * y * (4 * z * z - x * x - y * y),
        0.3731763325901154 * z * (2 * z * z - 3 * x * x - 3 * y * y),
        -0.4570457994644658 * x * (4 * z * z - x * x - y * y),
        1.445305721320277 * z * (x * x - y * y),
        -0.5900435899266435 * x * (x * x - 3 * y * y),
    ]
    return torch.einsum("kn,nkc->nc", torch.stack(basis[: sh.shape[1]]), sh)
