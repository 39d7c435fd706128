"""Setting the backend up: what a plan says, what an installation leaves, whole or broken off."""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from emo_avatar_addon.errors import AddonError
from emo_avatar_addon.link import installer, interpreters
from emo_avatar_addon.link.interpreters import Interpreter
from emo_avatar_addon.link.session import Spawned

ROOT = Path(__file__).parents[3]
FAKE_BACKEND = ROOT / "tests" / "data" / "fake_backend"


BLENDER = """
import dataclasses, sys
from pathlib import Path
sys.path.insert(0, {repository!r})
from emo_avatar_addon.link import installer, interpreters
plan = installer.plan(Path({root!r}), Path({bundle!r}), interpreters.probe(sys.executable), "cpu")
installer.install(dataclasses.replace(plan, torch=None, indexes=()), lambda fraction, doing: None)
"""


class Cancelled(Exception):
    pass


@pytest.fixture(scope="module")
def python():
    return interpreters.probe(sys.executable)


@pytest.fixture
def bundle(tmp_path):
    """An extension that carries a small backend."""
    shutil.copytree(FAKE_BACKEND, tmp_path / "bundle" / "backend")
    (tmp_path / "bundle" / "constraints.txt").write_text("torch==2.13.0\n")
    return tmp_path / "bundle"


@pytest.fixture
def plan(tmp_path, bundle, python, monkeypatch):
    """Its plan, without PyTorch and without a network."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    made = installer.plan(tmp_path / "user" / "emo_avatar", bundle, python, "cpu")
    return dataclasses.replace(made, torch=None, indexes=(), finishing=(("Greeting", ("-c", "print('hello')")),))


def left_in(plan):
    return sorted(path.name for path in plan.root.iterdir())


def commands_in(folder):
    """The command lines of running processes that name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            found += [command] if str(folder) in command else []
    return found


def wait_until(condition):
    end = time.monotonic() + 120.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def before(plan):
    """An older installation that the plan would replace."""
    made = installer.Installation(plan.root / "backend-3", "0.0.9", "cpu", "Python 3.11.7", 1)
    made.python.parent.mkdir(parents=True)
    made.python.touch()
    installer._point_to(made)
    return made


def test_installs_tests_replaces_and_removes(plan, before, threads_end):
    heard = []
    (plan.root / "backend-1" / "bin").mkdir(parents=True)  # left by a Blender that was interrupted
    made = installer.install(plan, lambda fraction, doing: heard.append((fraction, doing)))
    assert installer.installed(plan.root) == made and made.is_whole
    assert left_in(plan) == ["backend-4", "backend.json", "install.log"]
    assert (made.version, made.device) == ("0.1.0", "cpu") and made.mb > 5
    fractions = [fraction for fraction, _ in heard]
    assert fractions == sorted(fractions)
    assert {"Greeting", "Making a virtual environment"} <= {doing for _, doing in heard}
    assert any("Self-test" in doing for _, doing in heard)
    assert "hello" in installer.install_log(plan.root)
    assert installer.self_test(Spawned(made.python), lambda fraction, doing: None) == "cpu"
    assert {"Emo Avatar installer's output", "Emo Avatar backend", "Emo Avatar backend's output"} <= threads_end()

    made.python.unlink()
    assert not installer.installed(plan.root).is_whole
    installer.remove(plan.root)
    assert left_in(plan) == [] and installer.installed(plan.root) is None


@pytest.mark.parametrize("when", ["Making a virtual environment", "Downloading what the backend needs"])
def test_cancelled_leaves_nothing_but_the_one_before(plan, before, when, monkeypatch):
    monkeypatch.setenv("FAKE_BUILD", "slow")

    def report(fraction, doing):
        if doing.startswith(when):
            logs.append(installer.install_log(plan.root))
            raise Cancelled

    logs = []
    with pytest.raises(Cancelled):
        installer.install(plan, report)
    assert logs[0].splitlines()[-1].startswith("$ ")  # it can be looked at while it is written
    assert installer.installed(plan.root) == before and before.is_whole
    assert set(left_in(plan)) - {"downloads"} == {"backend-3", "backend.json", "install.log"}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_a_killed_blender_leaves_no_pip_and_the_next_one_tidies_up(plan, before, bundle, monkeypatch):
    monkeypatch.setenv("FAKE_BUILD", "slow")
    script = BLENDER.format(repository=str(ROOT), root=str(plan.root), bundle=str(bundle))
    blender = subprocess.Popen([sys.executable, "-c", script])
    wait_until(lambda: any("build_wheel" in command for command in commands_in(plan.root)))
    os.kill(blender.pid, signal.SIGKILL)
    blender.wait()
    wait_until(lambda: not commands_in(plan.root))
    assert "backend-4" in left_in(plan)

    installer.tidy(plan.root)
    assert installer.installed(plan.root) == before and before.is_whole
    assert set(left_in(plan)) - {"downloads"} == {"backend-3", "backend.json", "install.log"}
    assert not any((plan.root / "downloads" / "tmp").glob("*"))


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("FAKE_BUILD", "full disk", "the disk is full; free some space"),
        ("FAKE", "ends at once", "ended at once: exit code 1. It said: ImportError"),
    ],
)
def test_failed_leaves_nothing_and_says_what_to_do(plan, monkeypatch, variable, value, said):
    monkeypatch.setenv(variable, value)
    with pytest.raises(AddonError, match=said):
        installer.install(plan, lambda fraction, doing: None)
    assert installer.installed(plan.root) is None
    assert set(left_in(plan)) - {"downloads"} == {"install.log"}


def test_without_pytorchs_index_nothing_larger_is_downloaded_unasked(plan):
    planned = dataclasses.replace(plan, torch="no-such-package==1.0", indexes=("https://127.0.0.1:9/cpu",))
    with pytest.raises(AddonError, match="PyTorch failed: .*If only .*choose the graphics card"):
        installer.install(planned, lambda fraction, doing: None)
    assert installer.installed(plan.root) is None


def test_for_a_graphics_card_each_index_is_tried_and_the_extra_is_installed(plan, bundle, python):
    planned = installer.plan(plan.root, bundle, python, "cuda")
    if sys.platform == "linux":  # the usual index has it
        assert (planned.torch, planned.indexes) == (None, ())
    assert planned.download_mb > plan.download_mb and planned.disk_mb > plan.disk_mb
    indexes = tuple(f"https://127.0.0.1:9/{name}" for name in ("cu130", "cu128"))
    planned = dataclasses.replace(planned, torch="no-such-package==1.0", indexes=indexes)
    with pytest.raises(AddonError, match="PyTorch failed: .*If only .*choose the processor"):
        installer.install(planned, lambda fraction, doing: None)
    log = installer.install_log(plan.root)
    assert [f"--index-url {index} " in log for index in indexes] == [True, True]

    made = installer.install(dataclasses.replace(planned, torch=None, finishing=()), lambda fraction, doing: None)
    assert "source[cuda]" in installer.install_log(plan.root)
    assert made.device == "cpu"  # what the self-test ran on, which the preferences then say


@pytest.mark.skipif(os.name == "nt", reason="writes a shell script")
@pytest.mark.parametrize(
    ("script", "card"),
    [
        ("echo 'NVIDIA GeForce RTX 4090'; echo 'NVIDIA T4'", "NVIDIA GeForce RTX 4090"),
        ("echo 'NVIDIA-SMI has failed because it could not communicate with the driver.'; exit 9", None),
        ("exit 0", None),
        (None, None),
    ],
)
def test_a_card_is_there_when_its_driver_answers(tmp_path, monkeypatch, script, card):
    monkeypatch.setenv("PATH", str(tmp_path))
    if script is not None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
    assert interpreters.nvidia_card() == card


def test_two_blenders_do_not_install_at_once(plan, before):
    refused = []

    def report(fraction, doing):
        with pytest.raises(AddonError, match="Another Blender is setting the backend up"):
            installer.remove(plan.root)
        with pytest.raises(AddonError, match="Another Blender is setting the backend up"):
            installer.install(plan, report)
        refused.append(doing)
        raise Cancelled

    with pytest.raises(Cancelled):
        installer.install(plan, report)
    assert refused and installer.installed(plan.root) == before
    installer.remove(plan.root)
    assert left_in(plan) == []


@pytest.mark.parametrize(
    "text", ["", "[]", '{"folder": "../../home"}', '{"folder": "backend-1"}', '{"folder": 3}', "{"]
)
def test_a_damaged_pointer_is_no_installation(tmp_path, text):
    (tmp_path / "backend.json").write_text(text)
    assert installer.installed(tmp_path) is None


def test_too_small_a_disk_is_told_before_the_work(plan):
    with pytest.raises(AddonError, match="needs 10000.6 GB on the disk"):
        installer.install(dataclasses.replace(plan, disk_mb=10_000_000), lambda fraction, doing: None)
    assert left_in(plan) == []


def test_what_was_left_makes_room_before_the_disk_is_looked_at(plan, monkeypatch):
    (plan.root / "backend-1").mkdir(parents=True)

    def usage(folder):
        free = 0 if (plan.root / "backend-1").exists() else 10**13
        return types.SimpleNamespace(free=free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(Cancelled):
        installer.install(plan, cancel)
    assert not (plan.root / "backend-1").exists()


def cancel(fraction, doing):
    raise Cancelled


def test_plans_of_this_repository(tmp_path, python):
    planned = installer.plan(tmp_path, ROOT, python, "cpu")
    assert planned.source.joinpath("pyproject.toml").is_file()
    assert installer.bundled_version(ROOT) == "0.1.0"
    if sys.platform == "linux":
        assert planned.torch and planned.torch.startswith("torch==") and planned.indexes[0].endswith("/cpu")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": (3, 9, 1)}, "Python 3.9.1 does not fit"),
        ({"bits": 32}, "32-bit"),
        ({"makes_environments": False}, "cannot make virtual environments"),
    ],
)
def test_a_python_that_does_not_fit_is_told(tmp_path, python, change, said):
    with pytest.raises(AddonError, match=said):
        installer.plan(tmp_path, ROOT, dataclasses.replace(python, **change), "cpu")


def test_finds_a_python_and_tells_what_is_none(tmp_path, monkeypatch):
    assert interpreters.find().objection is None
    nothing = tmp_path / "python3.11"
    nothing.write_text("#!/bin/sh\necho no\n")
    nothing.chmod(0o755)
    with pytest.raises(AddonError, match="not a Python"):
        interpreters.probe(nothing)
    monkeypatch.setattr(interpreters, "candidates", lambda: iter([nothing]))
    with pytest.raises(AddonError, match="No usable Python 3.10, 3.11, 3.12 or 3.13 was found.*python.org"):
        interpreters.find()


def test_probe_says_whether_the_backend_is_there(python, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(FAKE_BACKEND))
    assert interpreters.probe(sys.executable, isolated=False).has_backend
    assert isinstance(python, Interpreter) and python.bits == 64
