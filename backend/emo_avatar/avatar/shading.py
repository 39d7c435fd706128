"""How skin changes its brightness when an expression moves it, so that folds read although no light is simulated.

A portrait's colours hold the light of their day. What an expression adds is the ratio of two simple renderings, after
and before ("expression ratio images", Liu, Shan and Zhang, 2001): of a soft light from above, which suits most
portraits well enough since only its change shows; and of the shade in the small folds into which squeezed skin lies.
"""

from __future__ import annotations

import numpy as np
import torch

LIGHT = (0.15, 0.75, 0.64)  # unit vector towards the light, in the head's frame
# A ridge that catches light looks like grease long before a hollow looks too deep.
DARKEST, BRIGHTEST = 0.5, 1.15
FOLD_DEPTH = 0.4  # light that a fully folded surface loses
FOLD_FROM, FOLD_TO = 0.9, 0.5  # squeeze at which folds begin, and at which they are deepest
_GRAZING = 1e-3  # keeps the ratio finite where the light came from behind

# The same numbers for compiled loops, which get them as an argument: constants would stay in cached code.
NUMBERS = np.array([*LIGHT, DARKEST, BRIGHTEST, FOLD_DEPTH, FOLD_FROM, FOLD_TO, _GRAZING], np.float32)


def skin_gain(
    rest_normals: torch.Tensor,  # [..., 3] unit, in the head's frame
    normals: torch.Tensor,  # [..., 3] unit
    squeeze: torch.Tensor,  # [...] the smaller principal stretch of the surface
) -> torch.Tensor:  # [...]
    """The factor on the colour of skin that turned from one normal to another while it was squeezed."""
    light = normals.new_tensor(LIGHT)
    turned = (1 + normals @ light) / (1 + rest_normals @ light).clamp_min(_GRAZING)
    fold = ((FOLD_FROM - squeeze) / (FOLD_FROM - FOLD_TO)).clamp(0, 1)
    return turned.clamp(DARKEST, BRIGHTEST) * (1 - FOLD_DEPTH * fold)
