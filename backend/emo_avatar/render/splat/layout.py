"""The arrays that the kernels hand to each other."""

from __future__ import annotations

import math

import numpy as np

TILE = 32  # pixels

MIN_ALPHA = 1.0 / 255.0  # fainter contributions are not drawn
LOG2_MIN_ALPHA = math.log2(MIN_ALPHA)

# keys [N] uint32: the bits of a Gaussian's depth, or this if it is not drawn
NOT_DRAWN = np.uint32(0xFFFFFFFF)

# spans [N, 2] int32: the tiles that a Gaussian touches along x and along y, first | last << SPAN_BITS
SPAN_BITS = 16
SPAN_MASK = (1 << SPAN_BITS) - 1

# records [N, 16] float32, one cache line for each Gaussian: position in pixels; the factor of the inverse covariance
# with log2(alpha) = LOG2_OPACITY - t^2 - (c y)^2, t = a x + b y, for a pixel's offset (x, y); colour; depth in
# metres; 1 / a and b / a; and how far below the mean the outline alpha = 1/255 reaches farthest to the right
RECORD = 16
MEAN_X, MEAN_Y, CONIC_A, CONIC_B, CONIC_C, LOG2_OPACITY, RED, GREEN, BLUE, DEPTH, INVERSE_A, SHEAR, TURN_Y = range(13)

# sums [., 16] float32, of which the adjoint of a record is made: sums over pixels, v being the gradient by log2(alpha)
SUM_V, SUM_VT, SUM_VY, SUM_VTX, SUM_VTY, SUM_VYY, SUM_RED, SUM_GREEN, SUM_BLUE, SUM_DEPTH = range(10)
