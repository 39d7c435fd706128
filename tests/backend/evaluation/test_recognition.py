"""The recognisers see what people see on photographs, and the bookkeeping is right."""

import numpy as np
import pytest
import torch

from emo_avatar.backbones.make import Backbone
from emo_avatar.evaluation.held_out import cases
from emo_avatar.evaluation.recognisers import LABELS, load_recognisers
from emo_avatar.evaluation.recognition import (
    YAWS,
    LabelledFace,
    Recognition,
    avatar_faces,
    face_crop,
    people_faces,
    portrait_faces,
    recognise,
    total,
)


@pytest.fixture(scope="module")
def portraits():
    return portrait_faces()


def test_real_emotions_are_recognised(portraits):
    """Pre-processing or a layer gone wrong costs far more than these margins."""
    face_api, fer = recognise(portraits)
    assert face_api.confusion.sum() == fer.confusion.sum() == 35
    assert face_api.accuracy >= 0.8
    assert fer.accuracy >= 0.75


def test_recognisers_take_batches():
    torch.manual_seed(0)
    crops = torch.rand(3, 3, 192, 192)
    for recogniser in load_recognisers():
        together = recogniser(crops)
        assert together.shape == (3, len(LABELS))
        assert torch.allclose(together.sum(1), torch.ones(3), atol=1e-5)
        assert torch.allclose(together[1], recogniser(crops[1:2])[0], atol=1e-5)


def test_a_picture_without_a_face_counts_as_not_recognised():
    blank = LabelledFace("nobody", "happy", np.full((64, 64, 3), 128, np.uint8))
    for result in recognise([blank]):
        assert result.confusion[LABELS.index("happy"), -1] == 1
        assert result.accuracy == 0


def test_crops_are_square_and_black_beyond_the_picture():
    rgb = np.full((50, 80, 3), 255, np.uint8)
    landmarks = np.array([[-10.0, 10.0, 0], [30.0, 40.0, 0]])
    crop = face_crop(rgb, landmarks, 1.0)
    assert crop.shape[2] == crop.shape[3]
    assert crop[0, :, 96, 10].max() == 0 and crop[0, :, 96, 180].min() == 1


def test_numbers_of_a_confusion_matrix():
    confusion = np.zeros((7, 8), int)
    confusion[np.arange(7), np.arange(7)] = 3
    confusion[5] = [0, 0, 0, 0, 0, 1, 2, 0]
    result = Recognition("fer", confusion)
    assert result.accuracy == pytest.approx(19 / 21)
    assert result.failing == ("fear",)
    both = total([(result,), (result,)])[0]
    assert both.confusion.sum() == 42 and both.accuracy == result.accuracy


def test_invented_people_show_every_emotion():
    faces = list(people_faces(cases(1, 1), Backbone("uv", learned=False, refine=0)))
    assert [face.emotion for face in faces] == [label for label in LABELS for _ in YAWS]
    neutral, happy = (faces[LABELS.index(label) * len(YAWS)].rgb.astype(int) for label in ("neutral", "happy"))
    assert np.abs(neutral - happy).max() > 60
    assert all(result.recall["happy"] == 1 for result in recognise([faces[LABELS.index("happy") * len(YAWS)]]))


def test_without_both_paths_every_emotion_is_the_neutral_face(painted_avatar):
    neutral, *others = avatar_faces(painted_avatar, yaws=(0.0,), size=96, geometry=False, appearance=False)
    assert len(others) == len(LABELS) - 1
    assert all(np.array_equal(face.rgb, neutral.rgb) for face in others)
    moved = list(avatar_faces(painted_avatar, yaws=(0.0,), size=96))
    assert not np.array_equal(moved[1].rgb, neutral.rgb)
