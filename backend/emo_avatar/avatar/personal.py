"""The generic head turned into one person's."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from emo_avatar.head.arkit import arkit_weights, flame_from_arkit
from emo_avatar.head.data import ARKIT_NAMES, N_EXPRESSION, N_SHAPE, HeadData

# MediaPipe landmarks opposite each other across the slit of the left and of the right eye, upper then lower.
SLITS = (((386, 374), (385, 380), (387, 373)), ((159, 145), (158, 153), (160, 144)))
LEAST_UNIT = 0.01  # of the strongest combination of units, under which one is noise of a head's fit
SLIT_RANGE = (0.5, 1.6)  # ratios of eye openings that are taken for anatomy; beyond, the eye was shut or not found


def personal_head(head: HeadData, shape: np.ndarray, static_offset: np.ndarray) -> HeadData:
    """The head of one person: ``shape [300]`` and ``static_offset [V, 3]`` move into the template.

    Expressions are the generic head's, but for blinks, which must travel as far as this person's eyes are open.
    """
    identity = head.shapedirs.reshape(-1, N_SHAPE + N_EXPRESSION)[:, :N_SHAPE] @ shape
    template = (head.v_template + identity.reshape(-1, 3) + static_offset).astype(np.float32)
    shapedirs = np.zeros(head.shapedirs.shape, np.float32)
    shapedirs[:, :, N_SHAPE:] = head.shapedirs[:, :, N_SHAPE:]
    for more, blink in _longer_blinks(head, template):
        shapedirs[:, :, N_SHAPE:] += more[:, :, None] * blink
    return replace(head, v_template=template, shapedirs=shapedirs)


def lid_shift(head: HeadData, template: np.ndarray, expression: np.ndarray) -> np.ndarray:  # [V, 3], [100] -> [V, 3]
    """What the blink in an expression moves a person's lids more than the generic head's, in metres.

    ``template`` is the person's neutral face. Eyes that are wide by nature are opened no wider for it.
    """
    shift = np.zeros(template.shape)
    for more, blink in _longer_blinks(head, template):
        shift += (expression @ blink) * more
    return shift


def _longer_blinks(head: HeadData, template: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:  # of [V, 3], [100]
    """For the left and the right eye what a whole blink lacks, and how much of a blink is in an expression."""
    lacking = []
    for pairs, blink in zip(SLITS, _blinks(head), strict=False):
        ratio = np.clip(_opening(head, template, pairs) / blink.opening, *SLIT_RANGE)
        lacking.append(((ratio - 1) * blink.shift, blink.amount))
    return lacking


def expression_shift(head: HeadData, expression: np.ndarray) -> np.ndarray:  # [100] -> [V, 3] metres
    """By how much an expression moves the vertices of the generic head before it is posed."""
    shift: np.ndarray = head.shapedirs.reshape(-1, N_SHAPE + N_EXPRESSION)[:, N_SHAPE:] @ expression
    return shift.reshape(-1, 3)


@dataclass(frozen=True, eq=False)
class _Blink:
    """What the generic head's eye does when it shuts."""

    opening: float  # metres that the eye is open at rest
    shift: np.ndarray  # [V, 3] metres, weighted by how much of the longest way each vertex goes
    amount: np.ndarray  # [100] whose product with an expression is the share of a blink in it


@functools.lru_cache(maxsize=2)
def _blinks(head: HeadData) -> tuple[_Blink, ...]:
    """Of the left and of the right eye; nothing for a head without landmarks."""
    if head.landmarks478 is None:
        return ()
    of_units = np.linalg.pinv(head.arkit_to_expr.astype(np.float64), rcond=LEAST_UNIT)  # [100, 52]
    blinks = []
    for side, pairs in zip(("Left", "Right"), SLITS, strict=True):
        name = f"eyeBlink{side}"
        expression, _, _ = flame_from_arkit(head, arkit_weights(**{name: 1.0}))
        shift = expression_shift(head, expression)
        way = np.linalg.norm(shift, axis=1, keepdims=True)
        opening = _opening(head, head.v_template, pairs)
        blinks.append(_Blink(opening, way / way.max() * shift, of_units[:, ARKIT_NAMES.index(name)]))
    return tuple(blinks)


def _opening(head: HeadData, vertices: np.ndarray, pairs: tuple[tuple[int, int], ...]) -> float:  # metres
    """How far the landmarks ``pairs`` of an eye are apart."""
    embedding = head.landmarks478
    assert embedding is not None
    slit = np.array(pairs)  # [P, 2]
    points = np.einsum("psb,psbc->psc", embedding.barycentric[slit], vertices[head.faces[embedding.faces[slit]]])
    return float(np.linalg.norm(points[:, 0] - points[:, 1], axis=1).mean())
