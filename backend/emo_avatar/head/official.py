"""Import of official FLAME models: the pickles of FLAME 2019 to 2023 and the npz of smplx.

FLAME: Li et al., "Learning a model of facial shape and expression from 4D scans", SIGGRAPH Asia 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emo_avatar.errors import UserError
from emo_avatar.head.arkit_fit import TransferReport
from emo_avatar.head.components import split_parts
from emo_avatar.head.data import N_EXPRESSION, N_SHAPE, PARENTS, HeadData, load_head, save_head
from emo_avatar.head.inert_pickle import array_of, read_pickle
from emo_avatar.head.transfer import transfer_from
from emo_avatar.npz import read_npz

MAX_BYTES = 1 << 30  # a FLAME pickle has 53 MB
MAX_VERTICES = 50_000
MAX_FACES = 200_000
MAX_METRES = 10.0
ZIP_SIGNATURE = b"PK\x03\x04"
REQUIRED = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
OPTIONAL = ("vt", "ft")  # texture coordinates, which few files hold
N_POSE_FEATURES = 9 * (len(PARENTS) - 1)
# What smplx makes of a file with fewer than 400 components: 10 of identity, then 10 of expression.
SMPLX_FEW = 10


@dataclass(frozen=True)
class ImportedHead:
    """An imported head and what was found out about it."""

    head: HeadData
    report: TransferReport
    notes: tuple[str, ...]


def import_head(
    path: Path | str,
    out: Path | str,
    progress: Callable[[float, str], None] = lambda fraction, what: None,
) -> ImportedHead:
    """Read an official FLAME file, carry over from the open head what FLAME lacks, and write our npz.

    Raises:
        UserError: the file is no FLAME model, is damaged, or asks to run code.
    """
    progress(0.0, "reading")
    head, notes = read_official(path)
    head, report = transfer_from(load_head(), head, lambda fraction, what: progress(0.1 + 0.85 * fraction, what))
    progress(0.95, "writing")
    save_head(head, out)
    progress(1.0, "done")
    return ImportedHead(head, report, notes)


def read_official(path: Path | str) -> tuple[HeadData, tuple[str, ...]]:
    """The model of an official file as it is, without landmarks, regions and ARKit mapping, and notes.

    Raises:
        UserError: as `import_head`.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path.name} is larger than {MAX_BYTES >> 20} MB; a FLAME model is smaller.")
        with path.open("rb") as stream:
            zipped = stream.read(len(ZIP_SIGNATURE)) == ZIP_SIGNATURE
            stream.seek(0)
            values = _npz_values(path) if zipped else read_pickle(stream, path.name)
    except OSError as error:
        raise UserError(f"{path} cannot be opened: {error.strerror}.") from error
    if not isinstance(values, dict) or not all(name in values for name in REQUIRED):
        lacking = ", ".join(n for n in REQUIRED if not isinstance(values, dict) or n not in values)
        raise UserError(f"{path.name} is no FLAME model: it lacks {lacking}.")
    arrays = {n: array_of(values[n], f"{path.name}: {n}") for n in (*REQUIRED, *OPTIONAL) if n in values}
    return _head(arrays, path)


def _npz_values(path: Path) -> dict[str, Any]:
    return read_npz(path, max_bytes=MAX_BYTES, wanted=(REQUIRED + OPTIONAL).__contains__, read_objects=read_pickle)


def _head(arrays: Mapping[str, np.ndarray], path: Path) -> tuple[HeadData, tuple[str, ...]]:
    """The model as a `HeadData`, every array checked."""
    source = path.name
    v, f = len(arrays["v_template"]), len(arrays["f"])
    if not (4 <= v <= MAX_VERTICES and 4 <= f <= MAX_FACES):
        raise UserError(f"{source} has {v} vertices and {f} faces; FLAME has 5023 and 9976.")

    def checked(name: str, shape: tuple[int, ...], limit: float) -> np.ndarray:
        array = arrays[name]
        if array.shape != shape:
            raise UserError(f"{source}: {name} has dimensions {list(array.shape)}; FLAME's are {list(shape)}.")
        if not (np.abs(array) <= limit).all():  # catches NaN
            raise UserError(f"{source}: {name} has values that are not finite or beyond {limit:g}.")
        return np.ascontiguousarray(array, np.float32)

    def indices(name: str, shape: tuple[int, ...], count: int) -> np.ndarray:
        array = checked(name, shape, 2.0**31)
        whole = arrays[name].astype(np.int64)
        if array.size and (whole.min() < 0 or whole.max() >= count):
            raise UserError(f"{source}: {name} points outside the {count} entries that there are.")
        return whole.astype(np.int32)

    parents = arrays["kintree_table"].astype(np.int64)
    if parents.ndim != 2 or parents.shape[1] != len(PARENTS) or tuple(parents[0, 1:]) != PARENTS[1:]:
        raise UserError(f"{source} has other joints than FLAME's five; models of bodies or hands cannot be imported.")
    template = checked("v_template", (v, 3), MAX_METRES)
    notes: list[str] = []
    components = arrays["shapedirs"].shape[-1] if arrays["shapedirs"].ndim == 3 else 0
    dirs = checked("shapedirs", (v, 3, components), MAX_METRES)
    shapedirs = np.zeros((v, 3, N_SHAPE + N_EXPRESSION), np.float32)
    if components >= N_SHAPE + N_EXPRESSION:
        shapedirs[:] = dirs[:, :, : N_SHAPE + N_EXPRESSION]
    elif components >= 2 * SMPLX_FEW:
        identity, expression = dirs[:, :, :SMPLX_FEW], dirs[:, :, SMPLX_FEW : 2 * SMPLX_FEW]
        shapedirs[:, :, :SMPLX_FEW] = identity
        shapedirs[:, :, N_SHAPE : N_SHAPE + SMPLX_FEW] = expression
        notes.append(f"{source} has {components} components instead of 400: read as 10 of identity and 10 expressions.")
    else:
        raise UserError(f"{source} has {components} shape and expression components; FLAME has 400.")
    weights = checked("weights", (v, len(PARENTS)), 1.0 + 1e-3)
    faces = indices("f", (f, 3), v)
    parts = split_parts(template, faces, weights)
    uv, uv_faces = np.zeros((0, 2), np.float32), np.zeros((0, 3), np.int32)
    if all(name in arrays for name in OPTIONAL) and len(arrays["vt"]):
        uv = checked("vt", (len(arrays["vt"]), 2), 10.0)
        uv_faces = indices("ft", (f, 3), len(uv))
    else:
        notes.append(f"{source} holds no texture coordinates: the head has none.")
    head = HeadData(
        name=path.stem,
        v_template=template,
        shapedirs=shapedirs,
        posedirs=checked("posedirs", (v, 3, N_POSE_FEATURES), MAX_METRES),
        J_regressor=checked("J_regressor", (len(PARENTS), v), 10.0),
        weights=weights,
        faces=faces,
        quads=faces[:, [0, 1, 2, 2]],
        uv=uv,
        uv_faces=uv_faces,
        uv_quads=uv_faces[:, [0, 1, 2, 2]],
        part_names=parts.names,
        vertex_part=parts.vertex_part,
        face_part=parts.vertex_part[faces[:, 0]],
    )
    return head, tuple(notes)
