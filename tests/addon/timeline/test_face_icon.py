"""The drawn previews."""

import itertools

import numpy as np
from emo_avatar_addon.timeline import face_icon


def test_faces_differ_and_stay_in_their_circle():
    faces = [face_icon.draw(weights) for weights in [np.zeros(6), *np.eye(6)]]
    for face in faces:
        assert face.shape == (face_icon.SIZE, face_icon.SIZE, 4) and face.min() >= 0 and face.max() <= 1
        assert face[0, 0, 3] == 0 and face[face_icon.SIZE // 2, face_icon.SIZE // 2, 3] == 1
    assert all(np.abs(a - b).mean() > 0.01 for a, b in itertools.combinations(faces, 2))
