"""A person's head as flat named arrays, the form in which an avatar file carries it.

The identity basis stays out: the template already is the person. What is left is a third of the generic head's size
and makes the file independent of the head that it was built on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from emo_avatar.head.data import ARKIT_NAMES, JOINTS, N_EXPRESSION, N_SHAPE, HeadData, LandmarkEmbedding

# Halving these costs less than 1e-5 m at full expression; positions, joints and skinning stay in single precision.
_HALF = ("expression_dirs", "posedirs", "uv")
_LANDMARKS = ("landmarks478", "landmarks68")


def head_to_arrays(head: HeadData) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """JSON-able settings and arrays of a head whose identity is in its template."""
    arrays = {"expression_dirs": head.shapedirs[:, :, N_SHAPE:]}
    for field in fields(HeadData):
        value = getattr(head, field.name)
        if isinstance(value, np.ndarray) and field.name != "shapedirs":
            arrays[field.name] = value
        elif isinstance(value, LandmarkEmbedding):
            arrays |= {f"{field.name}.{part.name}": getattr(value, part.name) for part in fields(value)}
    arrays |= {f"regions.{name}": mask for name, mask in head.regions.items()}
    arrays |= {name: arrays[name].astype(np.float16) for name in _HALF}
    return {
        "name": head.name,
        "part_names": list(head.part_names),
        "arkit_transfer_error": head.arkit_transfer_error,
    }, arrays


def head_from_arrays(settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> HeadData:
    """The inverse of `head_to_arrays`. Raises ValueError or KeyError when the pieces do not make a head."""
    expression_dirs = arrays["expression_dirs"].astype(np.float32)
    v, faces = len(arrays["v_template"]), arrays["faces"]
    if expression_dirs.shape != (v, 3, N_EXPRESSION) or not 0 <= faces.min() <= faces.max() < v:
        raise ValueError("the head's arrays do not fit together")
    values: dict[str, Any] = {
        field.name: arrays[field.name].astype(np.float32) if field.name in _HALF else arrays[field.name]
        for field in fields(HeadData)
        if field.name in arrays
    }
    identity_dirs = np.zeros((v, 3, N_SHAPE), np.float32)
    values["shapedirs"] = np.concatenate([identity_dirs, expression_dirs], axis=2)
    for name in _LANDMARKS:
        if f"{name}.faces" in arrays:
            values[name] = LandmarkEmbedding(*(arrays[f"{name}.{part.name}"] for part in fields(LandmarkEmbedding)))
    values["regions"] = {k.removeprefix("regions."): a for k, a in arrays.items() if k.startswith("regions.")}
    head = HeadData(
        name=str(settings["name"]),
        part_names=tuple(map(str, settings["part_names"])),
        arkit_transfer_error=float(settings["arkit_transfer_error"]),
        **values,
    )
    _check(head)
    return head


def _check(head: HeadData) -> None:
    """Raises ValueError when shapes differ or an index points nowhere; kernels look at neither."""
    v, f, q = head.n_vertices, len(head.faces), len(head.quads)
    has_uv = len(head.uv) > 0
    shapes: dict[str, tuple[int, ...]] = {
        "v_template": (v, 3),
        "posedirs": (v, 3, 36),
        "J_regressor": (len(JOINTS), v),
        "weights": (v, len(JOINTS)),
        "faces": (f, 3),
        "quads": (q, 4),
        "uv": (len(head.uv), 2),
        "uv_faces": (f if has_uv else 0, 3),
        "uv_quads": (q if has_uv else 0, 4),
        "vertex_part": (v,),
        "face_part": (f,),
        "arkit_to_expr": (len(ARKIT_NAMES), N_EXPRESSION),
        "arkit_to_pose": (len(ARKIT_NAMES), 9),
    }
    wrong = [name for name, shape in shapes.items() if getattr(head, name).shape != shape]
    wrong += [f"region {name}" for name, mask in head.regions.items() if mask.shape != (v,)]
    ends = {"faces": v, "quads": v, "uv_faces": len(head.uv), "uv_quads": len(head.uv)}
    ends |= {"vertex_part": len(head.part_names), "face_part": len(head.part_names)}
    indices = [(name, getattr(head, name), end) for name, end in ends.items()]
    for name in _LANDMARKS:
        if (landmarks := getattr(head, name)) is not None:
            indices.append((name, landmarks.faces, f))
            if landmarks.barycentric.shape != (len(landmarks.faces), 3):
                wrong.append(name)
    wrong += [
        name
        for name, array, end in indices
        if array.dtype.kind not in "iu" or (array.size and not 0 <= array.min() <= array.max() < end)
    ]
    if wrong:
        raise ValueError(f"the head's {', '.join(sorted(set(wrong)))} cannot be right")
