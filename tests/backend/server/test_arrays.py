import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from emo_avatar.server.arrays import MAX_HEADER, pack, unpack
from emo_avatar.server.refusals import Refusal

names = st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=12).filter(
    lambda name: name != "__metadata__"
)
arrays = st.dictionaries(
    names,
    hnp.arrays(
        st.sampled_from([np.float32, np.int32, np.uint8]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
        elements={"allow_nan": False},
    ),
    max_size=5,
)
documents = st.dictionaries(st.text(max_size=8), st.one_of(st.integers(-1000, 1000), st.text(max_size=8)), max_size=4)


def raw(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(shape, offsets, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@settings(deadline=None, max_examples=60)
@given(arrays, documents)
def test_what_is_packed_comes_out_again(given_arrays, document):
    message = unpack(pack(given_arrays, document))
    assert message.document == document
    assert message.arrays.keys() == given_arrays.keys()
    for name, array in given_arrays.items():
        assert message.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(message.arrays[name], array)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_read(body):
    try:
        unpack(body)
    except Refusal as refusal:
        assert refusal.code == "bad_request"
        assert refusal.sentence.endswith(".")


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damaged_messages_are_refused_or_read(data):
    body = bytearray(pack({"a": np.ones((2, 3), np.float32), "b": np.ones(4, np.int32)}, {"fps": 24}))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body = bytes(body[: data.draw(st.integers(0, len(body)))])
    try:
        message = unpack(body)
        message.floats("a", ("T", 3))
    except Refusal as refusal:
        assert refusal.code == "bad_request"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff" * 8,
        (1 << 60).to_bytes(8, "little") + b"{}",
        raw(b" " * (MAX_HEADER + 1)),
        raw(b"[" * 100_000),
        raw(b"\xff\xfe"),
        raw(b"null"),
        raw([]),
        raw({"a": 3}),
        raw({"a": tensor([2], [0, 4])}, bytes(4)),
        raw({"a": tensor([1 << 39], [0, 8])}, bytes(8)),
        raw({"a": tensor([1 << 62, 1 << 62], [0, 8])}, bytes(8)),
        raw({"a": tensor([-1], [0, 8])}, bytes(8)),
        raw({"a": tensor([1.0], [0, 4])}, bytes(4)),
        raw({"a": tensor([2], [0, 8]), "b": tensor([2], [4, 12])}, bytes(12)),
        raw({"a": tensor([1], [4, 8])}, bytes(8)),
        raw({"a": tensor([1], [0, 4])}, bytes(8)),
        raw({"a": tensor([1], [0, 8], "F64")}, bytes(8)),
        raw({"a": tensor([1], [0, 8], "PICKLE")}, bytes(8)),
        raw({"__metadata__": {"json": "[1]"}}),
        raw({"__metadata__": {"json": '{"fps": NaN}'}}),
        raw({"__metadata__": {"json": '{"fps": 1e999}'}}),
        raw({"__metadata__": {"json": '{"a":' * 5000}}),
        raw({"__metadata__": {"json": 3}}),
        raw({"__metadata__": 3}),
        raw({f"a{i}": tensor([0], [0, 0]) for i in range(5000)}),
    ],
)
def test_hostile_messages_are_refused_in_a_sentence(body):
    with pytest.raises(Refusal) as refused:
        unpack(body)
    assert refused.value.code == "bad_request"
    assert refused.value.sentence.count(".") >= 1
    assert len(refused.value.sentence) < 300


def message(**given_arrays):
    return unpack(pack(given_arrays, {"n": 3, "text": "x", "flag": True, "list": ["a"], "huge": 10**40}))


def test_arrays_are_checked_as_they_are_taken_out():
    good = message(a=np.zeros((5, 3), np.float32), b=np.zeros((5, 6), np.float32), c=np.zeros((4, 6), np.float32))
    assert good.floats("a", ("T", 3)).shape == (5, 3)
    assert good.floats("b", ("T", 6)).shape == (5, 6)
    assert good.floats_or_zeros("missing", ("T", 2)).shape == (5, 2)
    with pytest.raises(Refusal, match=r"c must have the shape \[5, 6\], not \[4, 6\]"):
        good.floats("c", ("T", 6))
    with pytest.raises(Refusal, match="missing is missing"):
        good.floats("missing", (3,))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_numbers_that_no_quantity_has_are_refused(value):
    with pytest.raises(Refusal, match="not finite or beyond"):
        message(a=np.array([0, value], np.float32)).floats("a", (2,))


def test_integers_are_no_floats():
    with pytest.raises(Refusal, match="must be float32, not int32"):
        message(a=np.zeros(2, np.int32)).floats("a", (2,))


@pytest.mark.parametrize(
    "take",
    [
        lambda m: m.number("text", 0, 1),
        lambda m: m.number("flag", 0, 1),
        lambda m: m.number("n", 0, 2),
        lambda m: m.number("huge", 0, 1e9),
        lambda m: m.number("none", 0, 1),
        lambda m: m.text("n"),
        lambda m: m.texts("text", 3),
        lambda m: m.texts("list", 0),
        lambda m: m.choice("text", ("a", "b"), "a"),
        lambda m: m.flag("n", True),
    ],
)
def test_the_json_part_is_checked_as_well(take):
    with pytest.raises(Refusal) as refused:
        take(message())
    assert refused.value.status == 422


def test_other_writers_are_understood():
    body = safetensors.numpy.save({"a": np.arange(3, dtype=np.float32)})
    assert unpack(body).document == {}
    assert unpack(body).floats("a", (3,)).tolist() == [0, 1, 2]
