"""How skin changes its brightness when an expression moves it, so that folds read although no light is simulated.

A portrait's colours hold the light of their day. What an expression adds is the ratio of two simple renderings, after
and before ("expression ratio images", Liu, Shan and Zhang, 2001): of a soft light from above, which suits most
portraits well enough since only its change shows; and of the shade in the small folds into which shortened skin lies.
"""

from __future__ import annotations

import numpy as np

from emo_avatar.render.splat.compiled import kernel

LIGHT = (0.0, 0.70, 0.714)  # unit vector towards the light, in the head's frame
# A ridge that catches light looks like grease long before a hollow looks too deep.
DARKEST, BRIGHTEST = 0.65, 1.12
FOLD_SHADE = 0.52  # of the light that the deepest fold keeps off
FOLDS_BETWEEN = (0.04, 0.26)  # shortening at which folds begin, and at which they are deepest
SATURATION = 1.2  # share by which light that is lost makes colours stronger: what is left has gone through skin
FADE_FROM = 0.7  # of the limit on their distortion, from where photo pixels fade
BESIDE_LINES = 0.1  # depth by which skin beside the lines of the map takes part in the photo's folds
GRAZING = 1e-3  # keeps the ratio finite where the light came from behind

# The kernels get their numbers as an argument: constants would stay in cached code.
NUMBERS = np.array([*LIGHT, DARKEST, BRIGHTEST, FOLD_SHADE, *FOLDS_BETWEEN, GRAZING, SATURATION], np.float32)


@kernel
def light_on(numbers, x, y, z):
    """The light, 0 to 2, on a surface with unit normal ``x, y, z`` in the head's frame; it wraps around."""
    return np.float32(1.0) + x * numbers[0] + y * numbers[1] + z * numbers[2]


@kernel
def fold(numbers, shortening):
    """How deep, 0 to 1, skin folds that lost the share ``shortening`` of its length."""
    one, zero = np.float32(1.0), np.float32(0.0)
    return min(max((shortening - numbers[6]) / (numbers[7] - numbers[6]), zero), one)


@kernel
def skin_gain(numbers, light_before, light, fold_before, fold_now):
    """The factor on the colour of skin between two states of its surface."""
    turned = light / max(light_before, numbers[8])
    folded = np.float32(1.0) - numbers[5] * (fold_now - fold_before)
    return min(max(turned * folded, numbers[3]), numbers[4])


@kernel
def saturation(numbers, gain):
    """The factor on what colours differ from grey, beside the factor ``gain`` on all of them."""
    one = np.float32(1.0)
    return one + numbers[9] * max(one - gain, np.float32(0.0))
