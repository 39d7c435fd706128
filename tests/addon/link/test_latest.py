"""The newest request is everything."""

import threading
import time

from emo_avatar_addon.link.latest import Latest


def test_what_waits_is_replaced_by_what_is_newer():
    latest, done, first_runs, go_on = Latest("test"), [], threading.Event(), threading.Event()

    def first():
        first_runs.set()
        go_on.wait(5.0)
        done.append(0)

    latest.submit(first)
    first_runs.wait(5.0)
    for number in range(1, 100):
        latest.submit(lambda number=number: done.append(number))
    assert not latest.idle
    go_on.set()
    end = time.monotonic() + 5.0
    while not latest.idle and time.monotonic() < end:
        time.sleep(0.001)
    assert done == [0, 99]
    latest.close()


def test_a_request_that_fails_is_printed_and_does_not_end_the_thread(capfd):
    latest, done = Latest("test"), threading.Event()
    latest.submit(lambda: 1 / 0)
    time.sleep(0.05)
    latest.submit(done.set)
    assert done.wait(5.0)
    assert "ZeroDivisionError" in capfd.readouterr().err
    latest.close()


def test_closed_takes_nothing_and_its_thread_ends():
    latest, done = Latest("test"), []
    latest.submit(lambda: done.append(1))
    time.sleep(0.05)
    before = threading.active_count()
    latest.close()
    latest.submit(lambda: done.append(2))
    time.sleep(0.05)
    assert done == [1] and threading.active_count() == before - 1
