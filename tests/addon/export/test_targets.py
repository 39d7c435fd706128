"""Files and folders: checked before, whole or not at all after."""

import errno
import os
import shutil
import sys

import pytest
from emo_avatar_addon.errors import AddonError
from emo_avatar_addon.export.targets import check_target, reserve, whole_file, whole_folder


def check(path, folder=False, overwrite=False, needed=1):
    check_target(path, folder=folder, overwrite=overwrite, needed=needed)


def test_what_stands_in_the_way_is_told_before_the_work(tmp_path):
    (tmp_path / "file.npz").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "00001.ply").write_text("x")
    (tmp_path / "empty").mkdir()
    check(tmp_path / "new.npz")
    check(tmp_path / "empty", folder=True)
    check(tmp_path / "made" / "on" / "the" / "way", folder=True)
    check(tmp_path / "file.npz", overwrite=True)
    for path, options, why in (
        (tmp_path / "file.npz", {}, "exists"),
        (tmp_path / "full", {"folder": True}, "not empty"),
        (tmp_path / "full", {"overwrite": True}, "is a folder"),
        (tmp_path / "file.npz", {"folder": True, "overwrite": True}, "is a file"),
        (tmp_path / "no" / "such" / "a.npz", {}, "no folder"),
        (tmp_path / "file.npz" / "inside", {"folder": True}, "not a folder"),
        (tmp_path / "big.abc", {"needed": 1 << 60}, "free"),
    ):
        with pytest.raises(AddonError, match=why):
            check(path, **options)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(AddonError, match="Nothing can be written"):
            check(tmp_path / "a.npz")
    finally:
        tmp_path.chmod(0o700)


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "a.npz"
    with whole_file(path) as temporary:
        temporary.write_text("one")
    with pytest.raises(KeyError), whole_file(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "one" and os.listdir(tmp_path) == ["a.npz"]


def test_a_folder_is_whole_or_as_it_was(tmp_path):
    folder = tmp_path / "frames"
    with whole_folder(folder, ".png") as temporary:
        for number in range(3):
            (temporary / f"{number:05d}.png").write_text("old")
    (folder / "notes.txt").write_text("the artist's")
    with pytest.raises(KeyError), whole_folder(folder, ".png") as temporary:
        (temporary / "00000.png").write_text("new")
        raise KeyError
    assert sorted(os.listdir(folder)) == ["00000.png", "00001.png", "00002.png", "notes.txt"]
    assert (folder / "00000.png").read_text() == "old"
    with whole_folder(folder, ".png") as temporary:
        (temporary / "00000.png").write_text("new")
    assert sorted(os.listdir(folder)) == ["00000.png", "notes.txt"]
    assert os.listdir(tmp_path) == ["frames"]


def test_folders_made_on_the_way_are_taken_back(tmp_path):
    with pytest.raises(KeyError), whole_folder(tmp_path / "a" / "b", ".png"):
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    with pytest.raises(AddonError, match="No space left.*Nothing was left behind"), whole_file(path):
        raise OSError(28, "No space left on device")
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(AddonError, match="0 kB are free"):
        check(path, needed=1 << 20)


def test_room_is_made_sure_of_by_taking_it(tmp_path, monkeypatch):
    reserve(tmp_path, 1 << 20)
    with pytest.raises(AddonError, match="less room"):
        reserve(tmp_path, 1 << 60)
    if hasattr(os, "posix_fallocate"):

        def refuse(*_):
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

        monkeypatch.setattr(os, "posix_fallocate", refuse)
        with pytest.raises(AddonError, match="less room"):
            reserve(tmp_path, 1)
    assert os.listdir(tmp_path) == []
