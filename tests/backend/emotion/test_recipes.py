"""The recipes that are shipped."""

import json

import numpy as np
import pytest

from emo_avatar.emotion.recipes import RECIPES_PATH, load_recipes
from emo_avatar.head.data import ARKIT_NAMES
from emo_avatar.motion.timeline import EMOTIONS

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


def test_another_version_is_refused(tmp_path):
    document = json.loads(RECIPES_PATH.read_text(encoding="utf-8")) | {"version": 99}
    (tmp_path / "recipes.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ValueError, match="version 99"):
        load_recipes(tmp_path / "recipes.json")
