"""The extension's side against the real backend: what the small one cannot show."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from emo_avatar_addon.errors import AddonError
from emo_avatar_addon.link import client as link
from emo_avatar_addon.link import installer
from emo_avatar_addon.link import session as sessions
from emo_avatar_addon.link.client import BackendError, Client
from emo_avatar_addon.link.session import Remote, Session, Spawned, State

PATIENCE = 600.0  # seconds: its libraries are large
LOCATION = Spawned(Path(sys.executable), "cpu", isolated=False)


@pytest.fixture(scope="module")
def backend():
    session = Session()
    session.start(LOCATION)
    session.wait_ready(PATIENCE)
    yield session
    session.stop(timeout=10.0)


def wait_for(session, state, timeout=PATIENCE):
    end = time.monotonic() + timeout
    while session.health.state is not state:
        assert time.monotonic() < end, session.health
        time.sleep(0.05)
    return session.health


def drive(frames=3):
    return {
        "weights": np.eye(frames, 6),
        "expression": np.zeros((frames, 100)),
        "jaw_pose": np.zeros((frames, 3)),
    }


def test_computes_emotions(backend):
    answer = backend.client.emotions(drive(), {"fps": 24.0, "avatar": "open"})
    assert answer["expression"].shape == (3, 100) and answer["jaw_pose"].shape == (3, 3)
    assert np.abs(answer["expression"]).max() > 0.1
    assert backend.health.status["device"]["kind"] == "cpu"
    assert backend.client.hello() == {"service": "emo-avatar", "protocol": link.PROTOCOL}
    assert isinstance(backend.client.log(), list)


def test_a_refusal_has_code_and_sentence(backend):
    with pytest.raises(BackendError) as refused:
        backend.client.emotions(drive() | {"weights": np.full((3, 6), 7.0)}, {"fps": 24.0, "avatar": "open"})
    assert refused.value.status == 422 and "weights" in str(refused.value)
    with pytest.raises(BackendError) as refused:
        backend.client.emotions(drive(), {"fps": 24.0, "avatar": "0" * 64})
    assert refused.value.code == "unknown_avatar"


def test_a_job_that_fails_says_why(backend):
    job = backend.client.start_portrait(b"not an image", "Ann")
    *_, last = backend.client.events(job)
    assert last["state"] == "failed" and last["error"]["sentence"]


def test_another_blender_shares_it(backend):
    guest = Session()
    guest.start(Remote(backend.client.url, backend.client._token))
    try:
        guest.wait_ready(PATIENCE).emotions(drive(), {"fps": 24.0, "avatar": "open"})
    finally:
        guest.stop(timeout=5.0)
    assert backend.health.state is State.READY
    with pytest.raises(BackendError) as refused:
        Client(backend.client.url, "wrong").status()
    assert refused.value.status == 401


@pytest.mark.skipif(os.name == "nt", reason="stops processes by signals")
def test_hung_is_told_apart_and_comes_back(monkeypatch):
    session = Session()
    session.start(LOCATION)
    try:
        session.wait_ready(PATIENCE)
        monkeypatch.setattr(sessions, "LOST_AFTER", 1.0)
        monkeypatch.setattr(sessions, "HEARTBEAT", 0.2)
        monkeypatch.setattr(link, "QUICK", 1.0)
        pid = session._watch._process._child.pid
        os.kill(pid, signal.SIGSTOP)
        assert "does not answer in time" in wait_for(session, State.LOST).sentence
        with pytest.raises(AddonError, match="restart it"):
            session.client  # noqa: B018
        os.kill(pid, signal.SIGCONT)
        wait_for(session, State.READY)
        os.kill(pid, signal.SIGSTOP)
        session.restart()
        wait_for(session, State.READY)
        os.kill(session._watch._process._child.pid, signal.SIGKILL)
        assert "killed" in wait_for(session, State.FAILED).sentence
    finally:
        session.stop(timeout=10.0)


def test_passes_the_self_test():
    said = []
    assert installer.self_test(LOCATION, lambda fraction, doing: said.append(doing)) == "cpu"
    assert "The backend is loading its libraries." in said
