"""Quaternions of rotations, for the inner loops that pose Gaussians."""

from __future__ import annotations

import math

import numpy as np

from emo_avatar.render.splat.compiled import kernel

_TINY = np.float32(1e-12)


@kernel
def unit(w, x, y, z):
    """A quaternion of unit length."""
    norm = np.float32(1.0) / math.sqrt(max(w * w + x * x + y * y + z * z, _TINY))
    return w * norm, x * norm, y * norm, z * norm


@kernel
def quat_from_rows(m00, m01, m02, m10, m11, m12, m20, m21, m22):
    """Unit quaternion of a rotation, from the largest of its components (Shepperd, 1978), which is positive."""
    one = np.float32(1.0)
    w2, x2, y2, z2 = one + m00 + m11 + m22, one + m00 - m11 - m22, one - m00 + m11 - m22, one - m00 - m11 + m22
    if w2 >= x2 and w2 >= y2 and w2 >= z2:
        w, x, y, z = w2, m21 - m12, m02 - m20, m10 - m01
    elif x2 >= y2 and x2 >= z2:
        w, x, y, z = m21 - m12, x2, m10 + m01, m02 + m20
    elif y2 >= z2:
        w, x, y, z = m02 - m20, m10 + m01, y2, m21 + m12
    else:
        w, x, y, z = m10 - m01, m02 + m20, m21 + m12, z2
    return unit(w, x, y, z)
