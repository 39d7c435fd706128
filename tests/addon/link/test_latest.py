"""The newest request is everything."""

import threading
import time

import pytest
from emo_avatar_addon.link.latest import Latest

PATIENCE = 60.0  # seconds


@pytest.fixture
def latest():
    latest = Latest("Emo Avatar test")
    yield latest
    latest.close(PATIENCE)


def wait_until_idle(latest):
    end = time.monotonic() + PATIENCE
    while not latest.idle:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_what_waits_is_replaced_by_what_is_newer(latest):
    done, first_runs, go_on = [], threading.Event(), threading.Event()

    def first():
        first_runs.set()
        go_on.wait(PATIENCE)
        done.append(0)

    latest.submit(first)
    assert first_runs.wait(PATIENCE)
    for number in range(1, 100):
        latest.submit(lambda number=number: done.append(number))
    assert not latest.idle
    go_on.set()
    wait_until_idle(latest)
    assert done == [0, 99]


def test_a_request_that_fails_is_printed_and_does_not_end_the_thread(latest, capfd):
    done = threading.Event()
    latest.submit(lambda: 1 / 0)
    wait_until_idle(latest)
    latest.submit(done.set)
    assert done.wait(PATIENCE)
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_closed_takes_nothing_and_its_thread_ends(latest, threads_end):
    done = []
    latest.submit(lambda: done.append(1))
    wait_until_idle(latest)
    latest.close()
    latest.submit(lambda: done.append(2))
    assert threads_end() == {"Emo Avatar test"}
    assert done == [1] and latest.idle
