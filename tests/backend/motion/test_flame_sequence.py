"""FlameSequence: its file, resampling, cutting, and what it refuses."""

import io
import os
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from emo_avatar.errors import UserError
from emo_avatar.motion.flame_npz import FRAME_FIELDS, read_flame_npz
from emo_avatar.motion.flame_sequence import FlameSequence


def random_sequence(frames, fps=25.0, seed=0, vertices=None):
    rng = np.random.default_rng(seed)
    fields = {name: rng.normal(0, 0.5, (frames, width)) for name, width in FRAME_FIELDS.items()}
    offset = None if vertices is None else rng.normal(0, 0.001, (vertices, 3))
    return FlameSequence(fps, rng.normal(0, 1, 300), **fields, static_offset=offset)


def assert_same(a, b):
    assert a.fps == b.fps and a.head == b.head
    for name in (*FRAME_FIELDS, "shape"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert (a.static_offset is None) == (b.static_offset is None)
    if a.static_offset is not None:
        assert np.array_equal(a.static_offset, b.static_offset)


@settings(deadline=None, max_examples=25)
@given(frames=st.integers(1, 40), fps=st.floats(1, 240), vertices=st.none() | st.integers(1, 50))
def test_file_round_trip(tmp_path_factory, frames, fps, vertices):
    path = tmp_path_factory.mktemp("npz") / "motion.npz"
    sequence = random_sequence(frames, fps, vertices=vertices)
    sequence.write(path)
    assert_same(FlameSequence.read(path), sequence)


def test_keys_are_those_of_vhap(tmp_path):
    random_sequence(3, vertices=7).write(tmp_path / "motion.npz")
    with np.load(tmp_path / "motion.npz", allow_pickle=False) as z:
        assert {k: z[k].shape for k in z.files} == {
            "shape": (300,), "expr": (3, 100), "rotation": (3, 3), "neck_pose": (3, 3), "jaw_pose": (3, 3),
            "eyes_pose": (3, 6), "translation": (3, 3), "static_offset": (7, 3), "fps": (),
        }  # fmt: skip


def test_a_vhap_file_of_a_video(tmp_path):
    path = tmp_path / "tracked_flame_params_30.npz"
    arrays = {
        "shape": np.ones(300, np.float32), "expr": np.ones((5, 100), np.float32), "rotation": np.ones((5, 3)),
        "neck_pose": np.ones((5, 3)), "jaw_pose": np.ones((5, 3)), "eyes_pose": np.ones((5, 6)),
        "translation": np.ones((5, 3)), "static_offset": np.ones((1, 5143, 3), np.float32),
        "timestep_id": np.array(["a"] * 5), "n_processed_frames": np.array(5), "tex": np.zeros((1, 4)),
    }  # fmt: skip
    np.savez(path, **arrays)
    fields, notes = read_flame_npz(path)
    sequence = FlameSequence(**fields)
    assert len(sequence) == 5 and sequence.fps == 30 and sequence.static_offset.shape == (5143, 3)
    assert len(notes) == 1 and "30 fps assumed" in notes[0]


def test_absent_keys_are_zero_and_named_and_short_vectors_padded(tmp_path):
    path = tmp_path / "m.npz"
    np.savez(path, expr=np.full((4, 50), 0.5), shape=np.full((1, 100), 2.0), jaw_pose=np.full(3, 0.1), fps=24)
    fields, notes = read_flame_npz(path)
    sequence = FlameSequence(**fields)
    assert sequence.expression[:, :50].min() == 0.5 and not sequence.expression[:, 50:].any()
    assert sequence.shape[:100].min() == 2 and not sequence.shape[100:].any()
    assert np.allclose(sequence.jaw_pose, 0.1) and len(sequence.jaw_pose) == 4
    assert notes == ["m.npz lacks rotation, neck_pose, eyes_pose, translation: taken as zero."]


GOOD = {"expr": np.zeros((4, 100)), "rotation": np.zeros((4, 3))}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"expr": np.full((4, 100), np.nan)}, "expr has values that are not finite"),
        ({"rotation": np.full((4, 3), np.inf)}, "rotation has values that are not finite"),
        ({"rotation": np.full((4, 3), 180.0)}, "rotation has values beyond"),
        ({"expr": np.zeros((4, 101))}, r"expr has dimensions \[4, 101\]"),
        ({"expr": np.zeros((4, 5, 100))}, "expr has dimensions"),
        ({"expr": np.zeros((0, 100)), "rotation": np.zeros((0, 3))}, "none at all"),
        ({"rotation": np.zeros((4, 4))}, r"\[frames, 3\] is expected"),
        ({"rotation": np.zeros((3, 3))}, "expr 4, rotation 3"),
        ({"rotation": np.array([["a", "b", "c"]] * 4)}, "does not hold numbers"),
        ({"rotation": np.zeros((4, 3), complex)}, "object|numeric|numbers"),
        ({"shape": np.zeros(301)}, "shape has dimensions"),
        ({"static_offset": np.zeros((5, 2))}, "static_offset has dimensions"),
        ({"fps": -25.0}, "fps should be one number"),
        ({"fps": np.nan}, "fps should be one number"),
        ({"fps": np.zeros(2)}, "fps should be one number"),
    ],
)
def test_broken_values_are_named(tmp_path, changes, said):
    np.savez(tmp_path / "m.npz", **(GOOD | changes))
    with pytest.raises(UserError, match=said):
        FlameSequence.read(tmp_path / "m.npz")


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("bomb-went-off",)


def npy(shape, data=b"", descr="<f8"):
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def zip_of(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return stream.getvalue()


def pickled_npz():
    stream = io.BytesIO()
    np.savez(stream, expr=np.array([Bomb()], dtype=object))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"PK\x03\x04 and nothing else", "cannot be read"),
        (pickle.dumps(Bomb()), "cannot be read"),
        (pickled_npz(), "Python objects"),
        (zip_of(other=npy((1,), bytes(8))), "holds no FLAME motion"),
        (zip_of(expr=npy((1 << 40, 100))), "cannot be read"),
        (zip_of(expr=npy((-1, 100), bytes(800))), "cannot be read"),
        (zip_of(expr=npy((1 << 32, 1 << 32, 100), bytes(800))), "cannot be read"),
        (zip_of(expr=bytes(1 << 20)), "cannot be read"),
        (zip_of(expr=npy((1, 100), bytes(800), descr="|O")), "Python objects"),
        (zip_of(expr=bytes(1100 << 20)), "unpacks to more than"),
        (zip_of(expr=npy((1, 100), bytes(800)))[:-40], "cannot be read"),
    ],
    ids=range(12),
)
def test_hostile_archives_are_refused_without_running_or_reserving_anything(tmp_path, monkeypatch, content, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.npz").write_bytes(content)
    with pytest.raises(UserError, match=said):
        FlameSequence.read("m.npz")
    assert os.listdir(tmp_path) == ["m.npz"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.npz"
    random_sequence(3).write(path)
    before = path.read_bytes()
    monkeypatch.setattr(np, "savez", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        random_sequence(4).write(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@settings(deadline=None)
@given(frames=st.integers(1, 60), source=st.sampled_from((24.0, 25, 30, 60)), target=st.floats(5, 120))
def test_resampling_keeps_duration_and_ends(frames, source, target):
    sequence = random_sequence(frames, source)
    resampled = sequence.resample(target)
    assert resampled.fps == target
    assert abs(resampled.duration - sequence.duration) <= 0.5 / target + 1e-9 or len(resampled) == 1
    assert np.allclose(resampled.expression[0], sequence.expression[0])
    assert np.allclose(resampled.rotation[0], sequence.rotation[0])


def test_resampling_turns_at_constant_speed_along_the_shortest_arc():
    first, second = Rotation.from_euler("y", 170, degrees=True), Rotation.from_euler("y", 190, degrees=True)
    still = FlameSequence.still(2, 10)
    rotations = np.stack([first.as_rotvec(), second.as_rotvec()])
    eyes = np.concatenate([rotations, rotations[::-1]], axis=1)
    fine = replace(still, rotation=rotations, eyes_pose=eyes, expression=[[0.0] * 100, [1.0] * 100]).resample(40)
    angles = Rotation.from_rotvec(fine.rotation).as_euler("yxz", degrees=True)[:, 0] % 360
    assert np.allclose(angles[:5], [170, 175, 180, 185, 190], atol=1e-3)
    back = Rotation.from_rotvec(fine.eyes_pose[:, 3:]).as_euler("yxz", degrees=True)[:, 0] % 360
    assert np.allclose(back[:5], [190, 185, 180, 175, 170], atol=1e-3)
    assert np.allclose(fine.expression[:5, 0], [0, 0.25, 0.5, 0.75, 1])


def test_upsampling_then_taking_every_other_frame_is_the_identity():
    sequence = random_sequence(20, 30)
    twice = sequence.resample(60)
    for name in FRAME_FIELDS:
        assert np.allclose(getattr(twice, name)[::2], getattr(sequence, name), atol=1e-6), name


def test_cutting_and_looping():
    sequence = random_sequence(10)
    assert len(sequence.slice(2, 5)) == 3 and np.array_equal(sequence.slice(2, 5).jaw_pose, sequence.jaw_pose[2:5])
    looped = sequence.looped(25)
    assert len(looped) == 25 and np.array_equal(looped.expression[13], sequence.expression[3])
    assert len(sequence.looped(4)) == 4
    with pytest.raises(ValueError, match="empty"):
        sequence.slice(0, 0).looped(3)


@pytest.mark.parametrize("fps", [0.0, -30.0, float("nan"), float("inf")])
def test_wrong_use_is_an_error_of_the_program(fps):
    with pytest.raises(ValueError, match="fps"):
        FlameSequence.still(3, fps)
    with pytest.raises(ValueError, match="jaw_pose"):
        FlameSequence(30, np.zeros(300), *(np.zeros((2, n)) for n in (100, 3, 3, 4, 6, 3)))
