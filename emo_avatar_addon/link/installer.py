"""The backend in a virtual environment under the extension's own folder: planned, installed, verified, removed.

Every installation goes into a new folder. `backend.json` names the one in use and is written last, so a failed or
cancelled installation changes nothing: the old one, if there was one, goes on working.
"""

import collections
import contextlib
import dataclasses
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import AddonError
from . import pip
from .interpreters import Interpreter
from .process import kill_tree, own_group, tied
from .session import Session, Spawned, own_folders

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

Report = Callable[[float, str], None]  # fraction, what is being done; raises to cancel

_POINTER, _LOG, _LOCK, _DOWNLOADS, _MODELS = "backend.json", "install.log", "lock", "downloads", "models"
_TEMPORARY = "tmp"
_busy = threading.RLock()  # held with the lock file, which is for other Blenders: work of this one waits its turn
_INDEX = "https://download.pytorch.org/whl/"
SIZES_MB = {"cpu": (600, 2000), "cuda": (3700, 8000)}  # download, and what then lies on the disk
_MODEL_FILES = ("face_landmarker.task", "modnet.onnx")


@dataclass(frozen=True)
class Plan:
    """What an installation will do."""

    root: Path  # the extension's own folder
    python: Interpreter
    device: str  # "cpu" or "cuda"
    source: Path  # the backend's source, with its pyproject.toml
    constraints: Path
    torch: str | None  # a requirement that comes from PyTorch's own index
    indexes: tuple[str, ...]  # of PyTorch, tried in order
    download_mb: int
    disk_mb: int
    finishing: tuple[tuple[str, tuple[str, ...]], ...]  # what is done, arguments of the new Python


@dataclass(frozen=True)
class Installation:
    """The backend that is installed."""

    folder: Path
    version: str
    device: str  # that the self-test ran on
    python_version: str
    mb: int

    @property
    def python(self) -> Path:
        return _python_of(self.folder)

    @property
    def is_whole(self) -> bool:
        """Whether its Python is there: it goes when the Python that it was made of is removed."""
        return self.python.is_file()


def plan(root: Path, bundle: Path, python: Interpreter, device: str) -> Plan:
    """`bundle` is the folder of the extension. `AddonError` when this Python will not do."""
    if python.objection:
        raise AddonError(python.objection)
    if device == "cuda" and sys.platform == "darwin":
        raise AddonError("There is no CUDA on a Mac: choose the processor.")
    constraints = bundle / "constraints.txt"
    pinned = re.search(r"^torch==\S+", constraints.read_text(encoding="utf-8"), re.M)
    indexes: tuple[str, ...] = ()
    if device == "cpu" and sys.platform == "linux":
        indexes = (_INDEX + "cpu",)
    if device == "cuda" and sys.platform == "win32":
        indexes = tuple(_INDEX + cuda for cuda in ("cu130", "cu128", "cu126"))
    download, disk = SIZES_MB[device]
    return Plan(
        root=root,
        python=python,
        device=device,
        source=bundle / "backend",
        constraints=constraints,
        torch=(pinned.group() if pinned else "torch") if indexes else None,
        indexes=indexes,
        download_mb=download,
        disk_mb=disk,
        finishing=(
            (
                "Downloading model files",
                ("-c", f"from emo_avatar import assets; [assets.fetch(name) for name in {_MODEL_FILES!r}]"),
            ),
            (
                "Compiling the renderer for this processor",
                ("-c", "from emo_avatar.render.rasterize import warm_up; warm_up()"),
            ),
        ),
    )


def installed(root: Path) -> Installation | None:
    """The installation in use, or None."""
    try:
        said = json.loads((root / _POINTER).read_text(encoding="utf-8"))
        name = said.pop("folder")
        if not re.fullmatch(r"backend-\d+", name):
            return None
        return Installation(folder=root / name, **said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def bundled_version(bundle: Path) -> str:
    """The version of the backend that the extension carries."""
    text = (bundle / "backend" / "emo_avatar" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', text, re.M)
    return found.group(1) if found else ""


def remains(root: Path) -> bool:
    """Whether there is anything to remove: an installation, or what one that failed has downloaded."""
    return any((root / name).exists() for name in (_POINTER, _DOWNLOADS, _MODELS)) or any(root.glob("backend-*"))


def tidy(root: Path) -> None:
    """Delete what an installation has left when its Blender was killed; finished downloads stay for the next try."""
    if remains(root):
        with contextlib.suppress(AddonError, OSError), _alone(root):  # else it is being worked on
            _sweep(root, keep=installed(root))
            _remove_tree(root / _DOWNLOADS / _TEMPORARY)


def models_folder(root: Path) -> Path:
    """Where our backend keeps model files."""
    return root / _MODELS


def install_log(root: Path) -> str:
    """What the last installation said."""
    with contextlib.suppress(OSError):
        return (root / _LOG).read_text(encoding="utf-8", errors="replace")
    return ""


def install(plan: Plan, report: Report) -> Installation:
    """Carry the plan out. `AddonError`, saying what to do next, when it fails; whatever `report` raises cancels it.

    Either way nothing of it is left then but the log and finished downloads, which make the next try quick.
    """
    with _alone(plan.root):
        return _install(plan, report)


def _install(plan: Plan, report: Report) -> Installation:
    before = installed(plan.root)
    _sweep(plan.root, keep=before)
    _check_disk(plan)
    numbers = [int(path.name.rpartition("-")[2]) for path in plan.root.glob("backend-*")]
    folder = plan.root / f"backend-{max(numbers, default=0) + 1}"
    try:
        with (plan.root / _LOG).open("w", encoding="utf-8", buffering=1) as log:  # *Log* shows it meanwhile
            _fill(plan, folder, _Runner(plan, folder, log, report))
        location = Spawned(_python_of(folder), cache=models_folder(plan.root))
        device = self_test(location, lambda _, doing: report(0.95, f"Self-test: {doing}"))
        size = sum(path.lstat().st_size for path in folder.rglob("*")) // 1_000_000
        made = Installation(folder, bundled_version(plan.source.parent), device, plan.python.name, size)
        _point_to(made)
    except BaseException as failure:
        _remove_tree(folder)
        if isinstance(failure, OSError):
            raise AddonError(f"The backend could not be installed: {failure.strerror or failure}.") from failure
        raise
    _sweep(plan.root, keep=made)
    _remove_tree(plan.root / _DOWNLOADS)
    return made


def self_test(location: Spawned, report: Report) -> str:
    """Start a backend, have it compute an emotion, end it. Returns "cpu" or "cuda"; `AddonError` when it fails."""
    session = Session()
    session.start(location)
    try:
        while session.health.busy:
            report(0.0, session.health.sentence)
            time.sleep(0.1)
        drive = {"weights": np.eye(2, 6), "expression": np.zeros((2, 100)), "jaw_pose": np.zeros((2, 3))}
        answer = session.client.emotions(drive, {"fps": 24.0, "avatar": "open"})
        expression = answer.get("expression", np.zeros(0))
        if expression.shape != (2, 100) or not np.isfinite(expression).all() or not expression.any():
            raise AddonError("The backend runs and computes nonsense: repair it.")
        return str((session.health.status.get("device") or {}).get("kind"))
    finally:
        session.stop(timeout=10.0)


def remove(root: Path) -> None:
    """Delete the installation, model files and log. `AddonError` when something is in use and stays."""
    with _alone(root):
        (root / _POINTER).unlink(missing_ok=True)
        _sweep(root, keep=None)
        for name in (_DOWNLOADS, _MODELS):
            _remove_tree(root / name)
        (root / _LOG).unlink(missing_ok=True)
    left = [path.name for path in root.glob("backend-*")]
    if left:
        raise AddonError(f"{', '.join(left)} in {root} is in use by another program and could not be removed wholly.")


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Keep other Blenders from installing and removing meanwhile. The system takes the lock back from a crashed one."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / _LOCK
    with _busy:
        file = path.open("a+b")
        try:
            if sys.platform == "win32":
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise AddonError(
                "Another Blender is setting the backend up or removing it: wait until it is done."
            ) from None
        try:
            yield
        finally:
            file.close()
            with contextlib.suppress(OSError):  # another has it open already
                path.unlink()


class _Runner:
    """Runs the steps of one installation: their output goes to the log and becomes progress."""

    def __init__(self, plan: Plan, folder: Path, log: IO[str], report: Report) -> None:
        self._log, self._report, self._folder = log, report, folder
        self._python = str(_python_of(folder))
        self._environment = _environment(plan, folder)
        self._reached = 0.0
        self.tail: collections.deque[str] = collections.deque(maxlen=60)

    def pip(self, *arguments: str) -> list[str]:
        return self.python("-m", "pip", *arguments)

    def python(self, *arguments: str) -> list[str]:
        return [self._python, "-I", *arguments]

    def run(self, command: Sequence[str], doing: str, start: float, end: float, mb: float = 0.0) -> bool:
        """One command, the part of the whole between two fractions, that downloads some `mb`. Whether it succeeded."""
        progress = pip.Progress(doing, mb, self._folder)
        self._log.write(f"\n$ {' '.join(command)}\n")
        self.tail.clear()
        self._report(start, doing)
        child = subprocess.Popen(
            tied(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            **own_group(),
        )
        assert child.stdout is not None
        lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        reader = (child.stdout, lines)
        threading.Thread(target=_read_lines, args=reader, name="Emo Avatar installer's output", daemon=True).start()
        try:
            while True:
                with contextlib.suppress(queue.Empty):
                    raw = lines.get(timeout=0.2)
                    if not raw:
                        return child.wait(30.0) == 0
                    line = raw.decode("utf-8", "replace").rstrip()
                    if not progress.take(line):
                        self._log.write(line + "\n")
                        self.tail.append(line)
                self._reached = max(start + (end - start) * progress.fraction, self._reached)  # an update unpacks less
                self._report(self._reached, progress.doing)
        finally:
            kill_tree(child)
            assert child.stdin is not None
            child.stdin.close()

    def must(self, command: Sequence[str], doing: str, start: float, end: float, mb: float = 0.0) -> None:
        """`run`, and `AddonError` when it fails."""
        if not self.run(command, doing, start, end, mb):
            self._log.flush()
            raise AddonError(pip.reason(doing, self.tail))


def _fill(plan: Plan, folder: Path, runner: _Runner) -> None:
    """Make the virtual environment and install into it."""
    temporary = plan.root / _DOWNLOADS / _TEMPORARY
    temporary.mkdir(parents=True, exist_ok=True)
    source = temporary / "source"
    _remove_tree(source)
    shutil.copytree(plan.source, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    runner.must([str(plan.python.path), "-I", "-m", "venv", str(folder)], "Making a virtual environment", 0.0, 0.02)
    # The pip that a Python brings may be years old; it need not be newer where no index can be reached
    runner.run(runner.pip("install", "--upgrade", "pip"), "Updating pip", 0.02, 0.04)
    raw = pip.raw_progress(folder)
    install = ("install", *raw, "--cache-dir", str(plan.root / _DOWNLOADS / "cache"))
    done = 0.04
    torch_mb = plan.download_mb * 0.35 if plan.torch else 0.0
    if plan.torch:
        commands = [runner.pip(*install, "--no-deps", "--index-url", index, plan.torch) for index in plan.indexes]
        if not any(runner.run(command, "Downloading PyTorch", done, 0.35, torch_mb) for command in commands):
            other = "the processor" if plan.device == "cuda" else "the graphics card, whose build needs none of it"
            raise AddonError(
                f"{pip.reason('Downloading PyTorch', runner.tail)} If only its own index ({_INDEX}) is out of reach, "
                f"choose {other}."
            )
        done = 0.35
    what = f"{source}[cuda]" if plan.device == "cuda" else str(source)
    rest = runner.pip(*install, "-c", str(plan.constraints), what)
    runner.must(rest, "Downloading what the backend needs", done, 0.85, plan.download_mb - torch_mb)
    for number, (doing, arguments) in enumerate(plan.finishing):
        start = 0.85 + 0.1 * number / len(plan.finishing)
        runner.must(runner.python(*arguments), doing, start, start + 0.1 / len(plan.finishing))


def _check_disk(plan: Plan) -> None:
    existing = next(folder for folder in (plan.root, *plan.root.parents) if folder.exists())
    free = shutil.disk_usage(existing).free // 1_000_000
    needs = plan.download_mb + plan.disk_mb
    if free < needs:
        raise AddonError(
            f"The backend needs {needs / 1000:.1f} GB on the disk of {existing}, which has {free / 1000:.1f} GB left: "
            "free some space."
        )


def _environment(plan: Plan, folder: Path) -> dict[str, str]:
    """The steps' environment: the user's proxy and package index, and nothing that would lead pip elsewhere."""
    astray = ("PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")
    kept = {name: value for name, value in os.environ.items() if name not in astray}
    temporary = str(plan.root / _DOWNLOADS / _TEMPORARY)  # the system's own may be small, or in memory
    return kept | {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": temporary,
        "TEMP": temporary,
        "TMP": temporary,
        **own_folders(_python_of(folder), models_folder(plan.root)),
    }


def _point_to(made: Installation) -> None:
    said = dataclasses.asdict(made) | {"folder": made.folder.name}
    pointer = made.folder.parent / _POINTER
    new = pointer.with_suffix(".new")
    new.write_text(json.dumps(said), encoding="utf-8")
    os.replace(new, pointer)


def _sweep(root: Path, keep: Installation | None) -> None:
    """Delete every installation but `keep`: what an interrupted Blender has left, and what was replaced."""
    for folder in root.glob("backend-*"):
        if keep is None or folder.name != keep.folder.name:
            _remove_tree(folder)


def _remove_tree(folder: Path) -> None:
    for _ in range(5):  # Windows holds files for a moment after their program has ended
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.2)


def _python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _read_lines(stream: IO[bytes], lines: "queue.SimpleQueue[bytes]") -> None:
    with stream:
        while line := stream.readline(1 << 16):
            lines.put(line)
    lines.put(b"")
