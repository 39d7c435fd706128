"""The formats that can be exported, and what is to be known of each before the work begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import AddonError

ALEMBIC_BYTES = 16  # of a vertex in one frame; 12 measured
USD_BYTES = 64  # of a vertex in one frame; 56 measured, since normals are kept for each corner
SPLAT_BYTES = 4 * 62  # of a Gaussian in a PLY: 62 floats with three bands of spherical harmonics


@dataclass(frozen=True)
class Format:
    name: str
    label: str
    description: str
    suffix: str  # of the file; "" when a folder of numbered files is written
    frame_suffix: str = ""  # of those files
    shared: bool = True  # all avatars together in one file or picture, instead of a file for each
    backend: bool = False  # whether the backend takes part
    camera: bool = False  # whether it shows what the scene's camera sees
    native: bool = False  # whether an exporter of Blender's own writes it, all at once

    @property
    def is_folder(self) -> bool:
        return not self.suffix


_FORMATS = (
    Format("FLAME", "FLAME", "FLAME parameters of each frame, as VHAP has them", ".npz", shared=False),
    Format("ALEMBIC", "Alembic", "The head meshes, every vertex in every frame", ".abc", native=True),
    Format("USD", "USD", "The head meshes, every vertex in every frame, and their textures", ".usdz", native=True),
    Format("GLTF", "glTF", "Armature, morph targets, materials and animation", ".glb", native=True),
    Format("FBX", "FBX", "Armature, shape keys, materials and animation", ".fbx", native=True),
    Format("PLY", "Splats", "The splats of each frame for other programs", "", ".ply", False, backend=True),
    Format(
        "PNG",
        "PNG Pictures",
        "Splats through the camera, with transparency",
        "",
        ".png",
        backend=True,
        camera=True,
    ),
    Format("EXR", "EXR Pictures", "The same, scene-linear in half floats", "", ".exr", backend=True, camera=True),
    Format("MP4", "Video", "Splats through the camera, before a colour", ".mp4", backend=True, camera=True),
)
FORMATS = {each.name: each for each in _FORMATS}


def targets(format: Format, path: Path, names: list[str]) -> list[Path]:
    """Where each avatar goes: to `path`, or when they are several and each has a file of its own, to PATH_NAME."""
    if not path.name:
        raise AddonError("Say where to: choose a file name.")
    base = path.with_suffix("") if not format.is_folder and path.suffix.lower() == format.suffix else path
    if format.shared or len(names) < 2:
        return [base.with_name(base.name + format.suffix)] * (1 if format.shared else len(names))
    clean = ["".join(c if c.isalnum() or c in "-. " else "_" for c in name).strip() or "avatar" for name in names]
    unique = [name if clean.count(name) == 1 else f"{name}_{n}" for n, name in enumerate(clean, 1)]
    return [base.with_name(f"{base.name}_{name}{format.suffix}") for name in unique]


def sample_times(start: int, end: int, scene_fps: float, fps: float) -> list[float]:
    """The scene's frames, with fractions, at which an export of `fps` is sampled: from `start` until `end` at most."""
    step = scene_fps / fps
    return [start + n * step for n in range(int((end - start) / step + 1e-6) + 1)]


def estimated_bytes(format: Format, frames: int, *, vertices: int = 0, gaussians: int = 0, pixels: int = 0) -> int:
    """How much room an export takes at most, roughly; `vertices` and `gaussians` of all avatars together."""
    per_frame = {
        "FLAME": 4 * 121,
        "ALEMBIC": ALEMBIC_BYTES * vertices,
        "USD": USD_BYTES * vertices,
        "GLTF": 4 * 180,
        "FBX": 40 * 180,
        "PLY": SPLAT_BYTES * gaussians,
        "PNG": 4 * pixels,
        "EXR": 8 * pixels,
        "MP4": pixels // 2,
    }[format.name]
    morphs = 136 * 24 * vertices if format.name in ("GLTF", "FBX") else 0
    textures = 8 << 20 if format.native else 0
    return frames * per_frame + morphs + textures + (1 << 20)
