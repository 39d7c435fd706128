"""Avatar files: what is written is read again, and what strangers wrote is refused with a sentence."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.avatar.files import load_avatar, save_avatar
from emo_avatar.errors import UserError
from emo_avatar.motion.flame_sequence import FlameSequence


@pytest.fixture(scope="module")
def members(painted_avatar: Avatar, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("files") / "painted.emoavatar"
    save_avatar(painted_avatar, path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(folder: Path, members: dict[str, bytes]) -> Path:
    path = folder / "a.emoavatar"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_reads_what_it_writes(painted_avatar: Avatar, tmp_path: Path) -> None:
    path = tmp_path / "new folder.emoavatar"
    size = save_avatar(painted_avatar, path)
    assert size == path.stat().st_size
    again = load_avatar(path)
    assert (again.name, again.backbone, again.photo) == (painted_avatar.name, painted_avatar.backbone, None)
    np.testing.assert_array_equal(again.rig.faces, painted_avatar.rig.faces)
    still = FlameSequence.still(1)
    before, after = painted_avatar.pose(still), again.pose(still)
    torch.testing.assert_close(after.means, before.means, atol=1e-6, rtol=0)
    torch.testing.assert_close(after.sh, before.sh, atol=2e-3, rtol=0)  # stored at 11 bits


def test_a_failed_write_leaves_the_old_file(
    painted_avatar: Avatar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.emoavatar"
    path.write_bytes(b"precious")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises((UserError, OSError)):
        save_avatar(painted_avatar, path)
    assert path.read_bytes() == b"precious"
    assert [p.name for p in tmp_path.iterdir()] == ["a.emoavatar"]


def changed(data: bytes, **changes: object) -> bytes:
    return json.dumps(json.loads(data) | changes).encode()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("avatar.json", lambda data: b"{"),
        ("avatar.json", lambda data: b"[" * 100_000),
        ("avatar.json", lambda data: changed(data, format="other")),
        ("avatar.json", lambda data: changed(data, version=99)),
        ("avatar.json", lambda data: changed(data, rig={"kind": "os:system", "settings": {}})),
        ("avatar.json", lambda data: changed(data, framing={"target": [0, float("nan"), 0], "half_height": 1})),
        ("avatar.json", lambda data: changed(data, photo={"camera": 1})),
        ("gaussians.safetensors", lambda data: data[: len(data) // 2]),
        ("gaussians.safetensors", lambda data: b""),
        ("gaussians.safetensors", lambda data: safetensors.numpy.save({"means": np.zeros((3, 3), np.float32)})),
        ("rig.safetensors", lambda data: data[:-8]),
        ("rig.safetensors", lambda data: safetensors.numpy.save({"shape": np.zeros(300, np.float32)})),
    ],
)
def test_refuses_damage(name: str, change, members: dict[str, bytes], tmp_path: Path) -> None:
    path = written(tmp_path, members | {name: change(members[name])})
    with pytest.raises(UserError, match=r"\.$"):
        load_avatar(path)


def test_refuses_numbers_that_are_none(members: dict[str, bytes], tmp_path: Path) -> None:
    arrays = safetensors.numpy.load(members["gaussians.safetensors"])
    arrays["means"][7, 1] = np.nan
    path = written(tmp_path, members | {"gaussians.safetensors": safetensors.numpy.save(arrays)})
    with pytest.raises(UserError, match="damaged"):
        load_avatar(path)


def test_refuses_a_zip_bomb(members: dict[str, bytes], tmp_path: Path) -> None:
    path = written(tmp_path, members | {"avatar.json": b" " * (1 << 26)})
    assert path.stat().st_size < 1 << 24
    with pytest.raises(UserError, match="damaged"):
        load_avatar(path)


def test_refuses_what_is_no_avatar(tmp_path: Path) -> None:
    text = tmp_path / "text.emoavatar"
    text.write_text("hello")
    for path in (text, tmp_path, tmp_path / "missing.emoavatar", written(tmp_path, {"other.txt": b""})):
        with pytest.raises(UserError, match=r"\.$"):
            load_avatar(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(at=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_changed_byte_never_escapes_the_checks(
    at: float, flip: int, members: dict[str, bytes], tmp_path: Path
) -> None:
    path = written(tmp_path, {"avatar.json": members["avatar.json"]})
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= flip
    path.write_bytes(data)
    with pytest.raises(UserError):  # it lacks its arrays, in any case
        load_avatar(path)
