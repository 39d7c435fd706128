"""An imported head gets the open head's faces, landmarks and regions; measured against a head whose truth is known."""

import numpy as np
import pytest
import torch

from emo_avatar.errors import UserError
from emo_avatar.head.arkit import arkit_from_flame, arkit_weights, flame_from_arkit
from emo_avatar.head.data import ARKIT_NAMES, load_head
from emo_avatar.head.info import head_info
from emo_avatar.head.model import HeadModel
from emo_avatar.head.official import import_head


@pytest.fixture(scope="module")
def imported(flame_pickle, tmp_path_factory):
    path = tmp_path_factory.mktemp("import") / "H.npz"
    steps = []
    result = import_head(flame_pickle, path, lambda fraction, what: steps.append(fraction))
    assert steps == sorted(steps) and steps[0] == 0 and steps[-1] == 1
    return result, load_head(path)


def displacements(head, weights):  # [N, 52] -> [N, V, 3]
    expression, jaw, eyes = (torch.as_tensor(x) for x in flame_from_arkit(head, weights))
    model = HeadModel(head)
    with torch.no_grad():
        moved = model(expression=expression, jaw_pose=jaw, eyes_pose=eyes).vertices - model().vertices
    return moved.numpy()


def face_rms(head, displacement):
    return float(np.sqrt((displacement[head.regions["face"]] ** 2).sum(1).mean()))


def test_the_file_holds_what_was_reported(imported):
    result, head = imported
    assert head.arkit_transfer_error == pytest.approx(result.report.arkit_error)
    assert 0 < result.report.arkit_error < 0.0005
    assert result.report.surface_distance < 0.0005
    assert head.name == "generic_model"
    info = head_info(head)
    assert info["parts"].keys() == {"skin", "eye_left", "eye_right"}
    assert info["arkit_units_missing"] == ["tongueOut"], "FLAME has no tongue"


def test_every_unit_looks_as_on_the_open_head(imported, flame_like):
    _, head = imported
    off = displacements(head, np.eye(52)) - flame_like.arkit
    errors = np.array([face_rms(head, x) for x in off])
    sizes = np.array([face_rms(head, x) for x in flame_like.arkit])
    worst = {name: (e, s) for name, e, s in zip(ARKIT_NAMES, errors, sizes, strict=True) if e > max(0.4 * s, 1e-4)}
    assert not worst, "metres off, and how far the unit moves the face"
    assert np.sqrt((errors**2).mean()) < 0.07 * np.sqrt((sizes**2).mean())


def test_jaw_units_turn_the_jaw_and_no_other_does(imported, open_head):
    _, head = imported
    jaw = np.abs(head.arkit_to_pose[:, :3]).max(1)
    turning = {ARKIT_NAMES[i] for i in np.flatnonzero(jaw > 0.02)}
    assert turning == {"jawOpen", "jawLeft", "jawRight"}
    i = ARKIT_NAMES.index("jawOpen")
    assert head.arkit_to_pose[i, 0] == pytest.approx(open_head.arkit_to_pose[i, 0], rel=0.2)
    assert np.array_equal(head.arkit_to_pose[:, 3:], open_head.arkit_to_pose[:, 3:])


def test_lids_close(imported):
    _, head = imported
    rest = head.v_template
    blink = rest + displacements(head, arkit_weights(eyeBlink=1)[None])[0]
    for side in (rest[:, 0] > 0, rest[:, 0] < 0):
        upper, lower = (head.regions[name] & side for name in ("upper_lids", "lower_lids"))
        middle = np.abs(rest[:, 0] - rest[upper, 0].mean()) < 0.004

        def opening(vertices, upper=upper & middle, lower=lower & middle):
            return vertices[upper, 1].min() - vertices[lower, 1].max()

        assert opening(rest) > 0.005
        assert opening(blink) < 0.001


def test_weights_come_back_from_the_imported_head(imported):
    _, head = imported
    weights = arkit_weights(mouthSmile=0.8, browInnerUp=0.5, jawOpen=0.3, eyeLookUp=0.6)
    back = arkit_from_flame(head, *flame_from_arkit(head, weights))
    assert np.abs(back - weights).max() < 0.05


def test_landmarks_and_regions_lie_where_the_open_heads_do(imported, flame_like, open_head):
    _, head = imported
    for mine, theirs in ((head.landmarks68, open_head.landmarks68), (head.landmarks478, open_head.landmarks478)):
        if theirs is None:
            pytest.skip("this open head has no landmarks yet")
        points = np.einsum("lb,lbc->lc", mine.barycentric, head.v_template[head.faces[mine.faces]])
        # Vertices of the stand-in average four of the open head: the nearest to the landmark there is nearest here.
        averaged = flame_like.from_open @ open_head.v_template
        there = np.einsum("lb,lbc->lc", theirs.barycentric, open_head.v_template[open_head.faces[theirs.faces]])
        distance = np.linalg.norm(averaged[None] - there[:, None], axis=2)
        close = distance.min(1) < 0.003  # the others lie in the mouth or the sockets, which the stand-in lacks
        expected = head.v_template[distance.argmin(1)]
        assert close.mean() > 0.7
        assert np.median(np.linalg.norm(points - expected, axis=1)[close]) < 0.003
        assert np.linalg.norm(points - expected, axis=1)[close].max() < 0.012
    for name in ("lips", "upper_lids", "brows", "nose", "ears", "scalp", "neck"):
        true = (flame_like.from_open @ open_head.regions[name].astype(float)[:, None])[:, 0] > 0.5
        mine = head.regions[name]
        # Brows lie on smooth skin, which does not tell where along itself they are.
        assert (mine & true).sum() > (0.4 if name == "brows" else 0.7) * (mine | true).sum(), name
    rim = head.v_template[head.regions["collar"]]
    assert len(rim) > 10 and rim[:, 1].max() < np.quantile(head.v_template[:, 1], 0.2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: {"v_template": a["v_template"][:, [2, 1, 0]] * [1, 1, -1]}, "eyes"),
        (lambda a: {"f": a["f"][:, ::-1]}, "inside out"),
        (lambda a: {"v_template": a["v_template"] + (a["weights"][:, 3:].sum(1) < 0.5)[:, None]}, "around its eyes"),
    ],
    ids=["turned", "inside out", "skin elsewhere"],
)
def test_what_does_not_lie_as_a_head_is_refused(tmp_path, official_arrays, change, said):
    arrays = official_arrays | {"J_regressor": official_arrays["J_regressor"].toarray()}
    np.savez(tmp_path / "FLAME.npz", **(arrays | change(arrays)))
    with pytest.raises(UserError, match=said):
        import_head(tmp_path / "FLAME.npz", tmp_path / "H.npz")
    assert not (tmp_path / "H.npz").exists()
