"""Regions of a picture against what scipy and scikit-image make of them."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.draw import polygon2mask
from skimage.morphology import disk

from emo_avatar.backbones.portrait import masks
from emo_avatar.backbones.portrait.view import sample
from emo_avatar.backbones.uv.rays import DIRECTIONS, outermost, rays, unit, walk


@pytest.fixture
def blobs() -> np.ndarray:  # [90, 120] bool
    return ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((90, 120)), 4) > 0


@pytest.mark.parametrize("seed", range(5))
def test_polygons_even_those_that_cross_themselves_and_the_border(seed):
    outline = np.random.default_rng(seed).uniform(-20, 130, (9, 2)).astype(np.float32)
    assert np.array_equal(masks.polygon_mask((90, 120), outline), polygon2mask((90, 120), outline[:, ::-1]))


@pytest.mark.parametrize("radius", [1, 3, 6])
def test_masks_grow_and_wear_by_discs(blobs, radius):
    assert np.array_equal(masks.grown(blobs, radius), ndimage.binary_dilation(blobs, disk(radius)))
    assert np.array_equal(masks.worn(blobs, radius), ndimage.binary_erosion(blobs, disk(radius), border_value=1))


def test_distance_and_blur(blobs):
    np.testing.assert_allclose(masks.inset(blobs), ndimage.distance_transform_edt(blobs), atol=1e-4)
    picture = np.random.default_rng(1).uniform(size=(90, 120, 3))
    np.testing.assert_allclose(masks.blurred(picture, 1.7), ndimage.gaussian_filter(picture, (1.7, 1.7, 0)), atol=1e-5)


def test_lookup_is_bilinear_and_goes_on_outside():
    picture = np.random.default_rng(2).uniform(size=(90, 120, 3)).astype(np.float32)
    pixel = np.random.default_rng(3).uniform(-20, 140, (500, 2))
    at = pixel[:, 1] - 0.5, pixel[:, 0] - 0.5
    expected = [
        ndimage.map_coordinates(channel, at, order=1, mode="nearest") for channel in np.moveaxis(picture, -1, 0)
    ]
    np.testing.assert_allclose(sample(picture, pixel), np.stack(expected, axis=1), atol=1e-5)
    np.testing.assert_allclose(sample(picture[..., 0], pixel), expected[0], atol=1e-5)
    assert np.isfinite(sample(picture, np.array([[np.nan, np.inf], [-np.inf, 3]]))).all()


def test_rays_walk_over_gaps_and_find_the_last_of_a_mask():
    y, x = np.mgrid[:200, :200] + 0.5
    radius = np.hypot(x - 100, y - 100)
    rings = (radius < 40) | ((radius > 42.5) & (radius < 60)) | ((radius > 70) & (radius < 80))
    centre = np.array([100.0, 100.0])
    assert np.abs(outermost(rings, centre) - 80).max() < 2
    assert np.abs(walk(rings, centre, np.full(360, 20.0), gap=4) - 60).max() < 2  # the wide gap ends it, the narrow not
    assert np.abs(walk(rings, centre, np.full(360, 20.0), gap=0) - 40).max() < 2
    along = rays(rings, centre)
    at = centre + unit(DIRECTIONS)[:, None] * np.arange(along.shape[1])[None, :, None]
    outside = ((at < 0) | (at >= 200)).any(2)
    assert outside.any() and (along[outside] == 0).all()


def test_nearest_is_of_the_mask_and_about_as_near_as_any(blobs):
    row, column = masks.nearest(blobs)
    assert blobs[row, column].all()
    y, x = np.mgrid[:90, :120]
    away, least = np.hypot(row - y, column - x), ndimage.distance_transform_edt(~blobs)
    assert (away <= 1.05 * least + 1e-6).all()
