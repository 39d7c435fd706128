"""What pip prints, and what it means: how far it is, and why it has failed."""

import re
from collections.abc import Sequence
from pathlib import Path

_REASONS = (  # what is found in the output of a step that has failed, and what it means
    (r"No space left|Errno 28|not enough space", "the disk is full; free some space and try again"),
    (r"CERTIFICATE_VERIFY|SSLError", "the network's certificates are not trusted; ask who looks after the network"),
    (
        r"NameResolution|getaddrinfo|Failed to establish|ConnectionError|ConnectTimeout|ReadTimeout|ProxyError",
        "the package index cannot be reached; check the network and try again",
    ),
    (r"No matching distribution found for (\S+)", "{} does not exist for this Python; choose another Python"),
    (r"Permission denied|Access is denied|Errno 13", "a file may not be written; close other programs and try again"),
    (r"ensurepip", "this Python cannot make virtual environments; choose another"),
)


class Progress:
    """How far pip is: the downloads, some `mb`, are three fifths, unpacking them into the environment `folder` two."""

    def __init__(self, doing: str, mb: float, folder: Path) -> None:
        self.doing, self._total, self._folder = doing, mb * 1e6, folder
        self._done, self._current = 0.0, 0.0
        self._packages, self._before = 0, 0

    @property
    def fraction(self) -> float:
        if self._packages:
            return 0.6 + 0.4 * min((self._unpacked() - self._before) / self._packages, 0.95)
        return 0.6 * min((self._done + self._current) / self._total, 0.95) if self._total else 0.0

    def take(self, line: str) -> bool:
        """Take a line of output in. Whether it is progress only, and not worth the log."""
        if found := re.fullmatch(r"Progress (\d+) of (\d+)", line.strip()):
            done, size = map(int, found.groups())
            self._current = done
            if done >= size:
                self._done, self._current = self._done + size, 0.0
            return True
        if found := re.match(r"\s*(Downloading|Using cached) (\S+?)-\d\S* \(([\d.]+) (kB|MB)\)", line):
            what, name, mass, unit = found.groups()
            self.doing = f"Downloading {name.rpartition('/')[2]} ({mass} {unit})"
            if what == "Using cached":
                self._done += float(mass) * (1e6 if unit == "MB" else 1e3)
        elif line.startswith("Installing collected packages:"):
            self._packages, self._before = line.count(",") + 1, self._unpacked()
            self.doing = f"Unpacking {self._packages} packages"
        return False

    def _unpacked(self) -> int:
        return len(_packages(self._folder))


def raw_progress(folder: Path) -> tuple[str, ...]:
    """The arguments with which the pip of an environment says how far it is: `--progress-bar raw` came with 24.1."""
    found = [re.match(r"pip-(\d+)\.(\d+)", path.name) for path in _packages(folder)]
    versions = [(int(match[1]), int(match[2])) for match in found if match]
    return ("--progress-bar", "raw" if versions and max(versions) >= (24, 1) else "off")


def _packages(folder: Path) -> list[Path]:
    """The folders that name what is installed in an environment."""
    return [*folder.glob("lib/python*/site-packages/*.dist-info"), *folder.glob("Lib/site-packages/*.dist-info")]


def reason(doing: str, tail: Sequence[str]) -> str:
    """Why a step failed, from what it printed, and what to do."""
    text = "\n".join(tail)
    for pattern, reason in _REASONS:
        if found := re.search(pattern, text):
            return f"{doing} failed: {reason.format(*found.groups())}. The log says more."
    last = next((line for line in reversed(tail) if line.strip()), "it said nothing")
    return f"{doing} failed ({last.strip()[:160]}). The log says more; try again, or choose another Python."
