"""The recipes that are shipped."""

import json

import numpy as np
import pytest
import torch

from emo_avatar.emotion.recipes import RECIPES_PATH, load_recipes
from emo_avatar.head.arkit import flame_from_arkit
from emo_avatar.head.data import ARKIT_NAMES, load_head
from emo_avatar.head.model import HeadModel
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import rasterize_mesh
from emo_avatar.training.eye_region import heights
from emo_avatar.training.recipes import Synthesis

# What nobody would do without, by EMFACS.
ESSENTIAL = {
    "happy": ("mouthSmileLeft", "cheekSquintLeft"),
    "sad": ("browInnerUp", "mouthFrownLeft"),
    "angry": ("browDownLeft", "eyeSquintLeft"),
    "disgust": ("noseSneerLeft", "mouthUpperUpLeft"),
    "fear": ("browInnerUp", "eyeWideLeft", "mouthStretchLeft"),
    "surprised": ("browInnerUp", "browOuterUpLeft", "jawOpen", "eyeWideLeft"),
}


def test_recipes_hold_what_faces_cannot_do_without():
    for emotion, recipe in zip(EMOTIONS, load_recipes(), strict=True):
        assert recipe.emotion == emotion
        assert recipe.shares.sum() == pytest.approx(1)
        for style in recipe.weights:
            assert all(style[ARKIT_NAMES.index(name)] > 0.2 for name in ESSENTIAL[emotion]), emotion


def test_recipes_keep_both_sides_of_the_face_alike():
    for recipe in load_recipes():
        for i, name in enumerate(ARKIT_NAMES):
            if name.endswith("Left"):
                assert np.array_equal(recipe.weights[:, i], recipe.weights[:, ARKIT_NAMES.index(name[:-4] + "Right")])


def test_recipes_leave_gaze_to_the_driving_motion():
    look = [i for i, name in enumerate(ARKIT_NAMES) if name.startswith("eyeLook")]
    assert all(not recipe.weights[:, look].any() for recipe in load_recipes())


@pytest.mark.parametrize("seed", range(3))
def test_no_emotion_buries_the_eyes(seed):
    """On people with brows of their own: what is seen of the eyeballs from the front, against the face at rest."""
    head = load_head()
    shape = np.zeros(300, np.float32)
    shape[:40] = np.random.default_rng(seed).normal(0, 0.6, 40)
    model, eyes = HeadModel(head), head.part("eye_left") | head.part("eye_right")
    seen_faces, solid = eyes[head.faces].all(1), ~head.part("lashes")[head.faces].any(1)

    def seen(weights):
        expression, jaw, _ = (torch.from_numpy(x)[None] for x in flame_from_arkit(head, weights))
        with torch.inference_mode():
            vertices = (
                model(shape=torch.from_numpy(shape)[None], expression=expression, jaw_pose=jaw).vertices[0].numpy()
            )
        camera = Camera.orbit(vertices[eyes].mean(0), 1.0, fov=7, size=256)
        shown = rasterize_mesh(vertices, head.faces, camera, face_mask=solid).face
        return seen_faces[shown[shown >= 0]].sum()

    least = {"happy": 0.7, "sad": 0.8, "angry": 0.8, "disgust": 0.6, "fear": 1.2, "surprised": 1.2}
    at_rest = seen(np.zeros(len(ARKIT_NAMES), np.float32))
    for recipe in load_recipes():
        assert seen(recipe.mean) / at_rest > least[recipe.emotion], recipe.emotion


def test_brows_come_down_little_farther_than_people_s():
    """On photographs of anger and disgust brows keep about four fifths of their height above the eyes."""
    landmarks = Synthesis(load_head()).landmarks
    at_rest = heights(landmarks(np.zeros(len(ARKIT_NAMES), np.float32)))
    for recipe in load_recipes():
        brows = (heights(landmarks(recipe.mean)) / at_rest)[1:]
        assert brows.min() > 0.65, recipe.emotion


def test_another_version_is_refused(tmp_path):
    document = json.loads(RECIPES_PATH.read_text(encoding="utf-8")) | {"version": 99}
    (tmp_path / "recipes.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ValueError, match="version 99"):
        load_recipes(tmp_path / "recipes.json")
