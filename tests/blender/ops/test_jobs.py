"""Long work: begun and finished in the main thread, done in another, reported, cancelled, failed."""

import threading

import bpy
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon import mainloop
from bl_ext.user_default.emo_avatar.emo_avatar_addon.errors import AddonError
from bl_ext.user_default.emo_avatar.emo_avatar_addon.link.client import BackendLost
from bl_ext.user_default.emo_avatar.emo_avatar_addon.ops import jobs

work = None
finished = []


class EMOAVATAR_OT_test_job(jobs.JobOperator):
    bl_idname = "emo_avatar.test_job"
    bl_label = "Working"
    needs_backend = False

    def begin(self, context):
        assert threading.current_thread() is threading.main_thread()
        return work

    def finished(self, context, result):
        assert threading.current_thread() is threading.main_thread()
        finished.append(result)


class EMOAVATAR_OT_test_backend_job(jobs.JobOperator):
    bl_idname = "emo_avatar.test_backend_job"
    bl_label = "Asking"

    def begin(self, context):
        def ask(job):
            client = job.client()
            return job.follow(client, client.start_portrait(b"", "Ann"))

        return ask

    def finished(self, context, result):
        finished.append(result)


@pytest.fixture(autouse=True)
def operator():
    finished.clear()
    for cls in (EMOAVATAR_OT_test_job, EMOAVATAR_OT_test_backend_job):
        bpy.utils.register_class(cls)
    yield
    for cls in (EMOAVATAR_OT_test_job, EMOAVATAR_OT_test_backend_job):
        bpy.utils.unregister_class(cls)
    assert jobs.running == []


def run(function):
    global work
    work = function
    return bpy.ops.emo_avatar.test_job()


def test_works_in_a_thread_and_finishes_in_the_main_one():
    def compute(job):
        assert threading.current_thread() is not threading.main_thread()
        job.report(0.5, "half")
        assert [(job.label, job.fraction, job.doing) for job in jobs.running] == [("Working", 0.5, "half")]
        return 42

    assert run(compute) == {"FINISHED"} and finished == [42]


def test_the_main_thread_serves_the_others_meanwhile():
    def ask(job):
        answered = threading.Event()
        mainloop.call_soon(lambda: bpy.data.objects.new("Asked", None) and answered.set())
        return answered.wait(60.0)

    run(ask)
    assert finished == [True] and "Asked" in bpy.data.objects


def test_cancelled_work_finishes_nothing():
    def compute(job):
        bpy.ops.emo_avatar.cancel_job(index=0)
        for _ in range(1000):
            job.report(0.1, "")

    assert run(compute) == {"CANCELLED"} and finished == []


def test_failed_work_says_so():
    def fail(job):
        raise AddonError("No face was found; choose another photo.")

    with pytest.raises(RuntimeError, match="No face was found"):
        run(fail)
    assert finished == []


def test_follows_a_job_of_the_backend(fake_backend):
    fake_backend("")
    assert bpy.ops.emo_avatar.test_backend_job() == {"FINISHED"}
    assert finished == [{"id": "a"}]


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("fails", "Memory has run out"),
        ("breaks off", "broke off.* Restart the backend and try again"),
        ("ends at once", "ended at once"),
    ],
)
def test_a_job_that_the_backend_does_not_end_says_why(fake_backend, mode, said):
    fake_backend(mode)
    with pytest.raises(RuntimeError, match=said):
        bpy.ops.emo_avatar.test_backend_job()
    assert finished == []


def test_cancelling_what_a_lost_backend_did_is_no_failure():
    class Gone:
        def events(self, job_id):
            yield {"state": "running", "fraction": 0.1}
            yield {"state": "running", "fraction": 0.2}

        def cancel(self, job_id):
            raise BackendLost("The backend does not answer in time.")

    job = jobs.Job("Working")
    job.cancel()
    with pytest.raises(jobs.Cancelled):
        job.follow(Gone(), "1")


def test_work_outlives_its_operator():
    """Blender removes a running operator when another file is opened: the work must end quietly, and be forgotten."""
    job, ended = jobs.Job("Working"), threading.Event()

    def compute(job):
        try:
            while True:
                job.report(0.5, "")
        finally:
            ended.set()

    job.start(compute)
    job.cancel()
    assert ended.wait(60.0)
    with pytest.raises(jobs.Cancelled):
        while not job.done:
            pass
        job.outcome()
