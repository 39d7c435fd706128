"""Real photographs, whole and abused."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from emo_avatar import assets
from emo_avatar.errors import UserError
from emo_avatar.head.data import ARKIT_NAMES
from emo_avatar.tracking.fit import inner_face, landmark_error
from emo_avatar.tracking.landmark_model import landmark_points
from emo_avatar.tracking.portrait import track_portrait
from emo_avatar.tracking.report import PANEL, tracking_sheet


@pytest.fixture(scope="module")
def woman():  # [512, 512, 3] uint8
    photo = Image.open(assets.fetch("openpeople/P001/studio_portrait.jpg"))
    return np.array(photo.resize((512, 512), Image.Resampling.BOX))


def refusal(picture, **options):
    with pytest.raises(UserError) as caught:
        track_portrait(picture, **options)
    return str(caught.value)


def resized(picture, width, height):
    return np.array(Image.fromarray(picture).resize((width, height)))


def test_fields_and_their_frames(tracked_astronaut, open_head):
    t = tracked_astronaut
    shapes = {
        "rgb": (512, 512, 3), "matte": (512, 512), "landmarks": (478, 2), "blendshapes": (52,), "shape": (300,),
        "expression": (100,), "jaw_pose": (3,), "eyes_pose": (6,), "rotation": (3,), "translation": (3,),
        "static_offset": open_head.v_template.shape,
    }  # fmt: skip
    for name, shape in shapes.items():
        assert getattr(t, name).shape == shape, name
        assert np.isfinite(getattr(t, name)).all(), name
    assert t.rgb.dtype == np.uint8 and t.matte.min() >= 0 and t.matte.max() <= 1
    projected, depth = t.camera.project(landmark_points(open_head, t.vertices(open_head)))
    assert 0.5 < depth.min() < depth.max() < 2
    assert t.landmark_error == pytest.approx(landmark_error(projected, t.landmarks, open_head.landmarks478), abs=1e-5)
    assert t.blendshapes[ARKIT_NAMES.index("mouthSmileLeft")] > 0.5


@pytest.mark.parametrize(
    "photo", ["grace_hopper.jpg", "openpeople/P002/studio_portrait.jpg", "openpeople/P005/studio_portrait.jpg"]
)
def test_landmarks_meet(photo, open_head):
    tracked = track_portrait(assets.fetch(photo), open_head)
    assert tracked.landmark_error < 0.008
    assert np.sqrt((tracked.shape[:150] ** 2).mean()) < 1.2, "a likely person"
    assert np.abs(tracked.static_offset).max() < 0.005


def test_the_matte_holds_the_person_and_nothing_else(tracked_astronaut, open_head):
    t = tracked_astronaut
    face = t.landmarks.astype(int)
    inner = inner_face(open_head.landmarks478)
    assert (t.matte[face[inner, 1], face[inner, 0]] > 0.98).all()
    assert t.matte[:250, :40].max() < 0.02 and t.matte[:300, -40:].max() < 0.02, "background on both sides of the head"
    assert 0.3 < t.matte.mean() < 0.6


def test_beyond_the_edge_there_is_nobody(woman):
    assert track_portrait(woman[:400]).matte[-20:].max() == 0


def test_hair_that_the_picture_cuts_is_mentioned(woman):
    assert track_portrait(woman).notes == (), "hers ends just below the edge"
    tracked = track_portrait(assets.fetch("openpeople/P004/studio_portrait.jpg"))
    assert tracked.notes == ("The top of the hair is cut off by the edge of the picture, and so it is on the avatar.",)


def test_the_largest_of_several_faces(woman, astronaut):
    tall = np.concatenate([woman, np.full((188, 512, 3), 128, np.uint8)])
    both = np.concatenate([tall, resized(astronaut[:300, 60:360], 700, 700)], axis=1)
    tracked = track_portrait(both)
    assert tracked.notes[0].startswith("2 faces were found; the largest, on the right of the picture, was taken.")
    assert tracked.blendshapes[ARKIT_NAMES.index("mouthSmileLeft")] > 0.5, "the astronaut smiles, the woman does not"
    left = both[:, :900]  # only half of the astronaut
    assert track_portrait(left).blendshapes[ARKIT_NAMES.index("mouthSmileLeft")] < 0.3


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_picture_on_its_side(woman, turns):
    turned = track_portrait(np.rot90(woman, turns))
    assert "turned" in turned.notes[0]
    assert turned.landmarks[10, 1] < turned.landmarks[152, 1] - 150, "the forehead is above the chin"
    assert turned.landmark_error < 0.008


def test_faces_that_the_whole_picture_does_not_show(woman):
    small = np.full((2600, 2600, 3), 90, np.uint8)
    small[900:1412, 300:812] = woman
    long = np.full((400, 4000, 3), 200, np.uint8)
    long[:, 3000:3400] = resized(woman, 400, 400)
    for picture in (small, long):
        assert track_portrait(picture).landmark_error < 0.008


def test_grey_dark_and_coarse_pictures(woman):
    grey = np.array(Image.fromarray(woman).convert("L"))
    for picture in (grey, woman // 8, resized(resized(woman, 70, 70), 2000, 2000)):
        assert track_portrait(picture).landmark_error < 0.008


def test_refusals(woman):
    rng = np.random.default_rng(0)
    assert "No face was found" in refusal(rng.integers(0, 255, (300, 300, 3), dtype=np.uint8))
    assert "pixels high" in refusal(resized(woman, 96, 96))
    assert "1 x 1 pixels" in refusal(np.zeros((1, 1, 3), np.uint8))
    assert "very long" in refusal(np.zeros((100, 3000, 3), np.uint8))
    assert "cut off" in refusal(woman[:, 205:])


def test_a_profile_is_refused_with_its_angle():
    sheet = np.array(Image.open(assets.fetch("openpeople/P003/character_sheet.jpg")))
    assert "too near to a profile" in refusal(sheet[138:642, 1854:2334])


def test_a_half_covered_face_is_mentioned(woman):
    covered = woman.copy()
    covered[:, :256] = (120, 90, 60)
    assert any("covered" in note for note in track_portrait(covered).notes)


def test_a_head_without_landmarks(woman, open_head):
    assert "no landmarks" in refusal(woman, head=replace(open_head, landmarks478=None))


def test_the_report_shows_landmarks_and_mesh(tracked_astronaut, open_head):
    sheet = tracking_sheet(tracked_astronaut, open_head)
    assert sheet.shape == (2 * PANEL, 3 * PANEL, 3) and sheet.dtype == np.uint8
    landmarks, contours, _ = np.split(sheet[:PANEL], 3, axis=1)
    assert (landmarks == (80, 255, 80)).all(2).sum() > 400, "detected landmarks"
    assert (contours == (255, 230, 60)).all(2).sum() > 300, "contours of the mesh"
