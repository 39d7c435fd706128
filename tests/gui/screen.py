"""A virtual screen with a mouse, a keyboard and eyes that read."""

from __future__ import annotations

import difflib
import itertools
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import chroot

SIZE = (1600, 1000)
ASIDE = (640, 850)  # where the pointer lights up nothing and hides nothing with a tooltip
# Letters of the interface are 8 pixels high, the reader wants 20; what one zoom and segmentation misses, another reads.
MANNERS = ((3, 11), (3, 6), (4, 11))
CONFIDENCE = 35.0
MOST_WORDS = 5  # in a label; the reader may also join two words, or part one
ALIKE = 0.88
PATIENCE = 120.0  # seconds that something may take to appear; a busy machine draws by software
LINE = 8  # pixels that words of a line may differ in height


@dataclass(frozen=True)
class Word:
    """A word on the screen; pixels, from the upper left corner."""

    text: str
    x: float  # centre
    y: float


class NotOnScreen(AssertionError):
    """A text that should be seen is not."""


class Screen:
    """What a user sees and does. Every step leaves a picture in ``pictures``."""

    def __init__(self, display: str, folder: Path, pictures: Path) -> None:
        self.display, self.folder, self.pictures = display, folder, pictures
        self.lent = (folder,)

    def _run(self, script: str) -> str:
        line = f"export DISPLAY={self.display}; cd {self.folder}; {script}"
        done = subprocess.run(chroot.command(line, self.lent), check=True, capture_output=True, text=True, timeout=600)
        return done.stdout

    def wait(self, seconds: float = 60.0) -> None:
        """Until there is a screen."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.move(*ASIDE)
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def shot(self, name: str) -> Path:
        """A picture of the whole screen."""
        self._run("import -window root shot.png")
        path = self.pictures / f"{name}.png"
        path.write_bytes((self.folder / "shot.png").read_bytes())
        return path

    def words(self, area: tuple[int, int, int, int] | None = None, manner: int = 0) -> list[Word]:
        """All that can be read in ``area`` (x, y, width, height), light on dark, in one of the `MANNERS`."""
        x0, y0, width, height = area or (0, 0, *SIZE)
        zoom, segmentation = MANNERS[manner % len(MANNERS)]
        table = self._run(
            f"import -window root -crop {width}x{height}+{x0}+{y0} +repage -colorspace gray -resize {zoom}00% -negate"
            f" read.png; tesseract read.png - --psm {segmentation} tsv 2>/dev/null"
        )
        words = []
        for row in table.splitlines()[1:]:
            cells = row.split("\t")
            # An icon is read as a sign: with it the middle of "> Splats" would be the tick box between them.
            if len(cells) < 12 or float(cells[10]) < CONFIDENCE or not _letters(cells[11]):
                continue
            left, top, w, h = (int(cell) / zoom for cell in cells[6:10])
            words.append(Word(cells[11], x0 + left + w / 2, y0 + top + h / 2))
        return words

    def find(
        self, label: str, area: tuple[int, int, int, int] | None = None, wait: float = PATIENCE, in_menu: bool = False
    ) -> tuple[int, int]:
        """Where ``label``, one or more words, is written; waits for it to appear.

        The pointer steps aside, so that nothing is lit up; not in an open menu, which would close.
        """
        if not in_menu:
            self.move(*ASIDE)
        deadline = time.monotonic() + wait
        for manner in itertools.count():
            words = self.words(area, manner)
            found = []
            for i in range(len(words)):
                for run in (words[i:j] for j in range(i + 1, min(i + 1 + MOST_WORDS, len(words) + 1))):
                    likeness = _likeness("".join(w.text for w in run), label)
                    if max(w.y for w in run) - min(w.y for w in run) < LINE and likeness >= ALIKE:
                        found.append((likeness, run))
            if found:
                _, run = max(found, key=lambda each: each[0])
                return round(sum(w.x for w in run) / len(run)), round(run[0].y)
            if time.monotonic() > deadline and manner >= len(MANNERS):
                self.shot("not-found")
                raise NotOnScreen(f"“{label}” is not on the screen; it reads: {' '.join(w.text for w in words)}")
            time.sleep(0.5)

    def click(
        self, label: str, area: tuple[int, int, int, int] | None = None, wait: float = PATIENCE, in_menu: bool = False
    ) -> None:
        self.click_at(*self.find(label, area, wait, in_menu))

    def click_at(self, x: int, y: int, button: int = 1) -> None:
        # Blender takes the button under the pointer from the last movement that it has drawn.
        self._run(f"xdotool mousemove {x - 3} {y - 2} sleep 0.4 mousemove {x} {y} sleep 0.8 click {button} sleep 0.6")

    def double_click_at(self, x: int, y: int) -> None:
        self.move(x - 3, y - 2)
        self._run(f"xdotool mousemove {x} {y} sleep 0.4 click --repeat 2 --delay 60 1 sleep 0.5")

    def move(self, x: int, y: int) -> None:
        self._run(f"xdotool mousemove {x} {y}; sleep 0.4")

    def drag(self, x0: int, y0: int, x1: int, y1: int) -> None:
        self._run(
            f"xdotool mousemove {x0} {y0} sleep 0.2 mousedown 1 sleep 0.2"
            f" mousemove {(x0 + x1) // 2} {(y0 + y1) // 2} sleep 0.2 mousemove {x1} {y1} sleep 0.3 mouseup 1; sleep 0.4"
        )

    def turn(self, x0: int, y0: int, x1: int, y1: int) -> None:
        """Orbit the view: the middle button."""
        steps = " ".join(
            f"mousemove {x0 + (x1 - x0) * i // 4} {y0 + (y1 - y0) * i // 4} sleep 0.2" for i in range(1, 5)
        )
        self._run(f"xdotool mousemove {x0} {y0} sleep 0.4 mousedown 2 sleep 0.3 {steps} mouseup 2; sleep 0.4")

    def pointer(self) -> tuple[int, int]:
        """Where the pointer is, also when Blender has put it there."""
        found = dict(line.split("=") for line in self._run("xdotool getmouselocation --shell").split())
        return int(found["X"]), int(found["Y"])

    def key(self, *keys: str) -> None:
        for key in keys:
            self._run(f"xdotool key {key}; sleep 0.4")

    def enter(self, x: int, y: int, text: str) -> None:
        """Replace what stands in a field."""
        self.double_click_at(x, y)
        self.key("ctrl+a")
        self.type(text)
        self.key("Return")

    def type(self, text: str) -> None:
        self._run(f"xdotool type --delay 15 {text!r}; sleep 0.3")


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _likeness(read: str, label: str) -> float:
    """From 0 to 1: whether the reader may have meant this label. One wrong letter in some eight is its habit."""
    return difflib.SequenceMatcher(None, _letters(read), _letters(label)).ratio()
