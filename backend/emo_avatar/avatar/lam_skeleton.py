"""The bones of a LAM package that turn the head: found by name, everything else keeps still.

Packages carry one of several full-body skeletons (170 or 262 joints seen), of which the neck and the head move the
mesh; eyes, jaw and lips move by morph targets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from emo_avatar.avatar.lam_archive import SKIN
from emo_avatar.avatar.lam_glb import Glb
from emo_avatar.errors import UserError

_LEAF_WORDS = {"end", "top", "nub", "tip"}  # exporters append such bones to mark where the last one ends


@dataclass(frozen=True)
class NeckChain:
    """The bones from the lowest neck bone up to the head, and how much each vertex follows each of them.

    What is left of a vertex's weight, ``1 - weights.sum(1)``, belongs to bones that never move: the bust.
    """

    names: tuple[str, ...]  # C bones, from the bottom up
    pivots: np.ndarray  # [C, 3] float32 metres, joint positions at bind
    weights: np.ndarray  # [N, C] float32


def read_neck_chain(glb: Glb, mesh: dict[str, Any], attributes: dict[str, Any], n: int) -> NeckChain:
    """The chain of the skin that ``mesh`` is bound to; ``n`` vertices."""
    mesh_index = glb.items("meshes").index(mesh)
    owners = [node for node in glb.items("nodes") if node.get("mesh") == mesh_index and "skin" in node]
    if not owners:
        raise UserError(f"{SKIN} is bound to no skeleton, so its head cannot turn.")
    skin = glb.item("skins", owners[0]["skin"])
    nodes, joints = glb.items("nodes"), skin.get("joints")
    if not isinstance(joints, list) or not all(isinstance(j, int) and 0 <= j < len(nodes) for j in joints):
        raise UserError(f"{SKIN} is damaged: its skeleton cannot be read.")
    parents = {c: i for i, node in enumerate(nodes) for c in _children(node)}
    paths = [_path(joint, parents) for joint in joints]  # root first
    chain = _chain(nodes, joints, paths)
    inverse_bind = glb.accessor(skin.get("inverseBindMatrices"), "MAT4", len(joints)).reshape(-1, 4, 4)
    inverse_bind = inverse_bind.transpose(0, 2, 1).astype(np.float64)  # glTF stores columns
    with np.errstate(all="ignore"):
        invertible = np.abs(np.linalg.det(inverse_bind)) > 1e-12
    rows = [joints.index(node) for node in chain]
    if not np.isfinite(inverse_bind[rows]).all() or not invertible[rows].all():
        raise UserError(f"{SKIN} is damaged: the bind pose of its neck and head is not invertible.")
    pivots = np.linalg.inv(inverse_bind[rows])[:, :3, 3]
    # A joint outside the chain follows the nearest bone of the chain above it, if there is one.
    follows = [next((chain.index(node) for node in reversed(path) if node in chain), -1) for path in paths]
    weights = _chain_weights(glb, attributes, n, np.array(follows), len(chain))
    return NeckChain(tuple(str(nodes[i]["name"]) for i in chain), pivots.astype(np.float32), weights)


def _children(node: dict[str, Any]) -> list[int]:
    found = node.get("children", [])
    return [c for c in found if isinstance(c, int)] if isinstance(found, list) else []


def _path(node: int, parents: dict[int, int]) -> list[int]:
    """The nodes from the root down to ``node``."""
    path = [node]
    while path[-1] in parents and parents[path[-1]] not in path:  # a damaged file may hold a loop
        path.append(parents[path[-1]])
    return path[::-1]


def _chain(nodes: list[dict[str, Any]], joints: list[int], paths: list[list[int]]) -> list[int]:
    """Nodes of the neck bones and of the head bone, from the bottom up."""

    def words(node: int) -> set[str]:
        parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", str(nodes[node].get("name", "")))
        return {part.lower() for part in parts}

    def bones(word: str) -> list[int]:  # the topmost one first
        found = [i for i, joint in enumerate(joints) if word in words(joint) and not words(joint) & _LEAF_WORDS]
        return sorted(found, key=lambda i: len(paths[i]))

    heads, necks = bones("head"), bones("neck")
    if not heads and not necks:
        raise UserError(f"{SKIN} has no bone named neck or head, so its head cannot turn.")
    top = heads[0] if heads else necks[-1]
    neck_nodes = {joints[i] for i in necks}
    return [node for node in paths[top][:-1] if node in neck_nodes] + [joints[top]]


def _chain_weights(glb: Glb, attributes: dict[str, Any], n: int, follows: np.ndarray, size: int) -> np.ndarray:
    """Weights ``[n, size]`` of the chain's bones; ``follows [J]`` names the bone of each joint, -1 for none."""
    weights = np.zeros((n, size + 1), np.float64)  # the last column collects what keeps still
    for group in range(2):  # exporters write four influences per set, eight in all
        if f"JOINTS_{group}" not in attributes:
            continue
        joints = glb.accessor(attributes[f"JOINTS_{group}"], "VEC4", n)
        influence = glb.accessor(attributes.get(f"WEIGHTS_{group}"), "VEC4", n).astype(np.float64)
        if (
            not np.isfinite(influence).all()
            or influence.min() < 0
            or joints[influence > 0].max(initial=0) >= len(follows)
        ):
            raise UserError(f"{SKIN} is damaged: its skin weights do not match its skeleton.")
        bones = follows[np.minimum(joints.astype(np.intp), len(follows) - 1)]  # [n, 4]
        for column in range(4):
            np.add.at(weights, (np.arange(n), bones[:, column]), influence[:, column])
    total = weights.sum(axis=1, keepdims=True)
    if (total < 1e-6).any():
        raise UserError(f"{SKIN} is damaged: {int((total < 1e-6).sum()):,} vertices follow no bone.")
    return (weights / total)[:, :size].astype(np.float32)
