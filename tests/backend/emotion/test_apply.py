"""Emotion on a sequence: neutral is untouched, every head gets the same emotion in its own terms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from emo_avatar.data.speech import utterance
from emo_avatar.emotion.apply import apply_emotions
from emo_avatar.emotion.geometry import SPACE, WEIGHTS_PATH, expression_fingerprint, load_modulator
from emo_avatar.errors import UserError
from emo_avatar.head.data import load_head
from emo_avatar.head.model import HeadModel
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.training.geometry import GeometryTraining, training_fingerprint

HEAD = load_head()
SPEECH = utterance(7, 1.0, 30.0)


def weights(emotion, level=1.0, frames=30):
    values = np.zeros((frames, 6), np.float32)
    values[:, EMOTIONS.index(emotion)] = level
    return values


def vertices(head, sequence):
    with torch.inference_mode():
        return HeadModel(head)(
            expression=torch.from_numpy(sequence.expression), jaw_pose=torch.from_numpy(sequence.jaw_pose)
        ).vertices.numpy()


@pytest.fixture(scope="module")
def other_head():
    """The open head with its expression space turned, as different from the open one as a file can be."""
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(100, 100)))
    shapedirs = HEAD.shapedirs.copy()
    shapedirs[:, :, 300:] = HEAD.shapedirs[:, :, 300:] @ turn
    return replace(HEAD, name="turned", shapedirs=shapedirs, arkit_to_expr=(HEAD.arkit_to_expr @ turn).astype("f4"))


def test_the_shipped_weights_belong_to_the_shipped_head_recipes_and_settings():
    """When this fails one of them has changed: `emo-avatar train geometry`."""
    with safe_open(WEIGHTS_PATH, "np") as file:
        assert file.metadata()[SPACE] == expression_fingerprint(HEAD)
        assert file.metadata()["fingerprint"] == training_fingerprint(HEAD, GeometryTraining())
    assert WEIGHTS_PATH.stat().st_size < 20e6


def test_weights_of_another_expression_space_are_refused(other_head):
    with pytest.raises(UserError, match="another expression basis than the head turned"):
        load_modulator(other_head)


def test_no_emotion_is_no_change():
    assert apply_emotions(HEAD, SPEECH, np.zeros((30, 6))) is SPEECH


def test_all_but_expression_and_jaw_is_left_to_the_driving_motion():
    angry = apply_emotions(HEAD, SPEECH, weights("angry"))
    for name in ("shape", "rotation", "neck_pose", "eyes_pose", "translation"):
        assert np.array_equal(getattr(angry, name), getattr(SPEECH, name))
    assert not np.allclose(angry.expression, SPEECH.expression)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_another_head_shows_the_same_emotion(emotion, other_head):
    own = replace(SPEECH, expression=SPEECH.expression @ np.linalg.pinv(HEAD.arkit_to_expr) @ other_head.arkit_to_expr)
    reference = vertices(HEAD, apply_emotions(HEAD, SPEECH, weights(emotion)))
    shown = vertices(other_head, apply_emotions(other_head, own, weights(emotion)))
    moved = np.linalg.norm(reference - vertices(HEAD, SPEECH), axis=-1).max()
    error = np.linalg.norm(shown - reference, axis=-1).max()
    assert error < 0.15 * moved


def test_weights_of_the_wrong_length_are_refused():
    with pytest.raises(ValueError, match="shape"):
        apply_emotions(HEAD, SPEECH, np.zeros((29, 6)))
