"""Pictures of posed avatars in one camera: the viewport's and F12's splats."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.motion.flame_sequence import FRAME_FIELDS, FlameSequence
from emo_avatar.render.camera import Camera
from emo_avatar.render.rasterize import rasterize
from emo_avatar.render.splat.compiled import kernel
from emo_avatar.render.splat.harmonics import SH_C0, sh_basis
from emo_avatar.server.arrays import Message, malformed, pack
from emo_avatar.server.avatars import Avatars, HeldAvatar
from emo_avatar.server.performing import emotions_of
from emo_avatar.server.refusals import Refusal

MAX_PIXELS = 4096 * 4096
MAX_AVATARS = 64
EVEN = 1e-3  # how far the axes of a world matrix may be from equally long and at right angles
KEPT_POSES = 8  # while the view orbits, the pose stays


@dataclass(frozen=True)
class Similarity:
    """``x -> scale * rotation @ x + translation``."""

    scale: float
    rotation: np.ndarray  # [3, 3]
    translation: np.ndarray  # [3] metres

    @classmethod
    def of(cls, matrix: np.ndarray, what: str) -> Similarity:  # [4, 4]
        """Raises `Refusal` (``bad_input``) when the matrix also stretches, shears or mirrors."""
        linear = matrix[:3, :3].astype(float)
        volume = np.linalg.det(linear)
        scale = float(np.cbrt(volume)) if volume > 0 else 0.0
        if not 1e-6 < scale < 1e6 or not np.array_equal(matrix[3], (0, 0, 0, 1)):
            raise Refusal("bad_input", f"{what} is mirrored or has no size: give it a scale above 0.")
        rotation = linear / scale
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > EVEN:
            raise Refusal("bad_input", f"{what} is stretched: give it the same scale along all axes.")
        return cls(scale, rotation, matrix[:3, 3].astype(float))

    def after(self, other: Similarity) -> Similarity:
        """First ``other``, then this."""
        rotation = self.rotation @ other.rotation
        shift = self.scale * self.rotation @ other.translation + self.translation
        return Similarity(self.scale * other.scale, rotation, shift)

    def inverse(self) -> Similarity:
        rotation = self.rotation.T
        return Similarity(1 / self.scale, rotation, -(rotation @ self.translation) / self.scale)


def camera_of(
    viewmat: np.ndarray,  # [4, 4], a similarity
    K: np.ndarray,  # [3, 3]
    width: int,
    height: int,
) -> tuple[Camera, float]:
    """The camera, and by what its depths must be multiplied: it measures in the units of the space that it looks at."""
    view = Similarity.of(viewmat, "The camera")
    if not (K[0, 0] > 0 and K[1, 1] > 0 and np.array_equal(K[2], (0, 0, 1)) and K[1, 0] == 0):
        raise malformed("K must be the matrix of a pinhole camera, in pixels")
    rigid = np.eye(4, dtype=np.float32)
    rigid[:3, :3], rigid[:3, 3] = view.rotation, view.translation / view.scale
    return Camera(rigid, K, width, height), view.scale


def render(message: Message, avatars: Avatars) -> bytes:
    """The answer to a *view*."""
    width, height = message.integer("width", 1, MAX_PIXELS), message.integer("height", 1, MAX_PIXELS)
    if width * height > MAX_PIXELS:
        raise malformed("A picture may have 4096 x 4096 pixels at most")
    kind = message.choice("format", ("float32", "uint8"), "float32")
    wants_depth = message.flag("depth", True)
    viewmat, K = message.floats("viewmat", (4, 4)), message.floats("K", (3, 3))
    held = [avatars.get(avatar_id) for avatar_id in message.texts("avatars", MAX_AVATARS)]
    poses = [_pose(message, number) for number in range(len(held))]
    worlds = [
        Similarity.of(message.floats(f"{number}.world", (4, 4)), person.avatar.name or "The avatar")
        for number, person in enumerate(held)
    ]
    posed = [_posed(person, pose) for person, pose in zip(held, poses, strict=True)]
    if not posed:
        nothing = np.zeros((height, width), np.float32)
        rgb = np.zeros((height, width, 3), np.float32)
        return pack(_answer(rgb, nothing, kind, nothing if wants_depth else None), {})

    # Everything is brought into the space of the first avatar, where most often nothing else is.
    base = worlds[0]
    view = Similarity.of(viewmat, "The camera").after(base)
    camera, unit = camera_of(_matrix(view), K, width, height)
    scene = posed[0]
    if len(posed) > 1:
        moved = [
            transformed(gaussians, base.inverse().after(world))
            for gaussians, world in zip(posed[1:], worlds[1:], strict=True)
        ]
        scene = merged([scene, *moved])
    with torch.inference_mode():
        image = rasterize(scene, camera)
    rgb, alpha = image.rgb.cpu().numpy(), image.alpha.cpu().numpy()
    depth = image.depth.cpu().numpy() * np.float32(unit) if wants_depth else None
    return pack(_answer(rgb, alpha, kind, depth), {})


def _answer(rgb: np.ndarray, alpha: np.ndarray, kind: str, depth: np.ndarray | None) -> dict[str, np.ndarray]:
    if kind == "uint8":
        rgba = np.empty((*alpha.shape, 4), np.uint8)
        to_bytes(np.ascontiguousarray(rgb), np.ascontiguousarray(alpha), rgba)
    else:
        rgba = np.concatenate([rgb, alpha[..., None]], axis=2)
    return {"rgba": rgba} | ({} if depth is None else {"depth": depth})


@kernel
def to_bytes(rgb: np.ndarray, alpha: np.ndarray, rgba: np.ndarray) -> None:  # [H, W, 3], [H, W] -> [H, W, 4] uint8
    height, width = alpha.shape
    for y in range(height):
        for x in range(width):
            for c in range(3):
                rgba[y, x, c] = np.uint8(min(max(rgb[y, x, c], np.float32(0)), np.float32(1)) * np.float32(255) + 0.5)
            rgba[y, x, 3] = np.uint8(min(max(alpha[y, x], np.float32(0)), np.float32(1)) * np.float32(255) + 0.5)


def _pose(message: Message, number: int) -> FlameSequence:
    frame = {name: message.floats(f"{number}.{name}", (width,))[None] for name, width in FRAME_FIELDS.items()}
    emotions = emotions_of(message, f"{number}.")[None]
    return replace(FlameSequence.still(1), emotions=emotions, **frame)  # type: ignore[arg-type]


class _Poses:
    """The Gaussians of the poses that were asked for last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, bytes], Gaussians] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, held: HeldAvatar, pose: FlameSequence) -> Gaussians:
        key = held.id, b"".join(getattr(pose, name).tobytes() for name in (*FRAME_FIELDS, "emotions"))
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with torch.inference_mode():
            gaussians = held.avatar.pose(pose)
        with self._lock:
            self._kept[key] = gaussians
            while len(self._kept) > KEPT_POSES:
                self._kept.popitem(last=False)
        return gaussians


_poses = _Poses()


def _posed(held: HeldAvatar, pose: FlameSequence) -> Gaussians:
    return _poses.get(held, pose)


def transformed(gaussians: Gaussians, by: Similarity) -> Gaussians:
    """The Gaussians moved, turned and scaled, colours that depend on the direction included."""
    device = gaussians.device
    linear = torch.as_tensor(by.scale * by.rotation, dtype=torch.float32, device=device)
    shift = torch.as_tensor(by.translation, dtype=torch.float32, device=device)
    x, y, z, w = Rotation.from_matrix(by.rotation).as_quat()
    left = torch.tensor([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]], device=device).float()
    return Gaussians(
        gaussians.means @ linear.T + shift,
        gaussians.quats @ left.T,
        gaussians.scales * by.scale,
        gaussians.opacities,
        _turned_sh(gaussians.sh, by.rotation),
    )


def _turned_sh(sh: torch.Tensor, rotation: np.ndarray) -> torch.Tensor:  # [N, K, 3]
    if sh.shape[1] == 1:
        return sh
    directions = _directions()  # [M, 3]
    # A turned function has at a direction the value that it had where that direction comes from.
    now, before = _basis(directions, sh.shape[1]), _basis(directions @ rotation, sh.shape[1])  # [M, K]
    turn = np.linalg.lstsq(now, before, rcond=None)[0]  # [K, K]
    return torch.einsum("kj,njc->nkc", torch.as_tensor(turn, dtype=torch.float32, device=sh.device), sh)


@functools.cache
def _directions() -> np.ndarray:  # [64, 3], more than enough to tell sixteen functions apart
    i = np.arange(64) + 0.5
    z, angle = 1 - 2 * i / 64, np.pi * (1 + 5**0.5) * i
    ring = np.sqrt(1 - z * z)
    return np.column_stack([ring * np.cos(angle), ring * np.sin(angle), z])


def _basis(directions: np.ndarray, count: int) -> np.ndarray:  # [M, 3] -> [M, K]
    columns = sh_basis(directions.T, count)
    return np.column_stack([np.full(len(directions), SH_C0), *columns])


def merged(parts: list[Gaussians]) -> Gaussians:
    """All of them in one set; colours of lower degree get zeros for the higher ones."""
    count = max(part.sh.shape[1] for part in parts)
    padded = [torch.nn.functional.pad(part.sh, (0, 0, 0, count - part.sh.shape[1])) for part in parts]
    names = ("means", "quats", "scales", "opacities")
    means, quats, scales, opacities = (torch.cat([getattr(part, name) for part in parts]) for name in names)
    return Gaussians(means, quats, scales, opacities, torch.cat(padded))


def _matrix(similarity: Similarity) -> np.ndarray:  # [4, 4]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = similarity.scale * similarity.rotation, similarity.translation
    return matrix


def warm_up_rendering(device: torch.device) -> None:
    """Compile or load the kernels of a picture."""
    gaussians = Gaussians(
        torch.zeros(1, 3), torch.ones(1, 4), torch.full((1, 3), 0.01), torch.ones(1), torch.zeros(1, 1, 3)
    ).to(device)
    image = rasterize(gaussians, Camera.orbit(np.zeros(3), 1.0, size=32))
    _answer(image.rgb.cpu().numpy(), image.alpha.cpu().numpy(), "uint8", None)
