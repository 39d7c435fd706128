"""What a viewport asks for: quick pictures while it moves, the full one when it stands, the newest always."""

import threading
import time

import numpy as np
import pytest
from emo_avatar_addon.errors import AddonError
from emo_avatar_addon.view import preview
from emo_avatar_addon.view.camera import View
from emo_avatar_addon.view.picture import Picture

PATIENCE = 60.0  # seconds


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Backend:
    """Renders in `seconds` and `seconds_per_pixel` of the clock, when it is let."""

    def __init__(self, clock):
        self.clock, self.seconds, self.seconds_per_pixel = clock, 0.0, 0.0
        self.asked, self.failure = [], None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, view, avatars, factor):
        self.gate.wait(PATIENCE)
        self.asked.append(view)
        self.factor = factor
        self.clock.now += self.seconds + self.seconds_per_pixel * view.width * view.height
        if self.failure:
            raise self.failure
        return Picture(view, np.zeros((view.height, view.width, 4), np.uint8), np.zeros((view.height, view.width)))


def view_at(x):
    viewmat = np.eye(4)
    viewmat[0, 3] = x
    return View(viewmat, np.diag([1000.0, 1000.0, 1.0]), 1000, 800)


@pytest.fixture
def stage(monkeypatch):
    monkeypatch.setattr(preview, "visible_part", lambda view, avatars: (0, 0, view.width, view.height))
    clock = Clock()
    backend = Backend(clock)
    redraws = []
    shown = preview.Preview(backend, redraws.append, clock)
    yield clock, backend, shown, redraws
    backend.gate.set()
    shown.close()


def settle(shown):
    end = time.monotonic() + PATIENCE
    while not shown._worker.idle:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_slow_backend_gets_smaller_pictures_while_moving_and_the_full_one_after(stage):
    clock, backend, shown, redraws = stage
    backend.seconds_per_pixel = 0.120 / 800_000  # four times the budget
    shown.want(view_at(0), ())
    settle(shown)
    assert [view.width for view in backend.asked] == [1000]
    shown.want(view_at(1), ())
    settle(shown)
    assert backend.asked[-1].width == pytest.approx(500, abs=5)  # a quarter of the pixels
    assert preview.SETTLED in redraws  # so that it comes back to look whether it has settled
    clock.now += preview.SETTLED
    shown.want(view_at(1), ())
    settle(shown)
    assert backend.asked[-1].width == 1000
    asked = len(backend.asked)
    shown.want(view_at(1), ())
    settle(shown)
    assert len(backend.asked) == asked  # nothing new, nothing asked


def test_a_quick_backend_always_gives_the_full_picture(stage):
    clock, backend, shown, _ = stage
    backend.seconds_per_pixel = 0.010 / 800_000
    for x in range(5):
        shown.want(view_at(x), ())
        settle(shown)
    assert [view.width for view in backend.asked] == [1000] * 5


def test_where_posing_is_what_takes_the_time_small_pictures_are_not_made_for_nothing(stage):
    clock, backend, shown, _ = stage
    backend.seconds, backend.seconds_per_pixel = 0.100, 0.025 / 800_000
    for x in range(8):
        shown.want(view_at(x), ())
        settle(shown)
    assert backend.asked[-1].width == 1000


def test_costs_are_told_apart():
    times = [(pixels, 0.02 + 3e-8 * pixels) for pixels in (10_000, 800_000, 10_000, 50_000)]
    assert preview.fitted_cost(times) == pytest.approx((0.02, 3e-8))
    assert preview.fitted_cost([(1000, 0.1)]) == (0.0, pytest.approx(1e-4))
    assert preview.fitted_cost([(1000, 0.1), (10_000, 0.05)])[1] == 0.0  # noise


def test_small_avatars_get_their_detail_when_the_view_stands_still(stage, monkeypatch):
    clock, backend, shown, _ = stage
    monkeypatch.setattr(preview, "oversampling", lambda view, avatars: 3)
    shown.want(view_at(0), ())
    settle(shown)
    shown.want(view_at(1), ())
    settle(shown)
    assert backend.factor == 1
    clock.now += preview.SETTLED
    shown.want(view_at(1), ())
    settle(shown)
    assert backend.factor == 3 and backend.asked[-1].width == 1000


def test_the_newest_wins_and_asking_never_waits(stage):
    clock, backend, shown, _ = stage
    backend.gate.clear()
    for x in range(50):
        shown.want(view_at(x), ())
    assert not backend.asked  # nothing could have been answered so far
    backend.gate.set()
    settle(shown)
    assert len(backend.asked) <= 2  # the one that had begun, and the newest
    assert shown.picture.view.viewmat[0, 3] == 49


def test_a_failure_is_said_kept_quiet_and_tried_again(stage):
    clock, backend, shown, redraws = stage
    backend.failure = AddonError("The backend is off.")
    shown.want(view_at(0), ())
    settle(shown)
    assert shown.problem == "The backend is off." and preview.RETRY in redraws
    shown.want(view_at(0), ())
    settle(shown)
    assert len(backend.asked) == 1
    backend.failure = None
    clock.now += preview.RETRY
    shown.want(view_at(0), ())
    settle(shown)
    assert shown.problem is None and shown.picture is not None


def test_an_accident_does_not_end_the_preview(stage, capfd):
    clock, backend, shown, _ = stage
    backend.failure = KeyError("rgba")
    shown.want(view_at(0), ())
    settle(shown)
    assert "KeyError" in shown.problem and "Traceback" in capfd.readouterr().err
    backend.failure = None
    shown.want(view_at(1), ())
    settle(shown)
    assert shown.picture is not None


def test_nobody_in_sight_is_no_picture_and_no_question(stage, monkeypatch):
    clock, backend, shown, _ = stage
    shown.want(view_at(0), ())
    settle(shown)
    assert shown.picture is not None
    monkeypatch.undo()
    shown.want(view_at(1), ())
    settle(shown)
    assert shown.picture is None and len(backend.asked) == 1
