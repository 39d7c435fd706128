"""Whether two pictures show the same person: cosine of SFace embeddings (Zhong et al. 2021).

The same person scores above 0.363 in the network authors' own tests; photograph and good render score near 1.
"""

from __future__ import annotations

import functools

import numpy as np
import onnxruntime
from PIL import Image

from emo_avatar import assets

SIZE = 112  # pixels of the network's input
# Where the network's training pictures (ArcFace's alignment) have the right eye, left eye, nose tip, right and left
# corner of the mouth; "right" is the subject's, on the left of the picture. Published with pixel centres at integers,
# here they lie at half integers.
TEMPLATE = 0.5 + np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
# The same five points from MediaPipe's 478. Eyes are the middle of their corners, which gaze does not move.
RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS = (33, 133), (362, 263)
NOSE_TIP, RIGHT_MOUTH_CORNER, LEFT_MOUTH_CORNER = 4, 61, 291


def identity_similarity(
    a: np.ndarray,  # [H, W, 3] uint8
    landmarks_a: np.ndarray,  # [478, 2 or 3] px, of MediaPipe
    b: np.ndarray,  # [H', W', 3] uint8
    landmarks_b: np.ndarray,  # [478, 2 or 3] px
) -> float:
    """Cosine between the embeddings of two faces, -1 to 1."""
    return float(embed_face(a, landmarks_a) @ embed_face(b, landmarks_b))


def embed_face(rgb: np.ndarray, landmarks: np.ndarray) -> np.ndarray:  # [H, W, 3] uint8, [478, 2+] px -> [128]
    """SFace's embedding of a face, of unit length."""
    aligned = align_face(rgb, five_points(landmarks))
    blob = aligned.astype(np.float32).transpose(2, 0, 1)[None]  # RGB, 0 to 255; the network normalises
    session = _session()
    (embedding,) = session.run(None, {session.get_inputs()[0].name: blob})
    return embedding[0] / np.linalg.norm(embedding[0])


def five_points(landmarks: np.ndarray) -> np.ndarray:  # [478, 2+] px -> [5, 2] px, in TEMPLATE's order
    """The points that faces are aligned by."""
    points = landmarks[:, :2]
    eyes = [points[list(corners)].mean(axis=0) for corners in (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)]
    return np.stack([*eyes, points[NOSE_TIP], points[RIGHT_MOUTH_CORNER], points[LEFT_MOUTH_CORNER]])


def align_face(rgb: np.ndarray, points: np.ndarray) -> np.ndarray:  # [H, W, 3] uint8, [5, 2] px -> [112, 112, 3]
    """Turn, scale and shift a face so that its five points come to lie on the template's, as OpenCV does."""
    template_from_picture = similarity_transform(points, TEMPLATE)  # the fit is not symmetric: this is the trained way
    picture_from_template = np.linalg.inv(np.vstack([template_from_picture, [0, 0, 1]]))[:2]
    image = Image.fromarray(rgb)
    coefficients = tuple(picture_from_template.ravel())
    return np.asarray(image.transform((SIZE, SIZE), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR))


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:  # [N, 2] each -> [2, 3]
    """Least-squares rotation, uniform scale and translation from ``source`` to ``target`` (Umeyama 1991)."""
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    s, t = source - source_mean, target - target_mean
    u, singular, vt = np.linalg.svd(t.T @ s / len(source))
    flip = np.diag([1.0, np.sign(np.linalg.det(u @ vt))])
    linear = (u @ flip @ vt) * (singular * np.diag(flip)).sum() / s.var(axis=0).sum()
    return np.column_stack([linear, target_mean - linear @ source_mean])


@functools.cache
def _session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: the file makes the runtime warn once per weight
    return onnxruntime.InferenceSession(str(assets.fetch("sface.onnx")), options, providers=["CPUExecutionProvider"])
