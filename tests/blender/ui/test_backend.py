"""What the panels and preferences say about the backend, in each of its states."""

import dataclasses
from pathlib import Path

import bpy
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon import preferences
from bl_ext.user_default.emo_avatar.emo_avatar_addon.link import installer, session
from bl_ext.user_default.emo_avatar.emo_avatar_addon.link.session import Health, State
from bl_ext.user_default.emo_avatar.emo_avatar_addon.ops import jobs
from bl_ext.user_default.emo_avatar.emo_avatar_addon.ui import backend, main, text
from bl_ext.user_default.emo_avatar.emo_avatar_addon.ui import jobs as ui_jobs


@pytest.fixture
def made(monkeypatch):
    """An installation, as the preferences see it."""
    made = installer.Installation(Path("backend-1"), "0.1.0", "cpu", "Python 3.11.7", 2000)
    monkeypatch.setattr(preferences, "_installation", made)
    monkeypatch.setattr(installer.Installation, "is_whole", True)
    return made


def preferences_drawn(layouts):
    chosen = preferences.get(bpy.context)
    layout = layouts.Layout()
    from bl_ext.user_default.emo_avatar.emo_avatar_addon.ui import preferences as ui

    ui.draw(chosen, layout, bpy.context)
    return " ".join(layout.texts)


@pytest.mark.parametrize("state", State)
def test_every_state_has_its_sentence(layouts, monkeypatch, state):
    health = Health(state, f"It is {state.value}.", {"device": {"name": "Fake card"}, "memory_mb": 512})
    monkeypatch.setattr(session.Session, "health", health)
    drawn = layouts.drawn(backend.EMOAVATAR_PT_backend)
    assert f"It is {state.value}." in drawn
    assert ("Start" if state is State.OFF else "Restart") in drawn.split("\n")
    assert ("Fake card, 512 MB" in drawn) == (state is State.READY)


def test_the_main_panel_says_when_there_is_no_backend(layouts, made, monkeypatch):
    assert "not set up" not in layouts.drawn(main.EMOAVATAR_PT_main)
    monkeypatch.setattr(preferences, "_installation", None)
    assert "not set up" in layouts.drawn(main.EMOAVATAR_PT_main).replace("\n", " ")


@pytest.mark.parametrize("state", [State.FAILED, State.LOST, State.OUTDATED])
def test_the_main_panel_says_what_is_wrong_and_restarts(layouts, made, monkeypatch, state):
    assert not main.EMOAVATAR_PT_main.poll(bpy.context)
    monkeypatch.setattr(session.Session, "health", Health(state, "It was killed."))
    assert main.EMOAVATAR_PT_main.poll(bpy.context)
    drawn = layouts.drawn(main.EMOAVATAR_PT_main).split("\n")
    assert "It was killed." in drawn and "Restart" in drawn


def test_running_work_has_a_bar(layouts, monkeypatch):
    job = jobs.Job("Avatar from Portrait")
    job.report(0.3, "fitting the head")
    monkeypatch.setattr(jobs, "running", [job])
    monkeypatch.setattr(ui_jobs.jobs, "running", [job])
    assert {"Avatar from Portrait", "Fitting the head"} <= set(layouts.drawn(main.EMOAVATAR_PT_main).splitlines())
    job.cancel()
    assert "Cancelling" in layouts.drawn(main.EMOAVATAR_PT_main)


def test_preferences_of_each_source(layouts, made, monkeypatch):
    chosen = preferences.get(bpy.context)
    assert "Version 0.1.0, Python 3.11.7, 2.0 GB on the disk" in preferences_drawn(layouts)
    monkeypatch.setattr(preferences, "_installation", dataclasses.replace(made, version="0.0.1"))
    assert "older than the extension" in preferences_drawn(layouts)
    monkeypatch.setattr(installer.Installation, "is_whole", False)
    assert "Python is gone" in preferences_drawn(layouts)
    monkeypatch.setattr(preferences, "_installation", None)
    assert "Set Up Backend..." in preferences_drawn(layouts)
    assert "may not go online yet" in preferences_drawn(layouts)
    monkeypatch.setattr(preferences, "_remains", False)
    assert "Remove" not in preferences_drawn(layouts).split()
    monkeypatch.setattr(preferences, "_remains", True)  # downloads of an installation that failed
    assert "Remove" in preferences_drawn(layouts).split()
    monkeypatch.setattr(bpy.context.preferences.system, "use_online_access", True)
    assert "may not go online yet" not in preferences_drawn(layouts)
    try:
        chosen.source = "PYTHON"
        preferences_drawn(layouts)
        chosen.source, chosen.url = "REMOTE", "http://render.example:40123"
        assert "use https" in preferences_drawn(layouts)
        chosen.token = "secret"
        monkeypatch.setattr(bpy.context.preferences.system, "use_online_access", True)
        assert {"Disconnect", "Log"} <= set(preferences_drawn(layouts).split())
        assert {"Connect", "Reconnect"} & set(preferences_drawn(layouts).split())  # it depends on the tests before
        for private in ("https://render.example", "http://127.0.0.1:40123", "http://localhost:1", "http://[::1]:1"):
            chosen.url = private
            assert "use https" not in preferences_drawn(layouts)
    finally:
        chosen.property_unset("source")
        chosen.property_unset("url")
        chosen.property_unset("token")


def test_sentences_wrap(layouts):
    layout = layouts.Layout()
    text.paragraph(layout, bpy.context, "word " * 40, "INFO", width=300)
    lines = [line for line in layout.texts if line]
    assert len(lines) > 3 and " ".join(lines) == ("word " * 40).strip()
