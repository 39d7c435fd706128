import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from emo_avatar.evaluation.image import over, psnr, ssim


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), noise=st.floats(0.01, 0.5))
def test_agrees_with_scikit_image(seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    a = rng.random((40, 48, 3))
    b = np.clip(a + rng.normal(0, noise, a.shape), 0, 1)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1))
    _, reference_map = structural_similarity(
        a, b, channel_axis=2, data_range=1, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    assert ssim(a, b) == pytest.approx(reference_map.mean(), abs=1e-6)


def test_uint8_and_float_pictures_mean_the_same() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    assert psnr(a, b) == pytest.approx(psnr(a / 255, b / 255))
    assert ssim(a, b) == pytest.approx(ssim(a / 255, b / 255))


def test_only_what_the_weight_covers_counts() -> None:
    rng = np.random.default_rng(0)
    a = rng.random((64, 64, 3))
    b = a.copy()
    b[:, 32:] = rng.random((64, 32, 3))
    inside = np.zeros((64, 64))
    inside[:, :16] = 1
    assert psnr(a, b, inside) == math.inf
    assert ssim(a, b, inside) == pytest.approx(1)
    half = np.zeros((64, 64))
    half[:, 32:] = 0.5  # a uniform weight is no weight at all
    assert psnr(a, b, half) == pytest.approx(psnr(a[:, 32:], b[:, 32:]))


def test_a_weight_of_zero_everywhere_is_refused() -> None:
    a = np.zeros((16, 16, 3))
    with pytest.raises(ValueError, match="no pixel"):
        psnr(a, a, np.zeros((16, 16)))


def test_over_keeps_the_inside_and_hides_the_outside() -> None:
    alpha = np.zeros((8, 8))
    alpha[2:5] = 1
    image = np.random.default_rng(0).random((8, 8, 3))
    laid = over(image, alpha, background=0.25)
    np.testing.assert_allclose(laid[2:5], image[2:5])
    np.testing.assert_allclose(laid[5:], 0.25)
