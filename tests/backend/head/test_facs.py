"""Action units: notation, table, and the way back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_avatar.errors import UserError
from emo_avatar.head.data import ARKIT_NAMES
from emo_avatar.head.facs import (
    FACS_NAMES,
    FACS_READABLE,
    FACS_TO_ARKIT,
    arkit_from_facs,
    facs_code,
    facs_from_arkit,
)


def shown(code):
    weights = arkit_from_facs(facs_code(code))
    return {ARKIT_NAMES[i]: pytest.approx(weights[i]) for i in np.flatnonzero(weights)}


def test_codes_in_facs_notation():
    assert shown("1C + 4") == {"browInnerUp": 0.6, "browDownLeft": 1, "browDownRight": 1}
    assert shown("L12B+R14") == {"mouthSmileLeft": 0.4, "mouthDimpleRight": 1}
    assert shown("au45e") == {"eyeBlinkLeft": 1, "eyeBlinkRight": 1}
    assert shown("R46") == {"eyeBlinkRight": 1}
    assert shown("L30") == {"jawLeft": 1}


def test_units_of_the_middle_have_no_sides():
    assert shown("17") == shown("L17") == {"mouthShrugLower": 1, "mouthShrugUpper": 0.5}
    assert shown("23")["mouthPressRight"] == 0.3


@given(seed=st.integers(0, 2**32 - 1), density=st.floats(0, 1))
def test_readable_units_come_back(seed, density):
    rng = np.random.default_rng(seed)
    n = len(FACS_NAMES)
    intensities = (rng.random(n) * (rng.random(n) < density) * FACS_READABLE).astype(np.float32)
    back = facs_from_arkit(arkit_from_facs(intensities))
    assert np.abs(back - intensities).max() < 1e-3


def test_every_shape_but_the_sideways_ones_is_reached():
    missing = {ARKIT_NAMES[i] for i in np.flatnonzero(np.abs(FACS_TO_ARKIT).sum(0) == 0)}
    assert missing == {
        "mouthLeft", "mouthRight",
        "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight",
    }  # fmt: skip


@pytest.mark.parametrize("code", ["", "smile", "12F", "99", "12++6", "L", "3"])
def test_bad_codes(code):
    with pytest.raises(UserError, match="action unit|Action unit"):
        facs_code(code)
