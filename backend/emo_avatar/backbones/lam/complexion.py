"""Cheeks and ears that a photograph hides, in the tone of the skin that it shows beside them."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import spsolve

from emo_avatar.backbones.lam.sites import Sites
from emo_avatar.head.data import HeadData

SEEN, HIDDEN = 0.5, 0.15  # from which a colour is the photograph's, and below which the less it is
HAIR = 0.32  # and from which it is hair, seen or not
GLIMPSED = 0.05  # from which what is no skin, but hair over it, stays
SKIN = 0.2  # of a colour, by which skin may differ from the face's middle tone; hair over the face does by more
TEXTURE = 0.25  # of what the network says of unseen skin
HOLD = 1e3  # with which seen colours stay


def evened(rgb: np.ndarray, seen: np.ndarray, sites: Sites, head: HeadData) -> np.ndarray:  # [N, 3], [N] -> [N, 3]
    """Colours of the places of a head: what is ``seen`` of the face's skin is carried on evenly over what is not."""
    skin = head.face_part == head.part_names.index("skin")
    level = (sites.height == 0) & skin[sites.face]
    middle = np.median(rgb[level & head.regions["face"][sites.corners].all(1) & (seen > 0.7)], axis=0)
    region = (head.regions["face"] | head.regions["ears"]) & ~head.regions["scalp"]
    where = level & region[sites.corners].all(1)
    unlike = np.abs(rgb - middle).max(1)
    known = where & (seen > SEEN) & (unlike < SKIN)
    if not known.any():
        return rgb
    hair = (unlike > HAIR) | (unlike > SKIN) & (seen > GLIMPSED)
    hidden = (where & ~hair) * np.clip(1 - seen / HIDDEN, 0, 1)
    even = rgb + (hidden * (1 - TEXTURE))[:, None] * (_carried(rgb, known, region, sites, head) - rgb)
    return np.clip(even, 0, 1).astype(np.float32)


def _carried(rgb: np.ndarray, known: np.ndarray, region: np.ndarray, sites: Sites, head: HeadData) -> np.ndarray:
    """Known colours on the vertices of a ``region [V]``, and between them the evenest there are -> ``[N, 3]``."""
    n = head.n_vertices
    corner, share = sites.corners[known].ravel(), np.ones(2 * known.sum())
    count = np.bincount(corner, share, n)
    given = np.stack([np.bincount(corner, np.repeat(c, 2), n) for c in rgb[known].T], 1) / np.maximum(count, 1)[:, None]
    edges = np.concatenate([head.faces[:, [0, 1]], head.faces[:, [1, 2]], head.faces[:, [2, 0]]])
    edges = edges[region[edges].all(1)]
    links = coo_matrix((np.ones(len(edges)), edges.T), shape=(n, n))
    links = links + links.T
    hold = HOLD * (count > 0) + 1e-6
    system = diags(np.asarray(links.sum(1)).ravel() + hold) - links
    mean = given[count > 0].mean(0)
    target = np.where((count > 0)[:, None], given, mean)
    found = np.stack([spsolve(system.tocsc(), hold * channel) for channel in target.T], 1)
    return found[sites.corners].mean(1)
