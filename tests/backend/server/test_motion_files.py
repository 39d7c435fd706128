import io
import zipfile

import numpy as np
import pytest

from emo_avatar.errors import UserError
from emo_avatar.head.data import load_head
from emo_avatar.motion.read import read_motion
from emo_avatar.server import motion_files
from emo_avatar.server.motion_files import unpacked


def frame(jaw):
    stream = io.BytesIO()
    np.savez(stream, jaw_pose=np.full((1, 3), jaw, np.float32), expr=np.zeros((1, 100), np.float32))
    return stream.getvalue()


@pytest.fixture
def zipped(tmp_path):
    def write(members):
        with zipfile.ZipFile(tmp_path / "motion.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return tmp_path / "motion.zip"

    return write


FRAMES = {f"flame_param/{i:05d}.npz": frame(i / 10) for i in range(3)}


@pytest.mark.parametrize("root", ["", "talk/", "a/b/talk/"])
def test_a_lam_motion_folder_comes_as_a_zip(zipped, root):
    members = {root + name: data for name, data in FRAMES.items()}
    members |= {root + "transforms.json": b'{"fps": 25}', "__MACOSX/flame_param/00000.npz": b"", "notes.txt": b"x"}
    sequence, _ = read_motion(unpacked(zipped(members)), load_head())
    assert (len(sequence), sequence.fps) == (3, 25)
    assert sequence.jaw_pose[:, 0].tolist() == pytest.approx([0, 0.1, 0.2])


def test_other_files_stay_as_they_are(tmp_path):
    file = tmp_path / "motion.npz"
    file.write_bytes(frame(0.1))
    assert unpacked(file) == file
    text = tmp_path / "motion.csv"
    text.write_text("a,b")
    assert unpacked(text) == text


def test_nothing_is_written_outside(zipped, tmp_path):
    evil = {"../../flame_param/00000.npz": frame(0), "../evil.npz": b"x", "/flame_param/00001.npz": frame(0)}
    for name, data in evil.items():
        folder = unpacked(zipped({name: data})) if "flame_param" in name else None
        if folder is not None:
            assert tmp_path in folder.parents
            assert [file.parent.parent for file in folder.rglob("*.npz")] == [folder]
            import shutil

            shutil.rmtree(folder.parent)
    assert not (tmp_path.parent / "evil.npz").exists()
    assert not (tmp_path.parent / "flame_param").exists()


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"a.txt": b"x"}, "holds no motion"),
        ({f"{root}/{name}": data for root in "ab" for name, data in FRAMES.items()}, "several motions"),
    ],
)
def test_zips_without_one_motion_are_refused(zipped, members, reason):
    with pytest.raises(UserError, match=reason):
        unpacked(zipped(members))


def test_bombs_are_stopped(zipped, monkeypatch):
    monkeypatch.setattr(motion_files, "MAX_UNPACKED", 1 << 20)
    with pytest.raises(UserError, match="no motion is that large"):
        unpacked(zipped({"flame_param/00000.npz": bytes(2 << 20)}))


def test_a_damaged_zip_is_refused(zipped):
    file = zipped(FRAMES)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UserError, match="not a zip archive"):
        unpacked(file)
