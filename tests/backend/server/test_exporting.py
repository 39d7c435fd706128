"""Pictures of a performance: reduced from larger ones."""

import numpy as np

from emo_avatar.server.exporting import reduced


def test_reducing_is_the_mean_and_keeps_straight_colours():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (8, 12, 3), np.uint8)
    small = reduced(image, 4)
    assert small.shape == (2, 3, 3) and small.dtype == np.uint8
    np.testing.assert_allclose(small[0, 0], image[:4, :4].mean(axis=(0, 1)), atol=0.51)
    clear = np.zeros((2, 2, 4), np.uint8)
    clear[0, 0] = (200, 100, 0, 255)  # one pixel of four: a quarter as opaque, of the same colour
    np.testing.assert_array_equal(reduced(clear, 2), [[[200, 100, 0, 64]]])
    assert reduced(image, 1) is image
