"""PNGs of our own, as another program reads them."""

import numpy as np
from emo_avatar_addon.export.png import straight, write_png
from PIL import Image


def test_pictures_come_back_pixel_by_pixel(tmp_path):
    rgba = np.random.default_rng(0).integers(0, 256, (33, 17, 4), np.uint8)
    write_png(tmp_path / "a.png", rgba)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(image), rgba)


def test_alpha_is_taken_out_of_the_colours():
    rgba = np.array([[[64, 0, 128, 128], [0, 0, 0, 0], [10, 20, 30, 255]]], np.uint8)
    np.testing.assert_array_equal(straight(rgba), [[[128, 0, 255, 128], [0, 0, 0, 0], [10, 20, 30, 255]]])
