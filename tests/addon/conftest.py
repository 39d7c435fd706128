"""What the tests of the extension's modules without Blender share."""

import sys
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
    session.stop(timeout=10.0)
