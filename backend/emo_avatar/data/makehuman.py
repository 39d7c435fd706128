"""MakeHuman's hair and skins, for training data alone: fetched by name and sha256, never shipped.

Where they cannot be fetched, people are bald or wear cropped hair, and their skin is painted from pigments alone.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass

import numpy as np
from PIL import Image

from emo_avatar import assets
from emo_avatar.errors import UserError
from emo_avatar.head.data import makehuman_path
from emo_avatar.npz import read_npz
from emo_avatar.terminal import stderr

_QUAD, _QUAD_LENGTH = 11, 10  # three.js JSON 3.1: flags, 4 vertices, material, 4 texture coordinates
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class Proxy:
    """A mesh that rides on MakeHuman's base mesh."""

    vertices: np.ndarray  # [P, 3] decimetres, on the base mesh as it is
    quads: np.ndarray  # [Q, 4]
    uv: np.ndarray  # [T, 2] v up
    uv_quads: np.ndarray  # [Q, 4]
    rgba: np.ndarray  # [h, w, 4] float32 display sRGB in [0, 1]


@functools.cache
def is_there() -> bool:
    """Whether MakeHuman's files can be had; says so once when they cannot."""
    try:
        assets.fetch("makehuman/base.json")
    except UserError as error:
        stderr.print(f"People are drawn bald or with cropped hair, and all skin is painted: {error}", soft_wrap=True)
        return False
    return True


@functools.cache
def base_skin() -> np.ndarray:  # [S, 3] decimetres
    """The vertices of the base mesh that the first S vertices of the open head were."""
    return _base_vertices()[skin_index()]


@functools.cache
def skin_index() -> np.ndarray:  # [S] int64
    """Which of the base mesh's vertices the first S of the open head were."""
    return read_npz(makehuman_path(), max_bytes=_MAX_BYTES)["skin"].astype(np.int64)


@functools.cache
def base_uv() -> np.ndarray:  # [S, 2] v up
    """Where MakeHuman's skins have the first S vertices of the open head; on seams, on one side of them."""
    rows = np.array(_base()["faces"]).reshape(-1, _QUAD_LENGTH)
    uv = np.zeros((len(_base_vertices()), 2))
    uv[rows[:, 1:5]] = np.array(_base()["uvs"][0]).reshape(-1, 2)[rows[:, 6:10]]
    return uv[skin_index()]


@functools.lru_cache(maxsize=16)
def proxy(name: str) -> Proxy:
    """Hair by its name in MakeHuman."""
    document = json.loads(assets.fetch(f"makehuman/hair/{name}.json").read_text(encoding="utf-8"))
    corners = _base_vertices()[np.array(document["ref_vIdxs"])]  # [P, 3, 3]
    vertices = np.einsum("pk,pkc->pc", np.array(document["weights"]), corners) + np.array(document["offsets"])
    rows = np.array(document["faces"]).reshape(-1, _QUAD_LENGTH)
    if (rows[:, 0] != _QUAD).any():
        raise UserError(f"MakeHuman's hair {name} has faces that are no textured quads.")
    with Image.open(assets.fetch(f"makehuman/hair/{name}.png")) as image:
        rgba = np.asarray(image.convert("RGBA"), np.float32) / 255
    return Proxy(vertices, rows[:, 1:5], np.array(document["uvs"][0]).reshape(-1, 2), rows[:, 6:10], rgba)


@functools.cache
def _base() -> dict:
    return json.loads(assets.fetch("makehuman/base.json").read_text(encoding="utf-8"))


@functools.cache
def _base_vertices() -> np.ndarray:  # [N, 3] decimetres
    return np.array(_base()["vertices"]).reshape(-1, 3)
