"""The life of a backend: started, watched, lost, restarted. The main thread never waits for any of it."""

import os
import re
import time

import pytest
from emo_avatar_addon.errors import AddonError
from emo_avatar_addon.link import client, process
from emo_avatar_addon.link import session as link
from emo_avatar_addon.link.session import Remote, State


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """What hangs is given up soon, and still not so soon that a busy machine is taken for it."""
    monkeypatch.setattr(link, "HEARTBEAT", 0.1)
    monkeypatch.setattr(link, "LOST_AFTER", 1.0)
    monkeypatch.setattr(client, "QUICK", 2.0)


@pytest.fixture
def heard(session):
    """The states that listeners were told of."""
    states = []
    session.listeners.append(lambda health: states.append(health.state))
    return states


def wait_until(condition, session):
    end = time.monotonic() + 120.0
    while not condition():
        assert time.monotonic() < end, f"still {session.health}; {session.log[-5:]}"
        time.sleep(0.02)


def wait_for(session, *states):
    wait_until(lambda: session.health.state in states, session)
    return session.health


def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:  # a zombie whose new parent has not looked yet is gone, too
        return stat.read().rpartition(")")[2].split()[0] != "Z"


def test_goes_from_off_to_ready_and_back(session, fake, heard):
    assert session.health.state is State.OFF
    session.start(fake())
    assert session.health.state is State.STARTING
    wait_for(session, State.READY)
    assert session.client.emotions({}, {})["expression"].shape == (2, 100)
    assert session.health.status["device"]["name"] == "fake"
    session.stop(timeout=60.0)
    assert heard == [State.STARTING, State.LOADING, State.READY, State.OFF]
    with pytest.raises(AddonError, match="off"):
        session.client  # noqa: B018


def test_waiting_for_ready_ends_when_cancelled(session, fake):
    session.start(fake("says nothing"))
    begun = time.monotonic()
    with pytest.raises(AddonError, match="starting"):
        session.wait_ready(600.0, cancelled=lambda: time.monotonic() > begun + 0.2)
    assert time.monotonic() - begun < 60.0


@pytest.mark.parametrize(
    ("mode", "state", "said"),
    [
        ("ends at once", State.FAILED, "ended at once: exit code 1.*no module named torch. Set the"),
        ("ends while it loads", State.FAILED, "exit code 1. It said: .*'uvicorn'. Restart it. Set the backend up"),
        ("says garbage", State.FAILED, "not an Emo Avatar backend.*Welcome"),
        ("older protocol", State.OUTDATED, "older than this extension: set it up again"),
        ("newer protocol", State.OUTDATED, "newer than this extension: update the extension"),
        ("later protocol", State.OUTDATED, "newer than this extension"),
        ("answers garbage", State.FAILED, "no message"),
        ("never ready", State.FAILED, "cannot work: PyTorch is broken"),
        ("dies", State.FAILED, "ended by itself: it was killed, perhaps because memory ran out"),
        ("hangs", State.LOST, "does not answer in time.*restart it"),
        ("closes in the middle", State.LOST, "in the middle|broke off"),
    ],
)
def test_says_what_is_wrong(session, fake, monkeypatch, mode, state, said):
    monkeypatch.setattr(link, "LOADED", 2.0)
    session.start(fake(mode))
    health = wait_for(session, state)
    assert re.search(said, health.sentence), health.sentence


def test_silence_is_a_failure_after_the_deadline(session, fake, monkeypatch):
    monkeypatch.setattr(link, "FIRST_LINE", 0.5)
    session.start(fake("says nothing"))
    assert "said nothing" in wait_for(session, State.FAILED).sentence


@pytest.mark.parametrize("mode", ["dies", "hangs", "ends at once", "says nothing", "will not end"])
def test_one_click_restarts_it(session, fake, heard, mode):
    session.start(fake(mode))
    wait_for(session, *({State.STARTING} if mode == "says nothing" else {State.FAILED, State.LOST, State.READY}))
    fake("")
    heard.clear()
    session.restart()
    wait_until(lambda: heard[-1:] == [State.READY], session)
    assert heard == [State.STARTING, State.LOADING, State.READY]


def test_comes_back_by_itself_after_a_pause(session, fake, heard):
    session.start(fake("hangs for a while"))
    wait_until(lambda: heard[-2:] == [State.LOST, State.READY], session)


@pytest.mark.parametrize("mode", ["says nothing", "hangs", "will not end", "dies", ""])
def test_the_main_thread_never_waits(session, fake, mode):
    """The shortest wait for anything here is half a second; a busy machine does not delay a call thrice by as much."""
    location = fake(mode)
    for call in (lambda: session.start(location), lambda: session.health, session.restart, session.stop):
        seconds = []
        for _ in range(3):
            session.start(location)
            time.sleep(0.2)
            begun = time.monotonic()
            call()
            seconds.append(time.monotonic() - begun)
        assert min(seconds) < 0.4, seconds


@pytest.mark.skipif(os.name == "nt", reason="looks processes up in /proc")
def test_nothing_that_it_started_is_left(session, fake):
    session.start(fake("will not end"))
    wait_for(session, State.READY)
    wait_until(lambda: any(line.startswith("child") for line in session.log), session)
    child = int(next(line for line in session.log if line.startswith("child")).split()[1])
    assert exists(child)
    session.stop(timeout=60.0)
    wait_until(lambda: not exists(child), session)  # what is killed ends at its next turn


def test_keeps_the_last_lines_of_the_log_and_reads_on(session, fake):
    session.start(fake("chatters"))
    wait_until(lambda: "line 999" in session.log, session)
    assert len(session.log) == process.LOG_LINES
    wait_for(session, State.READY)


def test_nothing_is_started_from_a_path_that_is_no_program(session, tmp_path):
    session.start(link.Spawned(tmp_path / "no-python"))
    assert "cannot be started" in wait_for(session, State.FAILED).sentence


def test_an_address_where_nobody_is(session):
    session.start(Remote("http://127.0.0.1:9", "secret"))
    assert "No backend answers there" in wait_for(session, State.LOST).sentence


def test_an_address_with_the_wrong_token(session, fake):
    running = process.BackendProcess(fake().command(), fake().environment())
    try:
        greeting = running.greeting(60.0)
        session.start(Remote(greeting.url, "wrong"))
        assert wait_for(session, State.FAILED).sentence == "The token is wrong."
        session.start(Remote(greeting.url, greeting.token))
        wait_for(session, State.READY)
        assert session.log == ("one", "two")
        session.stop(timeout=60.0)
        assert running.exit_code is None  # it is not ours to end
    finally:
        running.kill()


def test_a_backend_of_ours_writes_into_its_own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    environment = link.Spawned(tmp_path / "backend-1/bin/python", cache=tmp_path / "models").environment()
    assert environment["EMO_AVATAR_CACHE"] == str(tmp_path / "models")
    assert environment["NUMBA_CACHE_DIR"] == str(tmp_path / "backend-1" / "kernels")
    assert "PYTHONHOME" not in environment
    assert "NUMBA_CACHE_DIR" not in link.Spawned(tmp_path / "python", isolated=False).environment()


def test_token_is_not_in_what_is_printed():
    assert "secret" not in repr(Remote("http://127.0.0.1:9", "secret"))
