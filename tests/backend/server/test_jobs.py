import asyncio
import errno
import json
import threading
import time

import pytest

from emo_avatar.errors import UserError
from emo_avatar.server import jobs as module
from emo_avatar.server.jobs import MAX_WAITING, Jobs, events
from emo_avatar.server.refusals import Refusal


@pytest.fixture
def jobs():
    return Jobs(("one", "other"))


PATIENCE = 60.0  # seconds


def ended(job):
    until = time.monotonic() + PATIENCE
    while not job.has_ended:
        assert time.monotonic() < until
        time.sleep(0.005)
    return job


def test_work_reports_and_returns(jobs):
    discarded = threading.Event()

    def work(job, progress):
        progress(0.5, "half")
        return {"answer": job.fraction}

    job = ended(jobs.add("one", "kind", work, discarded.set))
    assert job.document() == {
        "id": job.id, "kind": "kind", "state": "done", "fraction": 1.0, "doing": "done",
        "result": {"answer": 0.5}, "error": None,
    }  # fmt: skip
    assert discarded.is_set()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("The file is bad."), "bad_input"),
        (MemoryError(), "no_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "no_memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "no_space"),
        (ZeroDivisionError("secret /home/somebody/file.py"), "internal"),
        (SystemExit(1), "internal"),
    ],
)
def test_failures_have_a_code_and_do_not_end_the_lane(jobs, error, code):
    def fail(job, progress):
        raise error

    job = ended(jobs.add("one", "kind", fail))
    assert (job.state, job.error["code"]) == ("failed", code)
    assert ("report" in job.error) == (code == "internal")
    assert "somebody" not in json.dumps(job.error)
    assert ended(jobs.add("one", "kind", lambda job, progress: 1)).result == 1


def test_a_package_that_somebody_removed_is_named(jobs):
    def fail(job, progress):
        import no_such_package  # noqa: F401

    error = ended(jobs.add("one", "kind", fail)).error
    assert error["sentence"] == "The backend's package no_such_package is missing: set the backend up again."


def test_a_running_job_stops_at_its_next_report(jobs):
    running = threading.Event()

    def work(job, progress):
        running.set()
        while True:
            progress(0.1, "working")
            time.sleep(0.005)

    job = jobs.add("one", "kind", work)
    assert running.wait(PATIENCE)
    jobs.cancel(job)
    assert (ended(job).state, job.error["code"]) == ("cancelled", "cancelled")


def test_a_waiting_job_stops_at_once_and_lanes_do_not_wait_for_one_another(jobs):
    release = threading.Event()
    first = jobs.add("one", "kind", lambda job, progress: release.wait(PATIENCE))
    second = jobs.add("one", "kind", lambda job, progress: pytest.fail("it was cancelled"))
    jobs.cancel(second)
    assert second.state == "cancelled"
    assert ended(jobs.add("other", "kind", lambda job, progress: 2)).result == 2
    assert not first.has_ended
    release.set()
    ended(first)


def test_too_many_are_refused(jobs):
    release = threading.Event()
    added = [jobs.add("one", "kind", lambda job, progress: release.wait(PATIENCE)) for _ in range(MAX_WAITING)]
    with pytest.raises(Refusal) as refused:
        jobs.add("one", "kind", lambda job, progress: None)
    assert refused.value.status == 429
    jobs.cancel_all()
    release.set()
    for job in added:
        ended(job)


def test_old_jobs_are_forgotten_with_their_files(jobs, monkeypatch, tmp_path):
    def work(job, progress):
        job.file = tmp_path / "export.zip"
        job.file.write_bytes(b"x")

    job = ended(jobs.add("one", "kind", work))
    assert jobs.find(job.id).file.exists()
    monkeypatch.setattr(module, "KEPT_SECONDS", -1.0)
    assert jobs.all() == []
    assert not job.file.exists()
    with pytest.raises(Refusal, match="does not know this job"):
        jobs.find(job.id)


def test_an_ended_job_that_is_deleted_is_forgotten_with_its_file(jobs, tmp_path):
    def work(job, progress):
        job.file = tmp_path / "export.zip"
        job.file.write_bytes(b"x")

    job = ended(jobs.add("one", "kind", work))
    jobs.cancel(job)
    assert not job.file.exists() and jobs.all() == []


def test_a_failed_export_leaves_no_file(jobs, tmp_path):
    def work(job, progress):
        job.file = tmp_path / "export.zip"
        job.file.write_bytes(b"x")
        raise OSError(errno.ENOSPC, "No space left on device")

    assert ended(jobs.add("one", "kind", work)).error["code"] == "no_space"
    assert not (tmp_path / "export.zip").exists()


def test_events_tell_every_change_and_end_with_the_job(jobs):
    heard = {"first": threading.Event(), "second": threading.Event()}

    def work(job, progress):
        progress(0.25, "first")
        assert heard["first"].wait(PATIENCE)
        progress(0.75, "second")
        assert heard["second"].wait(PATIENCE)

    async def listen(job):
        lines = []
        async for line in events(job):
            lines.append(json.loads(line))
            if lines[-1]["doing"] in heard:
                heard[lines[-1]["doing"]].set()
        return lines

    lines = asyncio.run(listen(jobs.add("one", "kind", work)))
    assert [line["doing"] for line in lines if line["doing"] not in ("waiting", "starting")] == [
        "first", "second", "done",
    ]  # fmt: skip
    assert lines[-1]["state"] == "done"


def test_a_silent_job_is_heard_of_all_the_same(jobs, monkeypatch):
    monkeypatch.setattr(module, "SPEAK_EVERY", 0.1)
    release = threading.Event()
    job = jobs.add("one", "kind", lambda job, progress: release.wait(PATIENCE))

    async def three_lines():
        stream = events(job)
        return [await anext(stream) for _ in range(3)]

    assert len(asyncio.run(three_lines())) == 3
    release.set()
    ended(job)
