"""Head files: round trip, and what a hostile one is told."""

import io
import os
from dataclasses import fields, replace

import numpy as np
import pytest

from emo_avatar.errors import UserError
from emo_avatar.head.data import load_head, save_head
from emo_avatar.head.info import head_info


@pytest.fixture(scope="module")
def arrays(tmp_path_factory, open_head):
    """A saved head's arrays, small enough to write many times."""
    path = tmp_path_factory.mktemp("head") / "H.npz"
    save_head(open_head, path, directions=np.float16)
    with np.load(path) as z:
        return {name: z[name] for name in z.files}


def test_round_trip(tmp_path, open_head):
    head = replace(open_head, name="someone", arkit_transfer_error=0.00025)
    save_head(head, tmp_path / "H.npz")
    again = load_head(tmp_path / "H.npz")
    for field in fields(head):
        mine, theirs = getattr(head, field.name), getattr(again, field.name)
        if isinstance(mine, np.ndarray):
            assert np.array_equal(mine, theirs), field.name
    assert again.name == "someone" and again.part_names == head.part_names
    assert again.arkit_transfer_error == pytest.approx(0.00025)
    assert all(np.array_equal(mask, again.regions[name]) for name, mask in head.regions.items())
    for mine, theirs in ((head.landmarks478, again.landmarks478), (head.landmarks68, again.landmarks68)):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert np.array_equal(mine.faces, theirs.faces) and np.array_equal(mine.reliable, theirs.reliable)


def test_the_open_head_is_whole(open_head):
    info = head_info(open_head)
    assert 80 <= info["expression_components"] <= 100 and info["identity_components"] >= 100
    assert set(info["arkit_units_missing"]) <= {"tongueOut"}
    assert np.allclose(open_head.weights.sum(1), 1, atol=1e-3)
    assert np.allclose(open_head.J_regressor.sum(1), 1, atol=1e-3)
    joints = open_head.J_regressor @ open_head.v_template
    assert joints[3, 0] > 0.02 > -0.02 > joints[4, 0], "the left eye is at positive x"


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("went-off",)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("v_template", None, "lacks v_template"),
        ("v_template", np.full((3, 3), np.nan), "v_template"),
        ("v_template", np.zeros((3, 3), np.float32), "3 vertices"),
        ("shapedirs_identity", np.zeros((5, 3, 10), np.float32), "shapedirs_identity has the wrong shape"),
        ("posedirs", np.zeros(4), "posedirs has the wrong shape"),
        ("weights", "text", "weights has the wrong shape or type"),
        ("weights", "nan", "weights has values"),
        ("faces", "beyond", "faces points outside"),
        ("faces", "negative", "faces points outside"),
        ("uv_faces", "beyond", "uv_faces points outside"),
        ("vertex_part", "beyond", "vertex_part points outside"),
        ("part_names", np.array([], "U1"), "part_names"),
        ("part_names", np.array(["x"] * 200), "part_names"),
        ("arkit_to_pose", "nan", "arkit_to_pose has values"),
        ("arkit_to_expr", np.zeros((51, 100)), "arkit_to_expr has the wrong shape"),
        ("region_lips", np.zeros(7, bool), "region_lips has the wrong shape"),
        ("landmarks68_faces", np.zeros(60, np.int32), "landmarks68"),
        ("name", np.array([Bomb()], object), "Python objects"),
    ],
)
def test_broken_files_are_named_and_run_nothing(tmp_path, monkeypatch, arrays, name, value, said):
    monkeypatch.chdir(tmp_path)
    broken = dict(arrays)
    change = {
        "text": lambda a: a.astype("U5"),
        "nan": lambda a: np.full_like(a, np.nan),
        "beyond": lambda a: np.full_like(a, 120) if a.dtype == np.int8 else a.astype(np.int64) + 10**9,
        "negative": lambda a: -1 - a.astype(np.int32),
    }
    if value is None:
        del broken[name]
    else:
        broken[name] = change[value](broken[name]) if isinstance(value, str) else value
    np.savez("H.npz", **broken)
    with pytest.raises(UserError, match=said):
        load_head("H.npz")
    assert os.listdir(tmp_path) == ["H.npz"]


def test_other_files(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_head(tmp_path / "nowhere.npz")
    for content in (b"", b"hello", b"PK\x03\x04"):
        (tmp_path / "H.npz").write_bytes(content)
        with pytest.raises(UserError, match="cannot be read"):
            load_head(tmp_path / "H.npz")
    stream = io.BytesIO()
    np.savez(stream, something=np.zeros(3))
    (tmp_path / "H.npz").write_bytes(stream.getvalue())
    with pytest.raises(UserError, match="no head of this program"):
        load_head(tmp_path / "H.npz")


def test_an_interrupted_save_leaves_nothing(tmp_path, monkeypatch, open_head):
    monkeypatch.setattr(np, "savez_compressed", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        save_head(open_head, tmp_path / "H.npz")
    assert list(tmp_path.iterdir()) == []
