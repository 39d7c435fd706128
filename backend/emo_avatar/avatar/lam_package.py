"""LAM avatar packages (He et al., "LAM: Large Avatar Model for One-shot Animatable Gaussian Head", 2025).

A package holds ``skin.glb``, a FLAME mesh subdivided once with ARKit morph targets and a full-body skeleton, and
``offset.ply``, one Gaussian per vertex in the same order: centre = vertex + offset, log scales, logit opacities and,
unlike other 3DGS files, plain RGB in ``f_dc``. ``vertex_order.json`` only sorts splats by depth for the web viewer.
Target order and skeletons differ between packages, so both are looked up by name. Frame: metres, y up, facing +z.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from plyfile import PlyData, PlyParseError

from emo_avatar.avatar.gaussians import SH_C0
from emo_avatar.avatar.lam_archive import SKIN, SPLATS, read_members
from emo_avatar.avatar.lam_glb import Glb
from emo_avatar.avatar.lam_skeleton import NeckChain, read_neck_chain
from emo_avatar.errors import UserError
from emo_avatar.head.data import ARKIT_NAMES

_MIN_VERTICES = 1000  # fewer cannot be a face
_MIN_TARGETS = 40  # of 52: real packages lack tongueOut alone; with fewer a face cannot speak and blink
_MAX_EXTENT = 3.0  # metres
# What a failed export looks like; the medians of sound packages are 0.1, 2 mm and 12 mm.
_BROKEN_OPACITY, _BROKEN_SCALE, _BROKEN_OFFSET = 0.9, 0.0095, 0.03
_VISIBLE, _MIN_VISIBLE = 0.05, 0.1  # opacity of a visible Gaussian, and how many of all must be: 0.6 in sound packages


@dataclass(frozen=True)
class LamSplats:
    """The Gaussians of a package, one per vertex, at neutral and relative to their vertices."""

    offsets: np.ndarray  # [N, 3] float32 metres
    quats: np.ndarray  # [N, 4] float32 wxyz, unit
    scales: np.ndarray  # [N, 3] float32 metres
    opacities: np.ndarray  # [N] float32 in [0, 1]
    colors: np.ndarray  # [N, 3] float32 display sRGB


@dataclass(frozen=True)
class LamPackage:
    """A package as read and checked."""

    name: str
    vertices: np.ndarray  # [N, 3] float32 metres
    faces: np.ndarray  # [F, 3] int32
    targets: np.ndarray  # [52, N, 3] float32 metres, Apple's order; zeros where the package has no such target
    chain: NeckChain
    splats: LamSplats
    notes: tuple[str, ...]  # sentences for the user: what was missing or unusual


def read_lam_package(path: Path) -> LamPackage:
    """Read a package from a zip archive or a folder. Raises `UserError` with the reason when it cannot be used."""
    members = read_members(path)
    glb = Glb.parse(members[SKIN], SKIN)
    mesh, primitive = _find_face(glb)
    attributes = primitive.get("attributes")
    if not isinstance(attributes, dict):
        raise UserError(f"{SKIN} is damaged: its mesh has no attributes.")
    vertices = _finite(glb.accessor(attributes.get("POSITION"), "VEC3"), "vertices")
    if len(vertices) < _MIN_VERTICES:
        raise UserError(f"{SKIN} has only {len(vertices):,} vertices; that is no face.")
    if np.ptp(vertices, axis=0).max() > _MAX_EXTENT:
        raise UserError(f"{SKIN} spans {np.ptp(vertices, axis=0).max():.1f} m; it must be a head in metres.")
    faces = glb.accessor(primitive.get("indices"), "SCALAR")[:, 0]
    if len(faces) % 3 or len(faces) == 0 or primitive.get("mode", 4) != 4 or faces.max() >= len(vertices):
        raise UserError(f"{SKIN} is damaged: its triangles do not match its vertices.")
    targets, missing = _read_targets(glb, mesh, primitive, len(vertices))
    splats, notes = _read_splats(members[SPLATS], len(vertices))
    if missing:
        notes += (f"The package has no {', '.join(missing)}; these units do nothing.",)
    return LamPackage(
        name=path.stem,
        vertices=vertices.astype(np.float32),
        faces=faces.reshape(-1, 3).astype(np.int32),
        targets=targets,
        chain=read_neck_chain(glb, mesh, attributes, len(vertices)),
        splats=splats,
        notes=notes,
    )


def _find_face(glb: Glb) -> tuple[dict[str, Any], dict[str, Any]]:
    """The mesh with morph targets, and its primitive."""
    for mesh in glb.items("meshes"):
        primitives = mesh.get("primitives")
        for primitive in primitives if isinstance(primitives, list) else []:
            if isinstance(primitive, dict) and isinstance(primitive.get("targets"), list) and primitive["targets"]:
                return mesh, primitive
    raise UserError(f"{SKIN} has no morph targets, so its face cannot move.")


def _read_targets(
    glb: Glb, mesh: dict[str, Any], primitive: dict[str, Any], n: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Deltas ``[52, n, 3]`` in Apple's order, and the names of the units that the package lacks."""
    extras = mesh.get("extras") or primitive.get("extras")
    names = extras.get("targetNames") if isinstance(extras, dict) else None
    if not isinstance(names, list) or len(names) != len(primitive["targets"]):
        raise UserError(f"{SKIN} does not name its {len(primitive['targets'])} morph targets, so none can be used.")
    wanted = {name.lower(): i for i, name in enumerate(ARKIT_NAMES)}
    found = {}
    for name, target in zip(names, primitive["targets"], strict=True):
        unit = wanted.get(_unit_name(str(name)))
        if unit is not None and isinstance(target, dict):
            found[unit] = target.get("POSITION")
    if len(found) < _MIN_TARGETS:
        raise UserError(
            f"{SKIN} has only {len(found)} of the 52 ARKit targets; export the package with ARKit blendshapes "
            "(as for OpenAvatarChat) rather than with FLAME expressions."
        )
    targets = np.zeros((len(ARKIT_NAMES), n, 3), np.float32)
    for unit, accessor in found.items():
        targets[unit] = _finite(glb.accessor(accessor, "VEC3", n), f"target {ARKIT_NAMES[unit]}")
    return targets, tuple(name for i, name in enumerate(ARKIT_NAMES) if i not in found)


def _unit_name(name: str) -> str:
    """``blendShape1.browDown_L`` and the like as ``browdownleft``."""
    name = name.rsplit(".", 1)[-1].lower()
    for short, long in (("_l", "left"), ("_r", "right")):
        if name.endswith(short):
            name = name.removesuffix(short) + long
    return name


def _read_splats(data: bytes, n: int) -> tuple[LamSplats, tuple[str, ...]]:
    """The Gaussians of ``offset.ply``, checked against the ``n`` vertices they belong to."""
    declared = re.search(rb"element vertex (\d+)\s", data[: 64 * 1024])  # before any memory is set aside
    if not data.startswith(b"ply") or declared is None:
        raise UserError(f"{SPLATS} is not a PLY file.")
    if int(declared[1]) != n:
        raise UserError(f"{SPLATS} has {int(declared[1]):,} Gaussians but {SKIN} has {n:,} vertices.")
    try:
        table = PlyData.read(io.BytesIO(data))["vertex"]
        columns = {name: np.asarray(table[name], np.float32) for name in _columns()}
    except (PlyParseError, ValueError, KeyError, TypeError, UnicodeError) as error:
        raise UserError(f"{SPLATS} is cut short, damaged or no Gaussian splat file: {error}") from error
    stacked = _finite(np.stack([columns[name] for name in _columns()], axis=1), "Gaussians")  # [n, 14]
    offsets, colors, logits, logs, quats = np.split(stacked, (3, 6, 7, 10), axis=1)
    norms = np.linalg.norm(quats, axis=1, keepdims=True)
    if (norms < 1e-6).any():
        raise UserError(f"{SPLATS} is damaged: {int((norms < 1e-6).sum()):,} Gaussians have no rotation.")
    opacities = 1.0 / (1.0 + np.exp(-np.clip(logits[:, 0], -30.0, 30.0)))
    scales = np.exp(np.clip(logs, -30.0, 3.0))
    _refuse_broken(offsets, scales, opacities)
    notes: tuple[str, ...] = ()
    if np.quantile(colors, 0.01) < -0.05 or np.quantile(colors, 0.99) > 1.05:
        colors = colors * SH_C0 + 0.5
        notes += (f"The colours of {SPLATS} are spherical harmonics rather than plain RGB and were read as such.",)
    return LamSplats(offsets, quats / norms, scales, opacities, np.clip(colors, 0.0, 1.0)), notes


def _columns() -> tuple[str, ...]:
    axes = range(3)
    return (
        *"xyz",
        *(f"f_dc_{i}" for i in axes),
        "opacity",
        *(f"scale_{i}" for i in axes),
        *(f"rot_{i}" for i in range(4)),
    )


def _refuse_broken(offsets: np.ndarray, scales: np.ndarray, opacities: np.ndarray) -> None:
    """Refuse exports that went wrong at their source, which would show as a ball of fog or a blob."""
    opacity, scale = float(np.median(opacities)), float(np.median(scales.max(axis=1)))
    offset = float(np.median(np.linalg.norm(offsets, axis=1)))
    if opacity > _BROKEN_OPACITY:
        raise UserError(f"{SPLATS} is a broken export: its median opacity is {opacity:.2f}, where sound ones have 0.1.")
    if (opacities > _VISIBLE).mean() < _MIN_VISIBLE:
        raise UserError(f"{SPLATS} is a broken export: nearly all of its Gaussians are transparent.")
    if scale > _BROKEN_SCALE:
        raise UserError(
            f"{SPLATS} is a broken export: its Gaussians are {1000 * scale:.1f} mm large, where sound ones have 2 mm."
        )
    if offset > _BROKEN_OFFSET:
        raise UserError(
            f"{SPLATS} is a broken export: its Gaussians lie {1000 * offset:.0f} mm off their vertices (median), "
            "where sound ones lie 12 mm off."
        )


def _finite(values: np.ndarray, what: str) -> np.ndarray:
    """``values``, or a `UserError` when some are infinite or not numbers."""
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise UserError(f"The package is damaged: {bad:,} numbers of its {what} are not finite.")
    return values
