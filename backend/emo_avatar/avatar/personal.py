"""The generic head turned into one person's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from emo_avatar.head.arkit import arkit_weights, flame_from_arkit
from emo_avatar.head.data import N_SHAPE, HeadData

# MediaPipe landmarks opposite each other across the slit of the left and of the right eye, upper then lower.
SLITS = (((386, 374), (385, 380), (387, 373)), ((159, 145), (158, 153), (160, 144)))
SLIT_RANGE = (0.5, 1.6)  # ratios of eye openings that are taken for anatomy; beyond, the eye was shut or not found


def personal_head(head: HeadData, shape: np.ndarray, static_offset: np.ndarray) -> HeadData:
    """The head of one person: ``shape [300]`` and ``static_offset [V, 3]`` move into the template.

    Expressions are the generic head's, but for the lids: a blink must travel as far as this person's eyes are open.
    """
    shapedirs = head.shapedirs.copy()
    template = (head.v_template + shapedirs[:, :, :N_SHAPE] @ shape + static_offset).astype(np.float32)
    shapedirs[:, :, :N_SHAPE] = 0
    shapedirs[:, :, N_SHAPE:] *= _lid_travel(head, template)[:, None, None]
    return replace(head, v_template=template, shapedirs=shapedirs)


def _lid_travel(head: HeadData, template: np.ndarray) -> np.ndarray:  # [V, 3] -> [V]
    """Factor on the expressions of each vertex, 1 off the lids."""
    travel = np.ones(head.n_vertices, np.float32)
    embedding = head.landmarks478
    if embedding is None:
        return travel
    for side, pairs in zip(("Left", "Right"), SLITS, strict=True):
        upper, lower = (np.array(column) for column in zip(*pairs, strict=True))
        generic, own = (_gap(head, vertices, upper, lower) for vertices in (head.v_template, template))
        expression, _, _ = flame_from_arkit(head, arkit_weights(**{f"eyeBlink{side}": 1.0}))
        moved = np.linalg.norm(head.shapedirs[:, :, N_SHAPE:] @ expression, axis=1)
        travel += (np.clip(own / generic, *SLIT_RANGE) - 1) * moved / moved.max()
    return travel


def _gap(head: HeadData, vertices: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> float:  # metres
    embedding = head.landmarks478
    assert embedding is not None
    corners = vertices[head.faces[embedding.faces]]
    points = (corners * embedding.barycentric[:, :, None]).sum(1)
    return float(np.linalg.norm(points[upper] - points[lower], axis=1).mean())
