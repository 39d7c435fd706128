"""The studio's scene as dense splats, for a GPU: a lit Gaussian for every texel of the head and every bit of hair.

The same look, light and blood as `studio.shoot`, shaded in PyTorch and drawn by the project's rasteriser, which is
gsplat where there is CUDA. What differs: occlusion is the resting head's instead of the picture's own, and eyes have no
refracting cornea.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emo_avatar.avatar.binding import quat_from_matrix
from emo_avatar.avatar.gaussians import Gaussians, sh_from_rgb
from emo_avatar.data.canvas import atlas_texels
from emo_avatar.data.complexion import blood_change, wetness
from emo_avatar.data.studio import Setting, Shot
from emo_avatar.data.subjects import Subject
from emo_avatar.head.build.occlusion import ambient_occlusion
from emo_avatar.head.data import JOINTS, open_head
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.render.camera import Camera
from emo_avatar.render.cards import Cards, lit_share, strand_light
from emo_avatar.render.light_kernels import (
    CREVICE,
    FILM,
    FILM_SHARE,
    FOLD_DEPTH,
    FOLD_SHADE,
    KNEE,
    MATERIAL,
    MOUTH_DEPTH,
    MOUTH_FALL,
    RELIEF,
    STEEPEST,
    bilinear,
)
from emo_avatar.render.lighting import Light, ViewAxes, shadow_camera
from emo_avatar.render.rasterize import rasterize
from emo_avatar.render.shading import SUPERSAMPLING, look_of, open_head_wrinkles, supersampled
from emo_avatar.render.strain import strain

TEXELS = 640  # of the atlas' side; half a millimetre on the face
SPREAD = 0.50  # standard deviation of a texel's Gaussian, in texels
THICKNESS = 1e-4  # metres
CARD_SPLITS = 3  # each triangle of hair is drawn as the square of this many Gaussians
SHADOW_SIZE, SHADOW_BIAS = 320, 0.007  # pixels, metres
EYE = (0.25, 0.16, 0.12, 0.10, 0.030)  # material: wraps, roughness, reflectance of the tear film


@dataclass(frozen=True, eq=False)
class _Texels:
    """M texels of the head's atlas; what is the same for everybody."""

    pixel: Tensor  # [M] int64 into the flattened atlas
    face: Tensor  # [M] int64
    corners: Tensor  # [M, 3] int64 vertices
    weights: Tensor  # [M, 3] barycentric
    uv: np.ndarray  # [M, 2]
    inverse: Tensor  # [F, 2, 2] from a triangle's edges to the steps of one texel
    wrinkles: Tensor  # [M, 3]
    material: Tensor  # [M, 5]
    open_sky: Tensor  # [M] of the resting head
    is_skin: Tensor  # [M] bool
    is_eye: Tensor  # [M] bool


@functools.lru_cache(maxsize=2)
def _texels(device: torch.device, size: int) -> _Texels:
    head, look = open_head(), look_of(open_head(), rounded=False)
    face, barycentric = (array.reshape(size * size, -1) for array in atlas_texels(head, size))
    part = np.where(face[:, 0] >= 0, head.face_part[face[:, 0]], -1)
    pixel = np.flatnonzero((part >= 0) & (part != head.part_names.index("lashes")))
    face, weights, part = face[pixel, 0], barycentric[pixel], part[pixel]
    corners = head.faces[face]

    def at(values: np.ndarray) -> np.ndarray:  # [V, ...] -> [M, ...]
        return np.einsum("mk,mk...->m...", weights, values[corners].astype(np.float32))

    uv = np.einsum("mk,mkc->mc", weights, head.uv[head.uv_faces[face]])
    edges = head.uv[head.uv_faces[:, 1:]] - head.uv[head.uv_faces[:, :1]]  # [F, 2, 2] rows: edges
    singular = np.abs(np.linalg.det(edges)) < 1e-12
    edges[singular] = np.eye(2)
    inverse = np.linalg.inv(edges) / size  # rows: one texel along u and along v, in edges
    inverse[singular] = 0
    material = at(look.attributes[:, MATERIAL : MATERIAL + 5])
    is_eye = np.isin(part, [head.part_names.index(name) for name in ("eye_left", "eye_right")])
    material[is_eye] = EYE
    open_sky = np.clip(1.25 * at(ambient_occlusion(head.v_template, head.faces)), 0, 1)
    open_sky *= np.exp(-at(look.attributes[:, MOUTH_DEPTH]) / MOUTH_FALL)
    open_sky[is_eye] = 0.75  # half under the lids

    def on(values: np.ndarray, kind: torch.dtype = torch.float32) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), dtype=kind, device=device)

    return _Texels(
        on(pixel, torch.int64),
        on(face, torch.int64),
        on(corners, torch.int64),
        on(weights),
        uv.astype(np.float32),
        on(inverse),
        on(bilinear(open_head_wrinkles(), uv.astype(np.float32))),
        on(material),
        on(open_sky),
        on(part == head.part_names.index("skin"), torch.bool),
        on(is_eye, torch.bool),
    )


@functools.lru_cache(maxsize=8)
def _albedo(subject: Subject, device: torch.device, size: int) -> Tensor:  # [M, 3] linear light
    return torch.as_tensor(bilinear(subject.look.albedo, _texels(device, size).uv), device=device)


@torch.no_grad()
def dense_scene(
    subject: Subject,
    frame: FlameSequence,
    weights: np.ndarray,
    setting: Setting,
    device: torch.device | str = "cuda",
    size: int = TEXELS,
) -> Gaussians:
    """What `studio.shoot` photographs, as Gaussians in the colours that this camera sees (display sRGB)."""
    device = torch.device(device)
    grid, camera, look, head = _texels(device, size), setting.camera, subject.look, subject.head
    (posed,), (joints,) = subject.posed(frame)
    shortened, growth = strain(head.v_template, posed, head.faces)
    per_vertex = np.concatenate([look.folds.depth(shortened), blood_change(look.vessels, weights, growth)], 1)
    vertices = torch.as_tensor(posed, dtype=torch.float32, device=device)
    fields = torch.as_tensor(per_vertex, dtype=torch.float32, device=device)
    seen = (grid.weights[:, :, None] * fields[grid.corners]).sum(1)  # [M, 6]
    albedo = _albedo(subject, device, size) * torch.exp(-seen[:, 3:])
    fold = (seen[:, :3] * grid.wrinkles).amax(1)

    points = (grid.weights[:, :, None] * vertices[grid.corners]).sum(1)
    steps = _steps(grid, vertices)  # [M, 2, 3] metres
    right = torch.nn.functional.normalize(steps[:, 0], dim=1, eps=1e-9)
    up = steps[:, 1] - (steps[:, 1] * right).sum(1, keepdim=True) * right
    tall = up.norm(dim=1, keepdim=True).clamp(min=1e-9)
    up = up / tall
    wide = steps[:, 0].norm(dim=1, keepdim=True).clamp(min=1e-9)
    smooth = _normals(vertices, torch.as_tensor(head.faces.astype(np.int64), device=device))
    normal = torch.nn.functional.normalize((grid.weights[:, :, None] * smooth[grid.corners]).sum(1), dim=1)
    shaded = _in_relief(grid, normal, right / wide, up / tall, albedo, fold, size)

    lamp = shadow_camera(posed.astype(np.float64), ViewAxes.of(camera).direction(setting.light.key), SHADOW_SIZE)
    frame_axes = torch.stack([right, up, torch.linalg.cross(right, up)], -1)
    scales = torch.cat([SPREAD * wide, SPREAD * tall, torch.full_like(wide, THICKNESS)], 1)
    opaque = torch.ones(len(points), device=device)
    colourless = torch.zeros(len(points), 1, 3, device=device)
    body = Gaussians(points, quat_from_matrix(frame_axes), scales, opaque, colourless)
    worn = [hair.posed(head.v_template, posed, joints[JOINTS.index("neck")]) for hair in subject.hair]
    clothes = subject.clothes.moved(joints[JOINTS.index("global")])
    cards = [(clothes, np.array(look.clothes.colour, np.float32), 0.0)]
    cards += [(hair, look.hair_colour.rgb, look.hair_shine) for hair in worn]
    flat = [_card_gaussians(part, np.zeros((len(part.vertices), 6), np.float32), device) for part, *_ in cards]
    seen_by_lamp = rasterize(_joined([body, *flat]), lamp)
    shadow = torch.where(seen_by_lamp.alpha > 0.5, seen_by_lamp.depth, torch.inf)

    share = _lit(points, shadow, lamp)
    open_sky = grid.open_sky * (1 - FOLD_SHADE * fold).clamp(min=0.1)
    shine = torch.where(grid.is_eye, wetness(look.vessels, weights), float(look.shine.mean()))
    light = _reflect(albedo, grid.material, shine, shaded, points, open_sky, share, setting.light, camera)
    parts = [Gaussians(points, body.quats, scales, opaque, sh_from_rgb(_display(light)))]
    depth = shadow.cpu().numpy()
    for part, colour, gloss in cards:
        off = strand_light(part, camera, setting.light, colour, lit_share(part, lamp, depth), gloss)
        parts.append(_card_gaussians(part, off, device))
    return _joined(parts)


@torch.no_grad()
def shoot_dense(
    subject: Subject,
    frame: FlameSequence,
    weights: np.ndarray,
    setting: Setting,
    device: torch.device | str = "cuda",
    size: int = TEXELS,
) -> Shot:
    """`studio.shoot` by splats, on a GPU where ``device`` is one."""
    # Samples are averaged to pixels, since the rasteriser widens every Gaussian by half of what it draws on.
    large = rasterize(dense_scene(subject, frame, weights, setting, device, size), supersampled(setting.camera))
    render = torch.cat([large.rgb, large.alpha[..., None]], -1).unflatten(1, (-1, SUPERSAMPLING))
    render = render.unflatten(0, (-1, SUPERSAMPLING)).mean((1, 3))
    alpha = render[..., 3].clamp(0, 1)
    behind = torch.as_tensor(setting.background, device=alpha.device)
    rgb = (render[..., :3] + (1 - alpha[..., None]) * behind).clamp(0, 1)
    vertices = subject.vertices(frame)[0]
    return Shot(rgb.cpu().numpy(), alpha.cpu().numpy(), setting, frame, np.asarray(weights, np.float32), vertices)


def _steps(grid: _Texels, vertices: Tensor) -> Tensor:  # [V, 3] -> [M, 2, 3]
    """How far one texel along u and along v goes in space."""
    faces = torch.as_tensor(open_head().faces.astype(np.int64), device=vertices.device)
    edges = vertices[faces[:, 1:]] - vertices[faces[:, :1]]  # [F, 2, 3]
    return (grid.inverse @ edges)[grid.face]


def _normals(vertices: Tensor, faces: Tensor) -> Tensor:  # [V, 3], [F, 3] -> [V, 3] unit
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    areas = torch.linalg.cross(b - a, c - a).repeat_interleave(3, 0)
    total = torch.zeros_like(vertices).index_add_(0, faces.reshape(-1), areas)
    return torch.nn.functional.normalize(total, dim=1, eps=1e-12)


def _in_relief(
    grid: _Texels, normal: Tensor, right: Tensor, up: Tensor, albedo: Tensor, fold: Tensor, size: int
) -> Tensor:  # [M, 3]; `right`, `up` [M, 3] a texel's directions over its metres
    """Normals tilted by folds and by the relief of the texture; beside other parts the relief ends."""
    height = torch.full((size * size,), torch.nan, device=normal.device)
    raised = RELIEF * albedo[:, 1].sqrt() - FOLD_DEPTH * fold
    height[grid.pixel] = torch.where(grid.is_skin, raised, torch.nan)
    x, y = grid.pixel % size, grid.pixel // size

    def slope(dx: int, dy: int) -> Tensor:
        ahead, behind = (
            height[(y + s * dy).clamp(0, size - 1) * size + (x + s * dx).clamp(0, size - 1)] for s in (1, -1)
        )
        return torch.nan_to_num(0.5 * (ahead - behind))

    across, upward = slope(1, 0)[:, None] * right, slope(0, -1)[:, None] * up
    tilt = across + upward
    steepness = tilt.norm(dim=1, keepdim=True).clamp(min=1e-9)
    return torch.nn.functional.normalize(normal - tilt * (STEEPEST / steepness).clamp(max=1.0), dim=1)


def _lit(points: Tensor, shadow: Tensor, lamp: Camera) -> Tensor:  # [M]
    """Share of the key light, softly."""
    view, k = (torch.as_tensor(m, device=points.device) for m in (lamp.viewmat, lamp.K))
    local = points @ view[:3, :3].T + view[:3, 3]
    u, v = ((k[i, i] * local[:, i] / local[:, 2] + k[i, 2]) for i in range(2))
    share = torch.zeros_like(u)
    taps = ((0, 0), (1.5, 0.5), (-1.5, -0.5), (0.5, -1.5), (-0.5, 1.5))
    for dx, dy in taps:
        column, row = (u + dx).long().clamp(0, lamp.width - 1), (v + dy).long().clamp(0, lamp.height - 1)
        share += (shadow[row, column] > local[:, 2] - SHADOW_BIAS).float() / len(taps)
    return share


def _reflect(
    albedo: Tensor, material: Tensor, shine: Tensor, normal: Tensor, points: Tensor, open_sky: Tensor, share: Tensor,
    light: Light, camera: Camera,
) -> Tensor:  # fmt: skip
    """Linear light ``[M, 3]`` to the camera, by the formulas of `light_kernels`."""
    device = points.device
    axes = ViewAxes.of(camera)

    def on(values: np.ndarray) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=torch.float32, device=device)

    outward = torch.nn.functional.normalize(on(camera.position) - points, dim=1)
    normal = normal * torch.where((normal * outward).sum(1, keepdim=True) < 0, -1.0, 1.0)
    facing = (normal * outward).sum(1).clamp(min=0.05)
    hidden = open_sky.clamp(min=1e-6)[:, None] ** (0.5 * on(np.array(CREVICE)))
    x, y, z = (normal @ on(axis) for axis in (axes.right, axes.up, axes.towards))
    terms = torch.stack([torch.ones_like(x), x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], 1)
    out = albedo * (terms @ on(light.ambient)).clamp(min=0) * hidden * hidden
    wrap, roughness, reflectance = material[:, :3], material[:, 3], material[:, 4] * shine
    for number, lamp in enumerate(light.lamps):
        towards, colour = on(axes.direction(lamp)), on(np.array(lamp.colour))
        cosine = normal @ towards
        half = torch.nn.functional.normalize(outward + towards, dim=1)
        n_dot_h, o_dot_h = (normal * half).sum(1).clamp(min=0), (outward * half).sum(1).clamp(0, 1)
        fresnel = reflectance + (1 - reflectance) * (1 - o_dot_h) ** 5
        lobes = (1 - FILM_SHARE) * _trowbridge_reitz(n_dot_h, roughness)
        lobes = lobes + FILM_SHARE * _trowbridge_reitz(n_dot_h, FILM * roughness)
        mirrored = lobes * fresnel * cosine.clamp(min=0) / (4 * facing * cosine.clamp(min=0.2)) * open_sky
        spread = ((cosine[:, None] + wrap) / (1 + wrap)).clamp(min=1e-6) ** (1 + wrap) * hidden
        if number == 0:
            mirrored = mirrored * share
            spread = spread * share.clamp(min=1e-6)[:, None] ** (1 / (1 + 1.5 * wrap))
        out = out + (albedo * spread + mirrored[:, None]) * colour
    return out


def _trowbridge_reitz(n_dot_h: Tensor, roughness: Tensor) -> Tensor:
    a = roughness * roughness
    return a * a / (torch.pi * (n_dot_h * n_dot_h * (a * a - 1) + 1) ** 2)


def _display(light: Tensor) -> Tensor:
    """`light_kernels.display` in PyTorch."""
    value = light.clamp(min=0)
    over = (value - KNEE).clamp(min=0)
    value = value.clamp(max=KNEE) + (1 - KNEE) * (1 - torch.exp(-over / (1 - KNEE)))
    return torch.where(value <= 0.0031308, 12.92 * value, 1.055 * value.clamp(min=1e-6) ** (1 / 2.4) - 0.055)


def _card_gaussians(cards: Cards, light: np.ndarray, device: torch.device) -> Gaussians:  # [V, 6]
    """Every triangle of hair as small discs in the colours of its texture."""
    weights = _splits()
    corners = cards.vertices[cards.faces]  # [F, 3, 3]
    points = np.einsum("kb,fbc->fkc", weights, corners).reshape(-1, 3)
    uv = np.einsum("kb,fbc->fkc", weights, cards.uv[cards.uv_faces]).reshape(-1, 2) % 1.0
    lit = np.einsum("kb,fbc->fkc", weights, light[cards.faces]).reshape(-1, 6)
    tone, opacity = bilinear(cards.texture, uv.astype(np.float32)).T
    kept = opacity > 0.05
    colour = tone[:, None] * (lit[:, :3] + tone[:, None] * lit[:, 3:])
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    wide = np.linalg.norm(e1, axis=1, keepdims=True)
    right = e1 / np.maximum(wide, 1e-9)
    up = e2 - (e2 * right).sum(1, keepdims=True) * right
    tall = np.linalg.norm(up, axis=1, keepdims=True)
    up = up / np.maximum(tall, 1e-9)
    frames = np.stack([right, up, np.cross(right, up)], -1)
    size = np.concatenate([wide, tall], 1) * (SPREAD / CARD_SPLITS)
    count = len(weights)

    def on(values: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32, device=device)

    scales = np.concatenate([np.repeat(size, count, 0)[kept], np.full((kept.sum(), 1), THICKNESS)], 1)
    quats = quat_from_matrix(on(frames)).repeat_interleave(count, 0)[torch.as_tensor(kept, device=device)]
    return Gaussians(on(points[kept]), quats, on(scales), on(opacity[kept]), sh_from_rgb(_display(on(colour[kept]))))


@functools.cache
def _splits() -> np.ndarray:  # [CARD_SPLITS^2, 3] barycentric centres of equal parts of a triangle
    n, centres = CARD_SPLITS, []
    for i in range(n):
        for j in range(n - i):
            centres.append((i + 1 / 3, j + 1 / 3))
            if j < n - i - 1:
                centres.append((i + 2 / 3, j + 2 / 3))
    b = np.array(centres) / n
    return np.c_[1 - b.sum(1), b]


def _joined(parts: list[Gaussians]) -> Gaussians:
    names = ("means", "quats", "scales", "opacities", "sh")
    return Gaussians(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
