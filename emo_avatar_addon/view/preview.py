"""What a viewport asks for while it moves and when it stands still. No `bpy`, no drawing."""

from __future__ import annotations

import collections
import time
import traceback
from collections.abc import Callable, Sequence

from ..errors import AddonError
from ..link.latest import Latest
from .camera import View
from .picture import Picture, Shown, oversampling, visible_part

SETTLED = 0.15  # seconds without a change after which the full resolution is worth its time
BUDGET = 0.030  # seconds that a picture may take while the view moves
SMALLEST = 0.2  # of the full width and height
RETRY = 3.0  # seconds after a failure before the same is asked for again
REMEMBERED = 12  # pictures whose times tell how long the next one will take


class Preview:
    """Keeps the newest picture of a viewport at hand.

    Pictures come in a thread of their own: while things change, each is as large as `BUDGET` allows by the speed
    measured so far; once they have settled, one of full size. Everything but the fetching runs in the main thread.
    """

    def __init__(
        self,
        fetch: Callable[[View, Sequence[Shown], int], Picture],  # called in the thread; how many times larger to draw
        redraw: Callable[[float], object],  # safe from any thread: draw the viewport again, in so many seconds
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.picture: Picture | None = None
        self.problem: str | None = None  # a sentence, while what is wanted could not be had
        self._fetch, self._redraw, self._clock = fetch, redraw, clock
        self._worker = Latest("Emo Avatar preview")
        self._key: tuple[bytes, ...] = ()
        self._since = -SETTLED  # when what is wanted last changed
        self._asked: tuple[tuple[bytes, ...], float] | None = None  # what was last asked for, and at what scale
        self._failed = -RETRY
        self._times: collections.deque[tuple[int, float]] = collections.deque(maxlen=REMEMBERED)  # pixels, seconds

    def want(self, view: View, avatars: Sequence[Shown]) -> None:
        """Say at every redraw what the viewport shows now. Quick; never waits."""
        now = self._clock()
        key: tuple[bytes, ...] = (view.viewmat.tobytes(), view.K.tobytes(), f"{view.width}x{view.height}".encode())
        key += tuple(avatar.key for avatar in avatars)
        if key != self._key:
            self._key, self._since = key, now
        part = visible_part(view, avatars)
        if part is None:
            self.picture, self.problem, self._asked = None, None, None
            return
        view = view.cropped(*part)
        settled, best = now - self._since >= SETTLED, float(oversampling(view, avatars))
        scale = best if settled else self._moving_scale(view)
        if not settled and scale < best:
            self._redraw(SETTLED)
        if self._asked is not None and self._asked[0] == key and self._asked[1] >= scale:
            if self.problem and now - self._failed >= RETRY:
                self._asked = None  # and ask again below
            else:
                return
        self._asked = (key, scale)
        avatars = tuple(avatars)
        view = view.scaled(min(scale, 1.0))
        self._worker.submit(lambda: self._run(view, avatars, max(int(scale), 1)))

    def close(self) -> None:
        """Ask for nothing more. Does not wait for the picture that is under way."""
        self._worker.close(timeout=0.0)

    def _moving_scale(self, view: View) -> float:
        """So that a picture keeps to the budget; when posing alone exceeds it, that pixels cost no more than posing."""
        if not self._times:
            return 1.0
        fixed, per_pixel = fitted_cost(list(self._times))
        affordable = max(BUDGET - fixed, fixed)
        seconds = per_pixel * view.width * view.height
        return 1.0 if seconds <= affordable else max(SMALLEST, (affordable / seconds) ** 0.5)

    def _run(self, view: View, avatars: tuple[Shown, ...], factor: int) -> None:
        begin = self._clock()
        try:
            self.picture = self._fetch(view, avatars, factor)
            self.problem = None
        except AddonError as error:
            self.problem, self._failed = str(error), self._clock()
            self._redraw(RETRY)
        except Exception as error:  # the thread has to live on
            traceback.print_exc()
            self.problem, self._failed = f"The splats could not be drawn ({type(error).__name__}).", self._clock()
            self._redraw(RETRY)
        else:
            self._times.append((view.width * view.height * factor**2, self._clock() - begin))
        finally:
            self._redraw(0.0)


def fitted_cost(times: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Seconds that every picture takes, and seconds for each of its pixels, by least squares over (pixels, seconds)."""
    count = len(times)
    pixels, seconds = sum(p for p, _ in times) / count, sum(s for _, s in times) / count
    spread = sum((p - pixels) ** 2 for p, _ in times)
    slope = sum((p - pixels) * (s - seconds) for p, s in times) / spread if spread else seconds / pixels
    slope = min(max(slope, 0.0), seconds / pixels)
    return seconds - slope * pixels, slope
