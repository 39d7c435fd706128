"""The landmarks of the shipped head, and finding them again."""

from dataclasses import replace

import numpy as np
import pytest

from emo_avatar.tracking.embedding import embed_landmarks, geometric_median
from emo_avatar.tracking.landmark_model import landmark_points
from emo_avatar.tracking.topology import IBUG68, IRISES, MIRROR, OUTER_LIPS, index_mask


def test_shipped_landmarks_lie_where_their_names_say(open_head):
    points = landmark_points(open_head, open_head.v_template)
    embedding = open_head.landmarks478
    np.testing.assert_allclose(points, points[MIRROR] * (-1, 1, 1), atol=1e-3)
    parts = np.array(open_head.part_names)[open_head.face_part[embedding.faces]]
    iris = index_mask(IRISES)
    assert set(parts[iris]) == {"eye_left", "eye_right"} and set(parts[~iris]) == {"skin"}
    assert points[473, 0] > 0.02, "the subject's left is +x"
    lips = open_head.regions["lips"][open_head.faces[embedding.faces[list(OUTER_LIPS)]]]
    assert lips.any(1).mean() > 0.8
    assert embedding.reliable.mean() > 0.85
    np.testing.assert_allclose(embedding.barycentric.sum(1), 1, atol=1e-5)


def test_ibug_landmarks_are_means_of_the_others(open_head):
    full = landmark_points(open_head, open_head.v_template)
    own = open_head.landmarks68
    points = np.einsum("lb,lbc->lc", own.barycentric, open_head.v_template[open_head.faces[own.faces]])
    expected = np.stack([full[list(group)].mean(0) for group in IBUG68])
    assert points.shape == (68, 3)
    assert np.linalg.norm(points - expected, axis=1).max() < 0.004


def test_embedding_again_gives_the_shipped_landmarks(open_head):
    full, ibug = embed_landmarks(open_head)
    points = np.einsum("lb,lbc->lc", full.barycentric, open_head.v_template[open_head.faces[full.faces]])
    apart = np.linalg.norm(points - landmark_points(open_head, open_head.v_template), axis=1)
    assert np.median(apart) < 0.0005 and apart[full.reliable].max() < 0.004
    assert ibug.faces.shape == (68,)


def test_geometric_median_ignores_a_minority_of_outliers():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 0.01, (60, 3)), rng.normal(5, 1, (20, 3))])
    assert np.linalg.norm(geometric_median(points)) < 0.02


def test_a_head_without_regions_is_refused(open_head):
    with pytest.raises(ValueError, match="lips"):
        embed_landmarks(replace(open_head, regions={}))
