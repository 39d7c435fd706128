"""Messages of arrays: what goes in comes out, the library of that name agrees, and nonsense is told."""

import json

import numpy as np
import pytest
import safetensors.numpy
from emo_avatar_addon.errors import AddonError
from emo_avatar_addon.safetensors import pack, unpack
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

shapes = arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
dtypes = st.sampled_from([np.float32, np.int32, np.uint8])
tensors = dtypes.flatmap(lambda dtype: arrays_of.arrays(dtype, shapes))
names = st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__")
documents = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=3)


@given(st.dictionaries(names, tensors, max_size=4), documents)
def test_round_trip(arrays, document):
    unpacked, said = unpack(pack(arrays, document))
    assert said == document and unpacked.keys() == arrays.keys()
    for name, array in arrays.items():
        assert unpacked[name].dtype == array.dtype and unpacked[name].flags.aligned
        np.testing.assert_array_equal(unpacked[name], array)


@given(st.dictionaries(names, tensors, max_size=4))
def test_the_library_reads_what_we_write_and_the_other_way_round(arrays):
    theirs = safetensors.numpy.load(pack(arrays))
    ours, _ = unpack(safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))
    for name, array in arrays.items():
        np.testing.assert_array_equal(theirs[name], array)
        np.testing.assert_array_equal(ours[name].reshape(array.shape), array)


def test_other_types_are_narrowed():
    unpacked, _ = unpack(pack({"a": np.ones(3), "b": np.arange(3), "c": np.array([True]), "d": np.float16([1.5])}))
    assert [unpacked[name].dtype for name in "abcd"] == [np.float32, np.int32, np.uint8, np.float32]
    with pytest.raises(TypeError, match="numbers"):
        pack({"a": np.array(["text"])})


@given(st.binary(max_size=200))
def test_nonsense_is_told(data):
    with pytest.raises(AddonError, match="damaged"):
        unpack(data)


@given(st.data())
def test_a_damaged_message_is_told_or_read_but_never_crashes(data):
    message = bytearray(pack({"a": np.ones((3, 4)), "b": np.arange(5)}, {"fps": 24.0}))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        arrays, document = unpack(bytes(message))
    except AddonError:
        return
    assert isinstance(document, dict) and all(isinstance(array, np.ndarray) for array in arrays.values())


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [10**30], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]},
        [],
        None,
    ],
)
def test_a_tensor_that_lies_is_told(entry):
    header = json.dumps({"a": entry}).encode()
    with pytest.raises(AddonError, match="damaged"):
        unpack(len(header).to_bytes(8, "little") + header + bytes(8))
