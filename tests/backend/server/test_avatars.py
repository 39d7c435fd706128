import hashlib
import threading
import time

import pytest
import torch

from emo_avatar.avatar.files import save_avatar
from emo_avatar.errors import UserError
from emo_avatar.server.avatars import Avatars
from emo_avatar.server.refusals import Refusal


@pytest.fixture
def files(painted_avatar, tmp_path):
    """Two avatar files that differ."""
    from dataclasses import replace

    paths = []
    for name in ("one", "two"):
        save_avatar(replace(painted_avatar, name=name), tmp_path / f"{name}.emoavatar")
        paths.append(tmp_path / f"{name}.emoavatar")
    return paths


def held_in(**options):
    return Avatars(torch.device("cpu"), **options)


def test_an_avatar_is_found_by_the_hash_of_its_file(files):
    avatars = held_in()
    held = avatars.add(files[0])
    assert held.id == hashlib.sha256(files[0].read_bytes()).hexdigest()
    assert avatars.get(held.id) is held
    assert avatars.add(files[0]) is held
    assert held.description()["name"] == "one"
    with pytest.raises(Refusal) as refused:
        avatars.get("0" * 64)
    assert refused.value.code == "unknown_avatar"


def test_the_least_recently_used_is_forgotten_first(files):
    size = held_in().add(files[0]).size
    avatars = held_in(max_bytes=int(1.5 * size))
    one, two = (avatars.add(file) for file in files)
    assert avatars.ids() == [two.id]
    assert avatars.add(files[0]).id == one.id
    assert avatars.ids() == [one.id]


def test_a_folder_remembers_beyond_the_process(files, tmp_path):
    folder = tmp_path / "kept"
    held = held_in(folder=folder).add(files[0])
    assert held_in(folder=folder).get(held.id).data == held.data


def test_a_damaged_file_of_the_folder_is_as_good_as_none(files, tmp_path):
    folder = tmp_path / "kept"
    held = held_in(folder=folder).add(files[0])
    (kept,) = folder.iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(Refusal, match="must be sent again"):
        held_in(folder=folder).get(held.id)
    assert not kept.exists()


@pytest.mark.parametrize("name", ["../../etc/passwd", "a" * 63 + "/", "..", "A" * 64])
def test_a_name_never_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(Refusal, match="must be sent again"):
        held_in(folder=tmp_path).get(name)


def test_a_folder_that_cannot_be_written_does_not_matter(files, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    avatars = held_in(folder=blocked)
    assert avatars.get(avatars.add(files[0]).id).avatar.name == "one"


def test_bytes_must_be_what_they_are_called(files):
    with pytest.raises(Refusal, match="SHA-256"):
        held_in().add(files[0], expected_id="0" * 64)


def test_what_is_no_avatar_is_not_held(tmp_path):
    (tmp_path / "bad.emoavatar").write_bytes(b"bad")
    avatars = held_in()
    with pytest.raises(UserError):
        avatars.add(tmp_path / "bad.emoavatar")
    assert avatars.ids() == []


def test_what_is_derived_is_made_once(files):
    held, made = held_in().add(files[0]), []

    def make():
        time.sleep(0.05)
        made.append(1)
        return len(made)

    threads = [threading.Thread(target=held.derived, args=("thing", make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held.derived("thing", make) == 1
    assert held.derived("other", lambda: held.derived("thing", make)) == 1
    with pytest.raises(ZeroDivisionError):
        held.derived("failing", lambda: 1 / 0)
    assert held.derived("failing", lambda: 3) == 3
