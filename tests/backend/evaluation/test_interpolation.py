"""Paths between emotions: how evenness is measured, and that an avatar's path is judged in full."""

import numpy as np
import pytest

from emo_avatar.evaluation import interpolation
from emo_avatar.evaluation.interpolation import PathReport, largest_difference, rows


def test_an_even_path_has_even_steps_and_a_jump_shows():
    even = [np.full((8, 8, 3), 10 * i, np.uint8) for i in range(10)]
    assert largest_difference(even) == pytest.approx(1)
    jump = [*even[:5], *(frame + np.uint8(60) for frame in even[5:])]
    assert largest_difference(jump) > 3


def test_verdicts():
    good = PathReport("a", ("happy", "neutral", "sad"), {"r": (0.0, 0.04)}, 1.5, 0.8)
    assert good.passed
    for change in ({"reversals": {"r": (0.06, 0)}}, {"largest_step": 3.5}, {"least_identity": 0.5}):
        assert not PathReport(**{**good.__dict__, **change}).passed
    assert rows([good])[1] == ["a", "happy, neutral, sad", "0.040", "1.50 x", "0.80", "holds"]


def test_a_path_on_an_avatar(monkeypatch, painted_avatar):
    monkeypatch.setattr(interpolation, "path_weights", lambda path: np.linspace(0, 1, 7)[:, None] * np.eye(6)[0])
    (report,) = interpolation.interpolate(painted_avatar, (("neutral", "happy"),))
    assert report.largest_step < 3 and set(report.reversals) == {"face-api", "fer"}
    assert np.isnan(report.least_identity) and not report.passed  # nobody would take the painted head for a face
