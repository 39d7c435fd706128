"""Which Pythons this machine has, and whether it has an NVIDIA card."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import AddonError
from .process import no_window

WANTED = ((3, 11), (3, 12), (3, 13), (3, 10))  # what the backend runs on, best first
WANTED_WORDS = "Python 3.10, 3.11, 3.12 or 3.13"

_PROBE = """
import importlib.util, json, struct, sys
found = {name: importlib.util.find_spec(name) is not None for name in ("venv", "ensurepip", "emo_avatar")}
print(json.dumps({"version": sys.version_info[:3], "bits": 8 * struct.calcsize("P"), "path": sys.executable, **found}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python that answered."""

    path: Path
    version: tuple[int, int, int]
    bits: int
    makes_environments: bool  # venv and ensurepip are there: Debian keeps them in a package of their own
    has_backend: bool

    @property
    def name(self) -> str:
        return "Python " + ".".join(map(str, self.version))

    @property
    def objection(self) -> str | None:
        """Why the backend cannot be installed with it, as a sentence; None when it can."""
        if self.version[:2] not in WANTED:
            return f"{self.name} does not fit: the backend needs {WANTED_WORDS}."
        if self.bits != 64:
            return f"{self.name} at {self.path} is a 32-bit program: the backend needs a 64-bit Python."
        if not self.makes_environments:
            short = ".".join(map(str, self.version[:2]))
            return f"{self.name} cannot make virtual environments; install it wholly (on Debian: python{short}-venv)."
        return None


def probe(path: Path | str, isolated: bool = True) -> Interpreter:
    """Ask a Python what it is. `AddonError` when there is none at `path`, or it does not answer."""
    command = [str(path), *(["-I"] if isolated else []), "-c", _PROBE]
    try:
        said = subprocess.run(
            command, capture_output=True, timeout=15.0, check=True, stdin=subprocess.DEVNULL, **no_window()
        )
        answer = json.loads(said.stdout)
        return Interpreter(
            Path(answer["path"]),
            tuple(answer["version"]),
            answer["bits"],
            answer["venv"] and answer["ensurepip"],
            answer["emo_avatar"],
        )
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        raise AddonError(
            f"{path} is not a Python that can be used: choose {WANTED_WORDS}, or none, to have one looked for."
        ) from error


def find() -> Interpreter:
    """The first Python of this machine that the backend can be installed with. `AddonError` when there is none."""
    objections = []
    for candidate in candidates():
        with contextlib.suppress(AddonError):
            interpreter = probe(candidate)
            if interpreter.objection is None:
                return interpreter
            objections.append(interpreter.objection)
    found = f" {objections[0]}" if objections else ""
    raise AddonError(f"No usable {WANTED_WORDS} was found.{found} Install one (python.org has it), or choose one.")


def candidates() -> Iterator[Path]:
    """Where a Python may be, best first, each program once. The last is the one that runs Blender's scripts."""
    seen = set()
    for path in _everywhere():
        with contextlib.suppress(OSError):
            real = path.resolve()
            if real not in seen and path.is_file() and not _asks_for_xcode(path):
                seen.add(real)
                yield path


def _asks_for_xcode(path: Path) -> bool:
    """Whether it is macOS's stand-in, which opens a dialog instead of being a Python."""
    is_stand_in = sys.platform == "darwin" and path.parent == Path("/usr/bin")
    return is_stand_in and not Path("/Library/Developer/CommandLineTools").exists()


def _everywhere() -> Iterator[Path]:
    names = [f"python{major}.{minor}" for major, minor in WANTED]
    for name in names:
        if found := shutil.which(name):
            yield Path(found)
    yield from _windows_places() if sys.platform == "win32" else _unix_places()
    for name in ("python3", "python"):
        if found := shutil.which(name):
            yield Path(found)
    yield Path(sys.executable)


def _unix_places() -> Iterator[Path]:
    for major, minor in WANTED:
        version, home = f"{major}.{minor}", Path.home()
        for folder in ("/usr/local/bin", "/opt/homebrew/bin", "/opt/local/bin", "/usr/bin", home / ".local/bin"):
            yield Path(folder, f"python{version}")
        yield Path(f"/Library/Frameworks/Python.framework/Versions/{version}/bin/python{version}")
        yield from sorted((home / ".pyenv/versions").glob(f"{version}.*/bin/python"), reverse=True)


def _windows_places() -> Iterator[Path]:
    """What the `py` launcher lists, and where the installers put it."""
    short = [f"{major}{minor}" for major, minor in WANTED]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(["py", "-0p"], capture_output=True, timeout=10.0, check=True, **no_window())
        paths = re.findall(r"[A-Za-z]:\\.*python\.exe", listed.stdout.decode("utf-8", "replace"))
        for version in short:
            yield from (Path(path) for path in paths if version in path.replace(".", ""))
    for version in short:
        for variable, between in (("LOCALAPPDATA", "Programs/Python"), ("PROGRAMFILES", "."), ("SYSTEMDRIVE", "/")):
            if folder := os.environ.get(variable):
                yield Path(folder, between, f"Python{version}", "python.exe")


def nvidia_card() -> str | None:
    """The name of the first NVIDIA card whose driver answers, or None."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        query = [tool, "--query-gpu=name", "--format=csv,noheader"]
        said = subprocess.run(query, capture_output=True, timeout=10.0, check=True, **no_window())
        names = said.stdout.decode("utf-8", "replace").split("\n")
        return names[0].strip() or None
    return None
