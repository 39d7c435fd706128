import subprocess
import sys

import numpy as np

from emo_avatar.head.data import ARKIT_NAMES
from emo_avatar.tracking import landmarks
from emo_avatar.tracking.landmarks import detect_faces, refine_face
from emo_avatar.tracking.topology import (
    ARKIT_MIRROR,
    FACE_OVAL,
    IRISES,
    LEFT_BROW,
    LEFT_EYE,
    LIPS,
    MIDLINE,
    MIRROR,
    RIGHT_BROW,
    RIGHT_EYE,
)


def test_the_mirror_exchanges_left_and_right():
    assert (MIRROR[MIRROR] == np.arange(478)).all()
    assert set(np.flatnonzero(np.arange(478) == MIRROR)) == set(MIDLINE)
    for right, left in ((RIGHT_EYE, LEFT_EYE), (RIGHT_BROW, LEFT_BROW)):
        assert set(MIRROR[list(right)]) == set(left)
    for own in (LIPS, FACE_OVAL, IRISES):
        assert set(MIRROR[list(own)]) == set(own)
    assert ARKIT_NAMES[ARKIT_MIRROR[ARKIT_NAMES.index("mouthSmileLeft")]] == "mouthSmileRight"
    assert (ARKIT_MIRROR[ARKIT_MIRROR] == np.arange(52)).all()


def test_a_smiling_face(astronaut):
    (face,) = detect_faces(astronaut)
    assert face.points.shape == (478, 3) and face.blendshapes.shape == (52,)
    assert face.blendshapes[ARKIT_NAMES.index("mouthSmileLeft")] > 0.5
    right_iris, left_iris = face.points[468], face.points[473]
    assert right_iris[0] < left_iris[0], "the subject's right eye is on the left of the picture"
    x0, y0, x1, y1 = face.box
    assert 150 < x0 < x1 < 300 and 50 < y0 < y1 < 200


def test_refining_is_symmetric(astronaut):
    """A picture and its mirror image give mirrored landmarks, which a single detection does not."""
    crop = astronaut[:256, 96:352]
    face, mirrored = refine_face(crop, np.array([128, 128])), refine_face(crop[:, ::-1], np.array([128, 128]))
    np.testing.assert_allclose(face.points[:, 0], 256 - mirrored.points[MIRROR, 0], atol=1e-3)
    np.testing.assert_allclose(face.blendshapes, mirrored.blendshapes[ARKIT_MIRROR], atol=1e-5)
    assert 0 < face.doubt < 2


def test_no_face():
    assert detect_faces(np.full((64, 64, 3), 90, np.uint8)) == []
    assert refine_face(np.full((64, 64, 3), 90, np.uint8), np.array([32, 32])) is None


def test_a_process_that_detects_prints_nothing():
    program = (
        "import numpy as np; from emo_avatar.tracking.landmarks import detect_faces; "
        "detect_faces(np.zeros((64, 64, 3), np.uint8))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_face_that_is_missed_is_looked_for_in_the_mirror(astronaut, monkeypatch):
    """The same points as in the mirror image, put back; and nothing where there is nothing."""
    straight = landmarks.detect_faces
    monkeypatch.setattr(landmarks, "detect_faces", lambda rgb: [] if rgb is astronaut else straight(rgb))
    found, (usual,) = landmarks.find_face(astronaut), straight(astronaut)
    assert np.abs(found.points[:, :2] - usual.points[:, :2]).max() < 12
    assert found.points[468, 0] < found.points[473, 0], "the subject's right eye is on the left of the picture"
    assert landmarks.find_face(np.zeros((64, 64, 3), np.uint8)) is None
