"""The exception boundary: one sentence for what the user can mend, a report without paths for the rest."""

from pathlib import Path

import bpy
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.errors import AddonError
from bl_ext.user_default.emo_avatar.emo_avatar_addon.link.client import BackendError
from bl_ext.user_default.emo_avatar.emo_avatar_addon.ops import boundary

failures = {
    "none": None,
    "mendable": AddonError("The photo is too dark; choose another."),
    "accident": ZeroDivisionError(f"in {Path.home()}/secret/file.py"),
    "backend": BackendError("The backend stumbled.", report="Traceback\nTypeError: x"),
}


class EMOAVATAR_OT_test_failing(boundary.EmoOperator):
    bl_idname = "emo_avatar.test_failing"
    bl_label = "Failing"

    kind: bpy.props.StringProperty(default="none")
    reason = None

    @classmethod
    def disabled_reason(cls, context):
        return cls.reason

    def run(self, context):
        if failures[self.kind] is not None:
            raise failures[self.kind]


@pytest.fixture(autouse=True)
def operator(monkeypatch):
    monkeypatch.setattr(boundary, "last_report", "")
    bpy.utils.register_class(EMOAVATAR_OT_test_failing)
    yield
    bpy.utils.unregister_class(EMOAVATAR_OT_test_failing)


def test_nothing_wrong():
    assert bpy.ops.emo_avatar.test_failing() == {"FINISHED"}


def test_what_can_be_mended_is_one_sentence():
    with pytest.raises(RuntimeError, match="The photo is too dark; choose another."):
        bpy.ops.emo_avatar.test_failing(kind="mendable")
    assert boundary.last_report == ""


def test_an_accident_becomes_a_report_without_paths(capfd):
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        bpy.ops.emo_avatar.test_failing(kind="accident")
    report = boundary.last_report
    assert "Traceback" in report and "test_failing" in report.lower() and bpy.app.version_string in report
    assert str(Path.home()) not in report and "~/secret/file.py" in report
    assert report in capfd.readouterr().err


def test_an_accident_of_the_backend_becomes_a_report():
    with pytest.raises(RuntimeError, match="The backend stumbled."):
        bpy.ops.emo_avatar.test_failing(kind="backend")
    assert "TypeError: x" in boundary.last_report


def test_a_grey_button_says_why(monkeypatch):
    monkeypatch.setattr(EMOAVATAR_OT_test_failing, "reason", "Select an avatar")
    assert not bpy.ops.emo_avatar.test_failing.poll()
    with pytest.raises(RuntimeError, match="Select an avatar"):
        bpy.ops.emo_avatar.test_failing()


def test_a_long_sentence_of_a_report_is_shown_whole(layouts, monkeypatch):
    sentence = " ".join(f"word{number}" for number in range(60))
    monkeypatch.setattr(boundary, "last_report", f"{sentence}\n\nTraceback")
    lines = layouts.drawn(boundary.EMOAVATAR_OT_show_report).splitlines()
    assert " ".join(lines).split() == [*sentence.split(), "Traceback"]
    assert max(map(len, lines)) <= 100 and "" in lines
