"""The fit against heads whose parameters are known."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from emo_avatar.head.arkit import arkit_weights, flame_from_arkit
from emo_avatar.head.model import HeadModel
from emo_avatar.tracking.fit import HeadFit, Sightings, fit_head, inner_face, landmark_error, project
from emo_avatar.tracking.landmark_model import LandmarkModel, landmark_points
from emo_avatar.tracking.landmarks import FaceLandmarks
from emo_avatar.tracking.topology import FACE_OVAL, MIRROR
from emo_avatar.tracking.warp import residual_offset, rigid_pieces

SIZE = 512


@pytest.fixture(scope="module")
def model(open_head):
    return LandmarkModel(open_head)


def someone(model, seed, yaw=0.0):
    """A random person with a random expression, as a perfect detector would see them."""
    rng = np.random.default_rng(seed)
    shape = np.zeros(300)
    shape[:40] = rng.normal(0, 0.7, 40)
    units = arkit_weights(jawOpen=0.3, mouthSmile=0.5, browInnerUp=0.4, eyeLookOutLeft=0.5, eyeLookInRight=0.5)
    R = Rotation.from_euler("YXZ", [yaw, 8, -5], degrees=True).as_matrix()
    truth = HeadFit(shape, units, R, np.array([0.01, -0.02, -1.1]), 2.6 * SIZE, None)
    points, _ = model.posed(shape, units)
    pixels, depth = project(points, truth, SIZE)
    z = (depth - depth.mean()) * truth.focal / depth.mean()
    return truth, FaceLandmarks(np.column_stack([pixels, z]), units * 0.9)


def test_landmarks_of_the_small_model_are_those_of_the_mesh(open_head, model):
    truth, _ = someone(model, 0)
    expression, jaw, eyes = flame_from_arkit(open_head, truth.units)
    parameters = {"shape": truth.shape, "expression": expression, "jaw_pose": jaw, "eyes_pose": eyes}
    tensors = {name: torch.as_tensor(value, dtype=torch.float32)[None] for name, value in parameters.items()}
    with torch.no_grad():
        vertices = HeadModel(open_head)(**tensors).vertices[0].numpy()
    apart = np.linalg.norm(landmark_points(open_head, vertices) - model.posed(truth.shape, truth.units)[0], axis=1)
    assert apart.max() < 5e-4 and np.median(apart) < 2e-5


def test_jacobian_is_the_difference_quotient(model):
    truth, _ = someone(model, 1)
    shape, units = truth.shape[:150], truth.units.astype(float)
    points, by_parameters = model.jacobian(shape, units)
    direction = np.random.default_rng(2).normal(size=by_parameters.shape[2])
    step = 1e-5
    moved, _ = model.posed(shape + step * direction[:150], units + step * direction[150:])
    np.testing.assert_allclose((moved - points) / step, by_parameters @ direction, atol=2e-3)


@pytest.mark.parametrize("yaw", [0.0, -25.0, 40.0])
def test_a_known_head_is_found_again(open_head, model, yaw):
    truth, face = someone(model, 3, yaw)
    fit = fit_head(model, face, SIZE)
    projected, _ = project(model.posed(fit.shape, fit.units)[0], fit, SIZE)
    assert landmark_error(projected, face.points, open_head.landmarks478) < 0.003
    turned = Rotation.from_matrix(fit.R @ truth.R.T).magnitude()
    assert np.degrees(turned) < 3
    assert np.abs(fit.units - truth.units).max() < 0.25
    scale = np.linalg.norm(fit.t) / np.linalg.norm(truth.t) * truth.focal / fit.focal
    assert scale == pytest.approx(1, abs=0.03), "size in the picture"


def test_an_outlier_moves_nothing(model):
    _, face = someone(model, 4)
    clean = fit_head(model, face, SIZE)
    face.points[[1, 50, 105]] += 40
    disturbed = fit_head(model, face, SIZE)
    assert np.abs(clean.units - disturbed.units).max() < 0.1
    assert np.linalg.norm(clean.t - disturbed.t) < 0.02


def test_the_face_oval_counts_only_across_itself(model):
    _, face = someone(model, 5)
    sightings = Sightings.of(model, face)
    oval = list(FACE_OVAL)
    along = np.roll(sightings.points[oval], -1, axis=0) - np.roll(sightings.points[oval], 1, axis=0)
    seen = np.einsum("lij,lj->li", sightings.directions[oval], along)
    assert np.abs(seen).max() < 1e-6 * np.abs(along).max()


def test_error_is_a_fraction_of_the_distance_between_the_eye_corners(open_head):
    detected = np.random.default_rng(6).uniform(0, 500, (478, 2))
    detected[33], detected[263] = (100, 200), (300, 200)
    assert landmark_error(detected + (3, 4), detected, open_head.landmarks478) == pytest.approx(5 / 200)
    ignored = detected.copy()
    ignored[~inner_face(open_head.landmarks478)] += 99
    assert landmark_error(ignored, detected, open_head.landmarks478) == 0


def test_residual_offset_closes_the_gap_smoothly(open_head, model):
    truth, face = someone(model, 7)
    pushed = face.points.copy()
    pushed[:, 0] += 4 * np.sin(pushed[:, 1] / 40)  # px, what no shape or expression explains
    seen = Sightings.of(model, FaceLandmarks(pushed, face.blendshapes))
    fit = HeadFit(truth.shape, truth.units, truth.R, truth.t, truth.focal, seen)
    offset = residual_offset(open_head, model, fit, SIZE)
    moved = open_head.v_template + offset
    inner = inner_face(open_head.landmarks478)
    gap = np.linalg.norm(pushed - face.points, axis=1)[inner]
    shift = landmark_points(open_head, moved) - landmark_points(open_head, open_head.v_template)
    now = project(model.posed(truth.shape, truth.units)[0] + shift @ truth.R.T @ truth.R, fit, SIZE)[0]
    assert np.median(np.linalg.norm(now - pushed[:, :2], axis=1)[inner]) < 0.35 * np.median(gap)
    for piece in rigid_pieces(open_head):
        assert np.ptp(offset[piece], axis=0).max() < 1e-7, "eyeballs and teeth do not deform"
    back = open_head.v_template[:, 2] < -0.05
    assert np.abs(offset[back]).max() < 1e-4, "nothing moves behind the ears"
    edges = np.linalg.norm(np.diff(offset[open_head.faces[:, :2]], axis=1)[:, 0], axis=1)
    lengths = np.linalg.norm(np.diff(open_head.v_template[open_head.faces[:, :2]], axis=1)[:, 0], axis=1)
    soft = open_head.face_part == 0
    assert (edges[soft] < 0.5 * lengths[soft] + 1e-6).all(), "no triangle folds over"


def test_hidden_side_mirrors_the_seen_one(open_head, model):
    truth, face = someone(model, 8, yaw=45.0)
    pushed = face.points.copy()
    hidden = (model.normals @ truth.R.T)[:, 2] < 0
    guessed = hidden & ~hidden[MIRROR]
    pushed[guessed, 1] += 25  # a wild guess on the far side
    seen = Sightings.of(model, FaceLandmarks(pushed, face.blendshapes))
    fit = HeadFit(truth.shape, truth.units, truth.R, truth.t, truth.focal, seen)
    assert np.abs(residual_offset(open_head, model, fit, SIZE)).max() < 5e-4
