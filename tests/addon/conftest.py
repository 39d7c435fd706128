"""What the tests of the extension's modules without Blender share."""

import sys
import threading
import time
from pathlib import Path

import pytest
from emo_avatar_addon.link.session import Session, Spawned

FAKE_BACKEND = Path(__file__).parents[1] / "data" / "fake_backend"


@pytest.fixture
def fake(monkeypatch):
    """`fake(mode)` is the location of a backend that misbehaves as `mode` says."""

    def location(mode: str = "") -> Spawned:
        monkeypatch.setenv("FAKE", mode)
        monkeypatch.setenv("PYTHONPATH", str(FAKE_BACKEND))
        return Spawned(Path(sys.executable), isolated=False)

    return location


@pytest.fixture
def session():
    session = Session()
    yield session
    session.stop(timeout=60.0)


@pytest.fixture
def threads_end(monkeypatch):
    """`threads_end()` waits until the extension's threads that were started in this test have ended: their names."""
    started, start = [], threading.Thread.start

    def recorded(thread):
        started.append(thread)
        start(thread)

    def end():
        own = [thread for thread in started if thread.name.startswith("Emo Avatar")]
        deadline = time.monotonic() + 60
        for thread in own:
            thread.join(max(deadline - time.monotonic(), 0))
        assert not [thread for thread in own if thread.is_alive()]
        return {thread.name for thread in own}

    monkeypatch.setattr(threading.Thread, "start", recorded)
    return end
