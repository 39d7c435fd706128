"""Sharing one task among threads."""

from __future__ import annotations

import threading

import pytest

from emo_avatar.render.splat.threads import _Job, run_in_threads


def test_helpers_share_the_work() -> None:
    workers, meeting = set(), threading.Barrier(3, timeout=60)

    def task() -> None:
        meeting.wait()  # passes only when three threads are here at once
        workers.add(threading.get_ident())

    run_in_threads(task, 3)
    assert len(workers) == 3


def test_an_error_in_a_helper_is_raised_by_the_caller() -> None:
    caller, helper_came = threading.get_ident(), threading.Event()

    def task() -> None:
        if threading.get_ident() == caller:
            helper_came.wait(60)
        else:
            helper_came.set()
            raise ArithmeticError("in a helper")

    with pytest.raises(ArithmeticError, match="in a helper"):
        run_in_threads(task, 2)


def test_a_helper_that_comes_too_late_finds_nothing_to_do() -> None:
    calls: list[int] = []
    job = _Job(lambda: calls.append(threading.get_ident()))
    job.run()
    job.join()
    assert calls == [threading.get_ident()]
