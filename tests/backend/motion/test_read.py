"""Every motion format that others write, told by content."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from emo_avatar.errors import UserError
from emo_avatar.head.arkit import flame_from_arkit
from emo_avatar.head.data import ARKIT_NAMES
from emo_avatar.motion.flame_npz import FRAME_FIELDS
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.read import read_motion

BLINK = [{"eyeBlinkLeft": i / 10, "jawOpen": 0.2, "mouthLeft": 0.3, "jawRight": 0.4} for i in range(10)]


def weights_of(frames):
    return np.array([[frame.get(name, 0.0) for name in ARKIT_NAMES] for frame in frames], np.float32)


def write(folder, name, content):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def assert_shows(sequence, head, frames):
    expression, jaw, eyes = flame_from_arkit(head, weights_of(frames))
    assert np.allclose(sequence.expression, expression, atol=1e-4)
    assert np.allclose(sequence.jaw_pose, jaw, atol=1e-5)


def test_live_link_face(tmp_path, head, live_link):
    sequence, notes = read_motion(write(tmp_path, "take.csv", live_link(BLINK * 20)), head)
    assert (len(sequence), sequence.fps, sequence.head) == (200, 60, head.name)
    assert notes == []
    assert_shows(sequence, head, BLINK * 20)


def test_live_link_face_rates_and_old_header(tmp_path, head, live_link):
    text = live_link(BLINK * 20, fps=30, count_name="BlendshapeCount")
    sequence, _ = read_motion(write(tmp_path, "take.csv", text), head)
    assert sequence.fps == 30 and len(sequence) == 200
    slow, _ = read_motion(tmp_path / "take.csv", head, fps=15)
    assert slow.fps == 15 and len(slow) == 100
    assert np.allclose(slow.expression, sequence.expression[::2], atol=1e-5)


def test_live_link_face_rotations(tmp_path, head, live_link):
    # An eye that looks down and to the subject's right without torsion, and its angles as the app recorded them
    frame = {"leftEyeYaw": -0.0381863005, "leftEyePitch": 0.0688475519, "leftEyeRoll": -0.0026325486,
             "rightEyeYaw": 0.1, "headYaw": 0.3, "headPitch": 0.2, "headRoll": -0.1}  # fmt: skip
    sequence, _ = read_motion(write(tmp_path, "take.csv", live_link([frame] * 3)), head)
    gaze = Rotation.from_rotvec(sequence.eyes_pose[0, :3]).apply([0, 0, 1])
    assert gaze[0] < -0.03 and gaze[1] < -0.06, "pitch is down, negative yaw to the subject's right"
    up = Rotation.from_rotvec(sequence.eyes_pose[0, :3])
    assert abs((up.inv() * Rotation.from_euler("XY", [0.0689, -0.0381])).magnitude()) < 2e-4
    assert np.allclose(sequence.eyes_pose[0, 3:], [0, 0.1, 0], atol=1e-6)
    nose = Rotation.from_rotvec(sequence.neck_pose[0]).apply([0, 0, 1])
    assert nose[0] > 0.25 and nose[1] < -0.15, "the head turns to its left and nods"
    assert not sequence.rotation.any()


def test_gaze_comes_from_the_weights_when_eyes_are_not_tracked(tmp_path, head, live_link):
    frames = [{"eyeLookUpLeft": 0.8, "eyeLookUpRight": 0.8}] * 3
    sequence, _ = read_motion(write(tmp_path, "take.csv", live_link(frames)), head)
    assert np.allclose(sequence.eyes_pose, flame_from_arkit(head, weights_of(frames))[2], atol=1e-6)
    assert sequence.eyes_pose.any()


def test_lost_and_dropped_frames_are_filled(tmp_path, head, live_link):
    frames = [{"jawOpen": i / 200} for i in range(150)]
    lines = live_link([frame if i not in (40, 41, 42) else None for i, frame in enumerate(frames)]).splitlines()
    del lines[100]  # dropped by the recorder
    sequence, notes = read_motion(write(tmp_path, "take.csv", "\n".join(lines)), head)
    assert len(sequence) == 150
    assert np.allclose(sequence.jaw_pose, flame_from_arkit(head, weights_of(frames))[1], atol=1e-3)
    assert any("3 frames without a face" in note for note in notes)


def test_a_take_over_midnight(tmp_path, head, live_link):
    text = live_link(BLINK * 30, start=24 * 3600 - 2.5)
    for hour in (24, 25):
        text = text.replace(f"\n{hour}:", f"\n{hour - 24:02d}:")
    sequence, notes = read_motion(write(tmp_path, "take.csv", text), head)
    assert len(sequence) == 300 and notes == []


APPLE = [{"eyeBlink_L": f["eyeBlinkLeft"], "jawOpen": 0.2, "mouthLeft": 0.3, "jawRight": 0.4} for f in BLINK]
LAM_AUDIO = {
    "names": list(ARKIT_NAMES[::-1]),
    "metadata": {"fps": 25, "frame_count": 10, "blendshape_names": list(ARKIT_NAMES[::-1])},
    "frames": [
        {"weights": row[::-1].tolist(), "time": i / 25, "rotation": []} for i, row in enumerate(weights_of(BLINK))
    ],
}
AUDIO2FACE = {
    "exportFps": 25, "numPoses": 52, "numFrames": 10, "facsNames": list(ARKIT_NAMES),
    "weightMat": weights_of(BLINK).tolist(),
}  # fmt: skip


@pytest.mark.parametrize(
    ("document", "fps"),
    [
        (BLINK, 30),
        (APPLE, 30),
        ({"fps": 25, "frames": BLINK}, 25),
        ({"fps": 25, "frames": [{"time": i, "blendShapes": frame} for i, frame in enumerate(BLINK)]}, 25),
        (weights_of(BLINK).tolist(), 30),
        (LAM_AUDIO, 25),
        (AUDIO2FACE, 25),
    ],
    ids=["list", "apple", "fps", "nested", "numbers", "lam", "audio2face"],
)
def test_json(tmp_path, head, document, fps):
    sequence, _ = read_motion(write(tmp_path, "motion.dat", document), head)
    assert sequence.fps == fps
    assert_shows(sequence, head, BLINK)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 5))
def test_csv_and_json_agree_with_the_weights(tmp_path_factory, head, live_link, seed, frames):
    rng = np.random.default_rng(seed)
    frames = [dict(zip(ARKIT_NAMES, rng.random(52).round(6).tolist(), strict=True)) for _ in range(frames)]
    folder = tmp_path_factory.mktemp("motion")
    for name, content in (("a.csv", live_link(frames)), ("a.json", frames)):
        assert_shows(read_motion(write(folder, name, content), head)[0], head, frames)


def random_sequence(frames):
    rng = np.random.default_rng(5)
    fields = {name: rng.normal(0, 0.3, (frames, width)) for name, width in FRAME_FIELDS.items()}
    return FlameSequence(25, rng.normal(0, 1, 300), **fields)


def write_lam_folder(folder, sequence, fps=None):
    (folder / "flame_param").mkdir(parents=True)
    for i in range(len(sequence)):
        frame = sequence.slice(i, i + 1)
        arrays = {("expr" if name == "expression" else name): getattr(frame, name) for name in FRAME_FIELDS}
        np.savez(folder / "flame_param" / f"{i:05d}.npz", shape=sequence.shape, **arrays)
    frames = [{"timestep_index": i, "flame_param_path": f"flame_param/{i:05d}.npz"} for i in range(len(sequence))]
    transforms = {"frames": frames} if fps is None else {"frames": frames, "fps": fps}
    (folder / "transforms.json").write_text(json.dumps(transforms))


@pytest.mark.parametrize("given_path", ["", "flame_param", "transforms.json"])
def test_lam_folders(tmp_path, head, given_path):
    sequence = random_sequence(12)
    write_lam_folder(tmp_path / "clip", sequence, fps=25)
    read, notes = read_motion(tmp_path / "clip" / given_path, head)
    assert read.fps == 25 and np.array_equal(read.shape, sequence.shape)
    for name in FRAME_FIELDS:
        assert np.array_equal(getattr(read, name), getattr(sequence, name)), name
    assert ["official FLAME" in note for note in notes] == [True]


def test_lam_folders_with_gaps_and_broken_frames(tmp_path, head):
    write_lam_folder(tmp_path, random_sequence(6))
    (tmp_path / "flame_param" / "00003.npz").unlink()
    sequence, notes = read_motion(tmp_path, head)
    assert len(sequence) == 5 and any("skips 1 frame" in note for note in notes)
    assert any("30 fps assumed" in note for note in notes)
    np.savez(tmp_path / "flame_param" / "00004.npz", expr=np.zeros(100))
    with pytest.raises(UserError, match="00004.npz"):
        read_motion(tmp_path, head)
    with pytest.raises(UserError, match="holds no motion"):
        (tmp_path / "empty").mkdir()
        read_motion(tmp_path / "empty", head)


def test_our_own_npz_reads_without_notes_and_an_offset_of_another_head_is_left_out(tmp_path, head):
    own = replace(random_sequence(3), head=head.name)
    own.write(tmp_path / "own.npz")
    assert read_motion(tmp_path / "own.npz", head)[1] == []
    replace(own, static_offset=np.zeros((5143, 3))).write(tmp_path / "vhap.npz")
    sequence, notes = read_motion(tmp_path / "vhap.npz", head)
    assert sequence.static_offset is None and len(notes) == 1 and "5143" in notes[0]


def test_our_sequences_move_to_another_head_by_their_arkit_units(tmp_path, head):
    # The same head with its expression basis turned: another head's numbers for the same faces
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(100, 100)))[0].astype(np.float32)
    dirs = head.shapedirs.copy()
    dirs[:, :, 300:] = dirs[:, :, 300:] @ turn
    other = replace(head, name="other", shapedirs=dirs, arkit_to_expr=head.arkit_to_expr @ turn)
    weights = weights_of(BLINK)
    weights[:, ARKIT_NAMES.index("browOuterUpLeft")] = -0.4
    weights[:, ARKIT_NAMES.index("mouthSmileLeft")] = 1.6
    expression, jaw, eyes = flame_from_arkit(head, weights)
    still = FlameSequence.still(len(weights))
    sequence = replace(still, expression=expression, jaw_pose=jaw, eyes_pose=eyes, neck_pose=still.jaw_pose + 0.1)
    replace(sequence, head=head.name).write(tmp_path / "own.npz")
    moved, notes = read_motion(tmp_path / "own.npz", other)
    assert moved.head == "other" and len(notes) == 1 and "carried over" in notes[0]
    assert np.allclose(moved.expression, expression @ turn, atol=1e-2)
    assert np.allclose(moved.jaw_pose, jaw, atol=1e-4) and np.allclose(moved.neck_pose, 0.1)


HEADER = "Timecode,BlendShapeCount,JawOpen,HeadYaw\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no ARKit blendshape"),
        ("a,b,c\n1,2,3\n", "no ARKit blendshape"),
        ("just some text", "no ARKit blendshape"),
        (HEADER, "no frame"),
        (HEADER + "00:00:00:00,0\n", "no frame"),
        (HEADER + "00:00:00:00,61,x,0\n", "line 2: could not convert string to float: 'x'"),
        (HEADER + "00:00:00:00,61,nan,0\n", "not finite"),
        (HEADER + "00:00:00:00,61,1e400,0\n", "not finite"),
        (HEADER + "00:00:00:00,61,50,0\n", "from 0 to 1"),
        (HEADER + "00:00:00:00,61,0,45\n", "radians"),
        (HEADER + '"' + "x" * 200_000 + '"\n', "line 2: field larger than"),
        ("{", "broken JSON"),
        ("[" * 100_000, "broken JSON"),
        ([], "no list of frames"),
        ({}, "no list of frames"),
        ({"emotions": {}}, "emotion timeline"),
        ([3], "frame 0"),
        ([[1, 2, 3]], "3 weights, but 52"),
        ([{"nothing": 1}], "no ARKit blendshape"),
        ([{"jawOpen": float("nan")}], "no ARKit blendshape|not finite"),
        ({"fps": -3, "frames": BLINK}, "fps"),
        ({"fps": "fast", "frames": BLINK}, "fps"),
        ({"frames": {"0": {}}}, "no list of frames"),
    ],
)
def test_broken_texts_say_what_is_wrong(tmp_path, head, content, said):
    with pytest.raises(UserError, match=said):
        read_motion(write(tmp_path, "motion.txt", content), head)


def test_other_files(tmp_path, head):
    (tmp_path / "m.pt").write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match="no motion"):
        read_motion(tmp_path / "m.pt", head)
    with pytest.raises(UserError, match="cannot be opened"):
        read_motion(tmp_path / "nowhere.csv", head)
    for fps in (0, -1, float("nan")):
        with pytest.raises(UserError, match="frame rate"):
            read_motion(tmp_path / "m.pt", head, fps=fps)


def test_timecodes_that_jump_count_rows(tmp_path, head):
    rows = "".join(f"{t},61,0.5,0\n" for t in ("00:00:01:00", "00:00:01:00", "00:00:00:05", "09:00:00:00"))
    sequence, notes = read_motion(write(tmp_path, "t.csv", HEADER + rows), head)
    assert len(sequence) == 4 and any("jump" in note for note in notes)
