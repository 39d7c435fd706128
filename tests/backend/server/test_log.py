import io
import logging
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from emo_avatar.server.log import FOLDER_PREFIX, KEPT_LINES, LogRing, masked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /v1/avatars/abc/head", "GET /v1/avatars/abc/head"),
        ("at https://example.org/a/b", "at https://example.org/a/b"),
        ("1/2 and a/b/c", "1/2 and a/b/c"),
        ("open /srv/people/anna/me.zip: failed", "open …/me.zip: failed"),
        (r"open C:\Users\Anna Smith\me.zip", "open …/me.zip"),
        ("D:/people/anna/me.zip", "…/me.zip"),
        ("'/var/lib/x/y'", "'…/y'"),
        (f"{tempfile.gettempdir()}/{FOLDER_PREFIX}12-abc/tmp3x/me.zip cannot be read", "me.zip cannot be read"),
    ],
)
def test_folders_are_masked(text, expected):
    assert masked(text) == expected


def test_no_folder_of_this_computer_is_left_in_a_traceback():
    import traceback

    try:
        Path("/nonexistent/folder/file").read_bytes()
    except OSError as error:
        text = masked("".join(traceback.format_exception(error)))
    for folder in (str(Path(__file__).parent), sys.prefix, str(Path.home()), tempfile.gettempdir(), "/nonexistent"):
        assert len(folder) < 4 or folder not in text
    assert "test_log.py" in text


def logger_of(ring):
    logger = logging.Logger("test")
    logger.addHandler(ring)
    return logger


def test_the_last_lines_are_kept():
    ring = LogRing(io.StringIO())
    for number in range(KEPT_LINES + 50):
        logger_of(ring).warning("line %d", number)
    assert len(ring.lines()) == KEPT_LINES
    assert ring.lines()[-1].endswith(f"line {KEPT_LINES + 49}")


def test_a_reader_that_stands_still_does_not_hold_up_the_program():
    class Stuck(io.StringIO):
        def write(self, text):
            threading.Event().wait(600)

    ring = LogRing(Stuck())
    started = time.monotonic()
    for number in range(3000):
        logger_of(ring).warning("line %d", number)
    assert time.monotonic() - started < 120
    assert ring.lines()[-1].endswith("line 2999")
