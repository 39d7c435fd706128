"""What the matte of a person leaves open."""

import numpy as np

from emo_avatar.tracking.crop import CROP_SIZE, PortraitCrop
from emo_avatar.tracking.matte import cleaned_matte
from emo_avatar.tracking.topology import FACE_OVAL

SKIN, WALL = (180, 130, 110), (240, 245, 250)


def test_a_face_that_the_matte_loses_is_kept_with_the_hair_around_it():
    y, x = np.mgrid[:CROP_SIZE, :CROP_SIZE]
    person = np.hypot(x - 256, y - 256) < 150
    lost = np.hypot(x - 256, y - 256) < 85
    fine = (person & ~lost & (x > 200)).astype(np.float32)
    turn = np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False)
    points = np.full((478, 2), 256.0)
    points[list(FACE_OVAL)] += 100 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    rgb = np.full((CROP_SIZE, CROP_SIZE, 3), 240, np.uint8)
    everywhere = np.ones((CROP_SIZE, CROP_SIZE), bool)
    crop = PortraitCrop(rgb, everywhere, np.array([256.0, 256.0]), 200.0, np.empty((0, 4)), ())
    matte = cleaned_matte(crop, fine, fine, points)
    assert matte[np.hypot(x - 256, y - 256) < 90].min() == 1
    assert matte[person & (x > 300)].min() > 0.9, "what hangs together with the face stays"
    assert matte[~person].max() == 0


def test_gaps_that_show_the_wall_stay_open_and_errors_are_filled():
    y, x = np.mgrid[:CROP_SIZE, :CROP_SIZE]
    person = np.hypot(x - 256, y - 256) < 150
    between_curls, dark_spot, glint = (np.hypot(x - c, y - r) < 6 for c, r in ((150, 256), (362, 256), (256, 230)))
    rgb = np.where(person[..., None], SKIN, WALL).astype(np.uint8)
    rgb[between_curls | glint] = WALL
    rgb[dark_spot] = (90, 60, 50)
    fine = np.where(person & ~between_curls & ~dark_spot & ~glint, 1.0, 0.0).astype(np.float32)
    centre = np.array([256.0, 256.0])
    everywhere = np.ones((CROP_SIZE, CROP_SIZE), bool)
    crop = PortraitCrop(rgb, everywhere, centre, 218.0, np.empty((0, 4)), ())
    matte = cleaned_matte(crop, fine, person.astype(np.float32), np.zeros((478, 2)))
    assert matte[between_curls].max() == 0, "the wall is seen through"
    assert matte[dark_spot].min() == 1 and matte[glint].min() == 1, "there are no gaps in a person, and none in a face"
    assert np.array_equal(matte > 0.5, person & ~between_curls)
