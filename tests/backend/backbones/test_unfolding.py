"""Marks that an expression draws are found where it folds the skin, and nowhere else."""

import numpy as np
import pytest

from emo_avatar.backbones.portrait.prepared import prepare_head
from emo_avatar.backbones.portrait.view import MeshView
from emo_avatar.backbones.uv.maps import fold_depth
from emo_avatar.backbones.uv.unfolding import marks_in_photo
from emo_avatar.head.data import open_head
from emo_avatar.render.camera import Camera

SKIN = np.array([0.8, 0.6, 0.5], np.float32)
SHADE = np.array([0.75, 0.65, 0.6], np.float32)  # of a fold


@pytest.fixture(scope="module")
def frown():
    """The open head from the front with dark lines where its forehead and glabella fold, and where those are."""
    head = open_head()
    prepared = prepare_head(head)
    view = MeshView.of(head.v_template, head.faces, Camera.orbit((0, 0, 0), 0.6, fov=26, size=400))
    place = head.v_template
    upper = (place[:, 1] > 0.005) & (np.abs(place[:, 0]) < 0.02) & (place[:, 1] < 0.06)
    folding = np.zeros((len(place), 3), np.float32)
    folding[upper] = (0, 1, 0)
    row, column = np.nonzero(view.covered)
    face, barycentric = view.fragments.face[row, column], view.fragments.barycentric[row, column]
    upright = fold_depth(head, face, barycentric)[:, 1] * folding[head.faces[face]][..., 1].min(1) > 200
    plain = (prepared.on_face["face"] & ~prepared.on_face["brows"] & ~prepared.on_face["lids"])[face]
    lines = np.zeros(view.covered.shape, bool)
    lines[row, column] = upright & plain
    rgb = np.where(lines[..., None], SKIN * SHADE, SKIN).astype(np.float32)
    return prepared, view, folding, rgb, lines


def test_lines_are_measured_and_the_skin_beside_them_is_not_a_mark(frown):
    prepared, view, folding, rgb, lines = frown
    assert lines.sum() > 30
    marks = marks_in_photo(prepared, view, folding, rgb, view.covered.astype(np.float32))
    assert np.median(marks[lines][:, :3], axis=0) == pytest.approx(np.log(SHADE), rel=0.4)
    assert (marks[..., :3] <= 0.035).all()
    assert not marks[260:].any()  # 4 cm below the eyes and further down


def test_a_face_without_expression_has_no_marks(frown):
    prepared, view, folding, rgb, _ = frown
    assert not marks_in_photo(prepared, view, 0 * folding, rgb, view.covered.astype(np.float32)).any()
