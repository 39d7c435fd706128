"""Heads from the file that the extension ships with, and from the backend's message."""

import io
from dataclasses import fields

import numpy as np
import pytest
from emo_avatar_addon.errors import AddonError
from emo_avatar_addon.model import arkit
from emo_avatar_addon.model.head_file import OPEN_HEAD, HeadArrays, head_from_message, load_open_head

from emo_avatar.head.data import load_head


@pytest.fixture(scope="module")
def open_head() -> HeadArrays:
    return load_open_head()


@pytest.fixture
def message(open_head):
    names = [field.name for field in fields(HeadArrays) if field.name not in ("name", "part_names", "identity_dirs")]
    document = {"name": "Ann", "part_names": list(open_head.part_names), "arkit_names": list(arkit.ARKIT_NAMES)}
    return {name: getattr(open_head, name) for name in names}, document


def test_open_head_is_the_backends(open_head):
    data = load_head()
    for name in ("v_template", "posedirs", "J_regressor", "weights", "faces", "quads", "uv", "uv_quads", "vertex_part"):
        np.testing.assert_array_equal(getattr(open_head, name), getattr(data, name))
    np.testing.assert_array_equal(open_head.expression_dirs, data.shapedirs[:, :, 300:])
    np.testing.assert_array_equal(open_head.identity_dirs, data.shapedirs[:, :, :20])
    assert open_head.part_names == data.part_names


def test_arkit_units_are_the_backends(open_head):
    from emo_avatar.head.data import ARKIT_NAMES

    assert arkit.ARKIT_NAMES == ARKIT_NAMES
    descriptions = [arkit.description(name) for name in ARKIT_NAMES]
    assert len(set(descriptions)) == 52


def test_message_is_a_head(message, open_head):
    head = head_from_message(*message)
    assert head.name == "Ann" and head.identity_dirs.shape == (len(head.v_template), 3, 0)
    np.testing.assert_array_equal(head.expression_dirs, open_head.expression_dirs)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("v_template", None),
        ("v_template", np.zeros((2, 3), np.float32)),
        ("v_template", np.full((8359, 3), np.nan, np.float32)),
        ("expression_dirs", np.zeros((8359, 3, 99), np.float32)),
        ("weights", np.full((8359, 5), 2.0, np.float32)),
        ("quads", np.array([[0, 1, 2, 8359]], np.int32)),
        ("quads", np.array([[0, 1, 2, -1]], np.int32)),
        ("uv_quads", np.zeros((3, 4), np.int32)),
        ("vertex_part", np.full(8359, 7, np.int32)),
        ("faces", np.zeros((4, 3), np.float32)),
    ],
)
def test_pieces_that_do_not_fit_are_said(message, name, value):
    arrays, document = message
    arrays = {**arrays, name: value} if value is not None else {k: v for k, v in arrays.items() if k != name}
    with pytest.raises(AddonError, match=name if name != "v_template" or value is None else "the backend's head"):
        head_from_message(arrays, document)


@pytest.mark.parametrize(
    "change", [{"arkit_names": None}, {"arkit_names": ["jawOpen"]}, {"part_names": "skin"}, {"part_names": []}]
)
def test_document_that_does_not_fit_is_said(message, change):
    with pytest.raises(AddonError):
        head_from_message(message[0], message[1] | change)


@pytest.mark.parametrize("content", [b"", b"nonsense", OPEN_HEAD.read_bytes()[:100_000]])
def test_damaged_file_is_said(tmp_path, content):
    path = tmp_path / "head.npz"
    path.write_bytes(content)
    with pytest.raises(AddonError, match="install the extension again"):
        load_open_head(path)
    with pytest.raises(AddonError):
        load_open_head(tmp_path / "gone.npz")


def test_file_without_a_piece_is_said(tmp_path):
    with np.load(OPEN_HEAD) as file:
        arrays = {name: file[name] for name in file.files if name != "J_regressor"}
    out = io.BytesIO()
    np.savez(out, **arrays)
    (tmp_path / "head.npz").write_bytes(out.getvalue())
    with pytest.raises(AddonError, match="lacks J_regressor"):
        load_open_head(tmp_path / "head.npz")


def test_identity_moves_the_template_only(open_head):
    person = open_head.with_identity(np.eye(20)[0] * 2)
    np.testing.assert_allclose(person.v_template - open_head.v_template, 2 * open_head.identity_dirs[..., 0], atol=1e-7)
    assert person.expression_dirs is open_head.expression_dirs
