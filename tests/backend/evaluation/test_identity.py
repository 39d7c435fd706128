import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from emo_avatar import assets
from emo_avatar.evaluation.identity import (
    align_face,
    embed_face,
    five_points,
    identity_similarity,
    similarity_transform,
)
from emo_avatar.tracking.landmarks import detect_faces

SAME_PERSON = 0.363  # the network authors' threshold


def read(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A test portrait and its landmarks."""
    with Image.open(assets.fetch(name)) as image:
        rgb = np.asarray(image.convert("RGB"))
    return rgb, detect_faces(rgb)[0].points


@pytest.mark.parametrize("name", ["astronaut.png", "grace_hopper.jpg"])
def test_agrees_with_opencv(name: str) -> None:
    rgb, landmarks = read(name)
    recogniser = cv2.FaceRecognizerSF.create(str(assets.fetch("sface.onnx")), "")
    box = [0, 0, 1, 1]
    points = five_points(landmarks) - 0.5  # OpenCV has pixel centres at integers
    aligned = recogniser.alignCrop(rgb[..., ::-1].copy(), np.array([[*box, *points.ravel(), 1]], np.float32))
    assert np.abs(aligned[..., ::-1].astype(int) - align_face(rgb, five_points(landmarks))).mean() < 1
    feature = recogniser.feature(aligned)[0]
    assert embed_face(rgb, landmarks) @ feature / np.linalg.norm(feature) > 0.995


def test_tells_people_apart() -> None:
    portrait, selfie = (read(f"openpeople/P001/{picture}.jpg") for picture in ("studio_portrait", "amateur_selfie"))
    other = read("openpeople/P003/studio_portrait.jpg")
    assert identity_similarity(*portrait, *portrait) == pytest.approx(1, abs=1e-5)
    assert identity_similarity(*portrait, *selfie) > 0.6 > SAME_PERSON
    assert identity_similarity(*portrait, *other) < SAME_PERSON


@settings(max_examples=30)
@given(
    angle=st.floats(-3, 3), scale=st.floats(0.1, 10), shift=st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
    seed=st.integers(0, 2**16),
)  # fmt: skip
def test_similarity_transform_is_exact_where_one_exists(angle: float, scale: float, shift: tuple, seed: int) -> None:
    source = np.random.default_rng(seed).random((5, 2)) * 100
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    target = scale * source @ rotation.T + shift
    transform = similarity_transform(source, target)
    np.testing.assert_allclose(source @ transform[:, :2].T + transform[:, 2], target, atol=1e-6)
