import numpy as np
import pytest

from emo_avatar.avatar.head_arrays import head_from_arrays, head_to_arrays
from emo_avatar.head.data import N_SHAPE, load_head


@pytest.fixture(scope="module")
def packed():
    return head_to_arrays(load_head())


def test_a_head_survives(packed):
    head, again = load_head(), head_from_arrays(*packed)
    assert again.part_names == head.part_names
    np.testing.assert_array_equal(again.v_template, head.v_template)
    np.testing.assert_array_equal(again.uv_faces, head.uv_faces)
    assert np.abs(again.shapedirs - head.shapedirs)[:, :, N_SHAPE:].max() < 1e-4
    assert again.regions.keys() == head.regions.keys()


CHANGES = {
    "faces": lambda a: a + 100_000,
    "quads": lambda a: a - 1,
    "uv_faces": lambda a: a + 1_000_000,
    "uv_quads": lambda a: a.astype(np.float32),
    "vertex_part": lambda a: a[:-1],
    "face_part": lambda a: a + 100,
    "weights": lambda a: a[:, :4],
    "J_regressor": lambda a: a.T,
    "posedirs": lambda a: a[:, :, :9],
    "arkit_to_expr": lambda a: a[:10],
    "regions.lips": lambda a: a[:5],
    "landmarks478.faces": lambda a: a + 1_000_000,
}


@pytest.mark.parametrize("name", CHANGES)
def test_pieces_that_do_not_fit_are_refused(packed, name):
    settings, arrays = packed
    with pytest.raises(ValueError):
        head_from_arrays(settings, arrays | {name: CHANGES[name](arrays[name])})
