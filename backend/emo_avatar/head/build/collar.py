"""The cap that closes the neck below the collar, rounded like the base of a bust."""

from __future__ import annotations

import numpy as np
from scipy import sparse

# Rings from the rim inwards: how far towards the centre, and how far below the rim (dm).
RINGS = ((0.015, 0.012), (0.05, 0.026), (0.12, 0.034), (0.5, 0.038))
CENTRE_DROP = 0.038


def cap(collar: np.ndarray, n_base: int) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Vertices below the rim ``collar [c]``: carrier ``[n, N]``, offset ``[n, 3]`` dm, and quads ``[q, 4]``.

    Quads index the rim's vertices first (0 to c - 1), then the new ones; the rim runs so that they face outwards and
    down.
    """
    c = len(collar)
    rim = sparse.csr_matrix((np.ones(c), (np.arange(c), collar)), shape=(c, n_base))
    centre = sparse.csr_matrix((np.full(c, 1 / c), (np.zeros(c, int), collar)), shape=(1, n_base))
    centres = sparse.vstack([centre] * c)
    carrier = sparse.vstack([(1 - inward) * rim + inward * centres for inward, _ in RINGS] + [centre]).tocsr()
    drop = np.append(np.repeat([down for _, down in RINGS], c), CENTRE_DROP)
    offset = np.stack([0 * drop, -drop, 0 * drop], 1)
    ring = np.arange(c)
    onward = np.roll(ring, -1)
    quads = [
        np.stack([k * c + ring, k * c + onward, (k + 1) * c + onward, (k + 1) * c + ring], 1) for k in range(len(RINGS))
    ]
    hub = np.full(c, (len(RINGS) + 1) * c)
    last = len(RINGS) * c
    quads.append(np.stack([last + ring, last + onward, hub, hub], 1))
    return carrier, offset, np.concatenate(quads)
