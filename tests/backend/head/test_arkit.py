"""ARKit weights to FLAME and back: the round trip is the identity wherever a face can tell."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from emo_avatar.head.arkit import (
    arkit_from_flame,
    arkit_weights,
    flame_from_arkit,
    parameter_metric,
    pose_jacobian,
)
from emo_avatar.head.data import ARKIT_NAMES, load_head
from emo_avatar.head.model import HeadModel

HEAD = load_head()
SIDES = ("Left", "Right")
OPPOSITES = [
    ("jawLeft", "jawRight"),
    *((f"eyeLookUp{side}", f"eyeLookDown{side}") for side in SIDES),
    *((f"eyeLookIn{side}", f"eyeLookOut{side}") for side in SIDES),
]


def without_opposites(weights):
    """The same weights with at most one of each pair of opposite units, the only ones that a face cannot tell."""
    weights = weights.copy()
    for first, second in OPPOSITES:
        i, j = ARKIT_NAMES.index(first), ARKIT_NAMES.index(second)
        weights[..., j] = np.where(weights[..., i] > 0, 0, weights[..., j])
    return weights


def test_every_unit_comes_back_alone():
    units = np.eye(len(ARKIT_NAMES), dtype=np.float32)
    back = arkit_from_flame(HEAD, *flame_from_arkit(HEAD, units))
    exists = np.abs(HEAD.arkit_to_expr).sum(1) + np.abs(HEAD.arkit_to_pose).sum(1) > 0
    assert np.abs(back[exists] - units[exists]).max() < 1e-3
    assert not back[~exists].any(), "a unit that the head does not have stays at zero"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 40), density=st.floats(0, 1))
def test_round_trip(seed, frames, density):
    rng = np.random.default_rng(seed)
    weights = rng.random((frames, 52)) * (rng.random((frames, 52)) < density)
    weights = without_opposites(weights.astype(np.float32))
    exists = np.abs(HEAD.arkit_to_expr).sum(1) + np.abs(HEAD.arkit_to_pose).sum(1) > 0
    back = arkit_from_flame(HEAD, *flame_from_arkit(HEAD, weights))
    assert np.abs(back - weights)[:, exists].max() < 1e-3


def test_opposite_units_do_not_cancel_each_other():
    both = arkit_weights(jawLeft=0.7, jawRight=0.2)
    back = arkit_from_flame(HEAD, *flame_from_arkit(HEAD, both))
    assert back[ARKIT_NAMES.index("jawLeft")] == pytest.approx(0.5, abs=1e-3)
    assert back[ARKIT_NAMES.index("jawRight")] == pytest.approx(0, abs=1e-3)


def test_faces_out_of_reach_get_the_best_bounded_answer():
    rng = np.random.default_rng(1)
    expression = rng.normal(0, 1.5, (20, 100)).astype(np.float32)
    weights = arkit_from_flame(HEAD, expression, np.zeros((20, 3)), np.zeros((20, 6)))
    assert weights.min() >= 0 and weights.max() <= 1
    units = np.concatenate([HEAD.arkit_to_expr, HEAD.arkit_to_pose], axis=1).astype(float)
    root = np.linalg.cholesky(parameter_metric(HEAD) + 1e-12 * np.eye(109)).T
    for psi, w in zip(expression, weights, strict=True):
        target = root @ np.concatenate([psi, np.zeros(9)])
        best = lsq_linear(root @ units.T, target, (0, 1)).cost
        ours = 0.5 * np.sum((root @ units.T @ w - target) ** 2)
        assert ours <= best * (1 + 1e-4)


def test_bounds_can_be_widened_for_exaggerated_faces():
    strong = arkit_weights(mouthSmile=1.8, browOuterUp=-0.4)
    back = arkit_from_flame(HEAD, *flame_from_arkit(HEAD, strong), lower=-1, upper=2)
    assert np.abs(back - strong).max() < 2e-3


def test_pose_jacobian_is_the_models_derivative():
    model = HeadModel(HEAD).double()

    def posed(pose):
        return model(jaw_pose=pose[None, :3], eyes_pose=pose[None, 3:]).vertices.reshape(-1)

    step = 1e-5
    for i, column in enumerate(pose_jacobian(HEAD).T):
        pose = torch.zeros(9, dtype=torch.float64)
        pose[i] = step
        with torch.no_grad():
            numeric = (posed(pose) - posed(-pose)) / (2 * step)
        assert np.abs(numeric.numpy() - column).max() < 1e-5


def test_names_without_a_side_mean_both():
    assert np.flatnonzero(arkit_weights(eyeBlink=0.5, jawOpen=1)).tolist() == [0, 7, 17]
    with pytest.raises(KeyError, match="smile"):
        arkit_weights(smile=1)
