"""The pad: valence and arousal, and back."""

import math

import pytest
from emo_avatar_addon.timeline import circumplex
from hypothesis import given
from hypothesis import strategies as st

ANGLES = sorted(circumplex.ANGLES.values())


@pytest.mark.parametrize("name", circumplex.ORDER)
def test_each_emotion_has_its_direction(name):
    turn = math.radians(circumplex.ANGLES[name])
    weights = dict(zip(circumplex.ORDER, circumplex.weights(math.cos(turn), math.sin(turn)), strict=True))
    assert weights.pop(name) == pytest.approx(1.0)
    assert max(weights.values()) < 1e-9


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_weights_are_weights_and_at_most_two(valence, arousal):
    weights = circumplex.weights(valence, arousal)
    assert all(0 <= weight <= 1 + 1e-9 for weight in weights)
    assert sum(weight > 1e-9 for weight in weights) <= 2
    assert sum(weights) <= min(math.hypot(valence, arousal), 1) + 1e-9


@given(st.floats(ANGLES[0], ANGLES[-1]), st.floats(0.05, 1))
def test_point_is_the_inverse_where_there_is_one(degrees, radius):
    x, y = radius * math.cos(math.radians(degrees)), radius * math.sin(math.radians(degrees))
    assert circumplex.point(circumplex.weights(x, y)) == pytest.approx((x, y), abs=1e-4)


def test_neutral_is_the_middle_and_mixtures_lie_inside():
    assert circumplex.weights(0, 0) == [0] * 6 and circumplex.point([0] * 6) == (0, 0)
    assert math.hypot(*circumplex.point([1, 1, 1, 1, 1, 1])) <= 1 + 1e-9
