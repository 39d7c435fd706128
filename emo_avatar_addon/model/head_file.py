"""A head in FLAME format as the extension needs it: from the open head it ships with, or from the backend's `head`."""

import functools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AddonError
from .arkit import ARKIT_NAMES

N_IDENTITY = 20  # components of the open head that have a slider; they hold most of what tells faces apart
OPEN_HEAD = Path(__file__).resolve().parents[2] / "backend" / "emo_avatar" / "head" / "open_head.npz"
OPEN_HEAD_TEXTURE = OPEN_HEAD.with_name("open_head_skin.jpg")

_MAX_VERTICES = 200_000
_MAX_METRES = 10.0


@dataclass(frozen=True)
class HeadArrays:
    """A head's shape and how it moves. FLAME space: metres, x to the subject's left, y up, z forward."""

    name: str
    v_template: np.ndarray  # [V, 3] float32
    identity_dirs: np.ndarray  # [V, 3, 20] float32; [V, 3, 0] when the template already is one person
    expression_dirs: np.ndarray  # [V, 3, 100] float32
    posedirs: np.ndarray  # [V, 3, 36] float32, over R - I of neck, jaw, left eye, right eye, row-major
    J_regressor: np.ndarray  # [5, V] float32
    weights: np.ndarray  # [V, 5] float32, rows sum to 1
    faces: np.ndarray  # [F, 3] int32
    quads: np.ndarray  # [Q, 4] int32, the last index repeated for a triangle; the same surface
    uv: np.ndarray  # [VT, 2] float32, v up; empty when the head has no UVs
    uv_quads: np.ndarray  # [Q, 4] int32, empty likewise
    part_names: tuple[str, ...]  # skin, eye_left, eye_right, and what else the head has
    vertex_part: np.ndarray  # [V] int32, index into part_names
    arkit_to_expr: np.ndarray  # [52, 100] float32
    arkit_to_pose: np.ndarray  # [52, 9] float32, jaw, left eye, right eye

    def with_identity(self, components: np.ndarray) -> "HeadArrays":  # [20]
        """The person that these identity components describe: the template moves, all else stays."""
        offset = self.identity_dirs @ np.asarray(components, np.float32)
        return replace(self, v_template=self.v_template + offset)


def load_open_head(path: Path = OPEN_HEAD) -> HeadArrays:
    """The open head that the extension ships with. `AddonError` when the file is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if not name.startswith(("region_", "landmarks"))}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise AddonError(f"The open head {path.name} cannot be read: install the extension again.") from error
    arrays["expression_dirs"] = arrays.pop("shapedirs_expression", None)
    arrays["identity_dirs"] = arrays.pop("shapedirs_identity", np.zeros(0))[..., :N_IDENTITY]
    names = [str(name) for name in np.atleast_1d(arrays.pop("part_names", np.zeros(0, "U1")))]
    return _head(arrays, {"name": "open", "part_names": names}, path.name)


@functools.cache
def open_head() -> HeadArrays:
    """The open head, read once."""
    return load_open_head()


def head_from_message(arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> HeadArrays:
    """The head of a person as the backend's route `head` sends it. `AddonError` when its pieces do not fit together."""
    if document.get("arkit_names") != list(ARKIT_NAMES):
        raise AddonError("The backend's head has other ARKit units than this extension: set the backend up again.")
    template = arrays.get("v_template", np.zeros((0, 3)))
    return _head(
        {"identity_dirs": np.zeros((len(template), 3, 0), np.float32), **arrays}, document, "the backend's head"
    )


def _head(arrays: Mapping[str, np.ndarray | None], document: Mapping[str, Any], source: str) -> HeadArrays:
    take = _Checked(arrays, source)
    template = take.floats("v_template", (None, 3), _MAX_METRES)
    v = len(template)
    if not 4 <= v <= _MAX_VERTICES:
        raise AddonError(f"{source} has {v} vertices; a head has 4 to {_MAX_VERTICES}.")
    part_names = document.get("part_names")
    if not isinstance(part_names, list) or not part_names or not all(isinstance(name, str) for name in part_names):
        raise AddonError(f"{source} does not name its parts.")
    quads = take.indices("quads", (None, 4), v)
    uv = take.floats("uv", (None, 2), 10.0)
    return HeadArrays(
        name=str(document.get("name", "")),
        v_template=template,
        identity_dirs=take.floats("identity_dirs", (v, 3, None), _MAX_METRES),
        expression_dirs=take.floats("expression_dirs", (v, 3, 100), _MAX_METRES),
        posedirs=take.floats("posedirs", (v, 3, 36), _MAX_METRES),
        J_regressor=take.floats("J_regressor", (5, v), 1e3),
        weights=take.floats("weights", (v, 5), 1.001),
        faces=take.indices("faces", (None, 3), v),
        quads=quads,
        uv=uv,
        uv_quads=take.indices("uv_quads", (len(quads) if len(uv) else 0, 4), len(uv)),
        part_names=tuple(part_names),
        vertex_part=take.indices("vertex_part", (v,), len(part_names)),
        arkit_to_expr=take.floats("arkit_to_expr", (len(ARKIT_NAMES), 100), 1e4),
        arkit_to_pose=take.floats("arkit_to_pose", (len(ARKIT_NAMES), 9), 10.0),
    )


@dataclass(frozen=True)
class _Checked:
    """Arrays that come from outside, each checked as it is taken."""

    arrays: Mapping[str, np.ndarray | None]
    source: str

    def floats(self, name: str, shape: tuple[int | None, ...], limit: float) -> np.ndarray:
        array = self._array(name, "f", shape).astype(np.float32)
        if array.size and not np.abs(array).max() <= limit:  # also catches NaN
            raise AddonError(f"{self.source}: {name} has values that are not finite or beyond {limit:g}.")
        return array

    def indices(self, name: str, shape: tuple[int | None, ...], count: int) -> np.ndarray:
        array = self._array(name, "iu", shape)
        if array.size and (int(array.min()) < 0 or int(array.max()) >= count):
            raise AddonError(f"{self.source}: {name} points outside the {count} entries that there are.")
        return array.astype(np.int32)

    def _array(self, name: str, kinds: str, shape: tuple[int | None, ...]) -> np.ndarray:
        array = self.arrays.get(name)
        if array is None:
            raise AddonError(f"{self.source} lacks {name}.")
        fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
        if array.dtype.kind not in kinds or not fits:
            raise AddonError(f"{self.source}: {name} has the wrong shape or type ({array.dtype} {list(array.shape)}).")
        return array
