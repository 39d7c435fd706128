"""The modulator: neutral is exact, frames see their neighbours and no more, long sequences equal short ones."""

import numpy as np
import pytest
import torch

from emo_avatar.emotion.geometry import FRAMES_AT_A_TIME, N_PARAMETERS, REACH, GeometryModulator, modulate
from emo_avatar.emotion.space import EmotionSpace

FPS = 30.0


@pytest.fixture(scope="module")
def modulator():
    torch.manual_seed(0)
    return GeometryModulator().eval()


def performance(frames, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(frames, N_PARAMETERS)).astype("f4"), rng.random((frames, 6), "f4")


def test_zero_weights_change_nothing(modulator):
    driving, weights = performance(40)
    assert np.array_equal(modulate(modulator, driving, 0 * weights, FPS), driving)


def test_the_way_from_neutral_is_continuous(modulator):
    driving, weights = performance(10)
    changes = [np.abs(modulate(modulator, driving, t * weights, FPS) - driving).max() for t in (1e-4, 1e-2, 1)]
    assert changes[0] < 0.01 * changes[2] and changes[1] < 0.2 * changes[2]


def test_a_frame_sees_as_far_as_the_layers_together_reach(modulator):
    driving, weights = performance(120)
    changed = driving.copy()
    changed[60] += 1
    moved = np.abs(modulate(modulator, changed, weights, FPS) - modulate(modulator, driving, weights, FPS)).max(1) > 0
    reach = round(len(modulator.layers) * REACH * FPS)
    assert moved[60]
    assert not moved[: 60 - reach].any() and not moved[60 + reach + 1 :].any()


def test_blocks_join_without_a_trace(modulator):
    driving, weights = performance(2 * FRAMES_AT_A_TIME + 50)
    with torch.inference_mode():
        whole = modulator(torch.from_numpy(driving)[None], torch.from_numpy(weights)[None], FPS)[0].numpy()
    assert np.allclose(modulate(modulator, driving, weights, FPS), whole, atol=1e-5)


@pytest.mark.parametrize("frames", [0, 1])
def test_empty_and_single_frames(modulator, frames):
    assert modulate(modulator, *performance(frames), FPS).shape == (frames, N_PARAMETERS)


def test_twice_the_frames_per_second_is_nearly_the_same_performance(modulator):
    driving, weights = performance(1)
    still = [np.repeat(x, 30, axis=0) for x in (driving, weights)]
    slow, fast = (modulate(modulator, *still, fps) for fps in (30.0, 60.0))
    assert np.allclose(slow[15], fast[15], atol=1e-4)


def test_projected_tokens_are_the_projection_of_tokens():
    torch.manual_seed(0)
    space, projection, weights = EmotionSpace(16), torch.nn.Linear(16, 24), torch.rand(3, 5, 6)
    assert torch.allclose(space.projected(weights, projection), projection(space(weights)), atol=1e-6)
    assert torch.equal(space(torch.zeros(6)), space.positions)
    mixture = space(torch.tensor([0.5, 0.5, 0, 0, 0, 0])) - space.positions
    assert torch.allclose(mixture, (space.table[0] + space.table[1]) / 2)
