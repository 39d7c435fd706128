"""The generic head turned into one person's."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from emo_avatar.head.arkit import arkit_weights, flame_from_arkit
from emo_avatar.head.data import N_EXPRESSION, N_SHAPE, HeadData

# MediaPipe landmarks opposite each other across the slit of the left and of the right eye, upper then lower.
SLITS = (((386, 374), (385, 380), (387, 373)), ((159, 145), (158, 153), (160, 144)))
SLIT_RANGE = (0.5, 1.6)  # ratios of eye openings that are taken for anatomy; beyond, the eye was shut or not found


def personal_head(head: HeadData, shape: np.ndarray, static_offset: np.ndarray) -> HeadData:
    """The head of one person: ``shape [300]`` and ``static_offset [V, 3]`` move into the template.

    Expressions are the generic head's, but for the lids: a blink must travel as far as this person's eyes are open.
    """
    identity = head.shapedirs.reshape(-1, N_SHAPE + N_EXPRESSION)[:, :N_SHAPE] @ shape
    template = (head.v_template + identity.reshape(-1, 3) + static_offset).astype(np.float32)
    shapedirs = np.zeros(head.shapedirs.shape, np.float32)
    shapedirs[:, :, N_SHAPE:] = head.shapedirs[:, :, N_SHAPE:] * lid_travel(head, template)[:, None, None]
    return replace(head, v_template=template, shapedirs=shapedirs)


def lid_travel(head: HeadData, template: np.ndarray) -> np.ndarray:  # [V, 3] -> [V] float32
    """Factor on the expressions of each vertex of a person whose neutral face is ``template``; 1 off the lids."""
    travel = np.ones(head.n_vertices, np.float32)
    for pairs, (generic, share) in zip(SLITS, _blinks(head), strict=False):
        travel += (np.clip(_opening(head, template, pairs) / generic, *SLIT_RANGE) - 1) * share
    return travel


def expression_shift(head: HeadData, expression: np.ndarray) -> np.ndarray:  # [100] -> [V, 3] metres
    """By how much an expression moves the vertices of the generic head before it is posed."""
    shift: np.ndarray = head.shapedirs.reshape(-1, N_SHAPE + N_EXPRESSION)[:, N_SHAPE:] @ expression
    return shift.reshape(-1, 3)


@functools.lru_cache(maxsize=2)
def _blinks(head: HeadData) -> tuple[tuple[float, np.ndarray], ...]:
    """How far the left and the right eye of the generic head are open (metres), and how much of their blink's longest
    way each vertex ``[V]`` goes; nothing for a head without landmarks."""
    if head.landmarks478 is None:
        return ()
    blinks = []
    for side, pairs in zip(("Left", "Right"), SLITS, strict=True):
        expression, _, _ = flame_from_arkit(head, arkit_weights(**{f"eyeBlink{side}": 1.0}))
        moved = np.linalg.norm(expression_shift(head, expression), axis=1)
        blinks.append((_opening(head, head.v_template, pairs), moved / moved.max()))
    return tuple(blinks)


def _opening(head: HeadData, vertices: np.ndarray, pairs: tuple[tuple[int, int], ...]) -> float:  # metres
    """How far the landmarks ``pairs`` of an eye are apart."""
    embedding = head.landmarks478
    assert embedding is not None
    slit = np.array(pairs)  # [P, 2]
    points = np.einsum("psb,psbc->psc", embedding.barycentric[slit], vertices[head.faces[embedding.faces[slit]]])
    return float(np.linalg.norm(points[:, 0] - points[:, 1], axis=1).mean())
