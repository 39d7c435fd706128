"""Asking the backend for motion under emotion, in a thread of its own; the newest question of each avatar wins."""

from __future__ import annotations

import functools
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import mainloop
from ..errors import AddonError
from ..link import session
from ..link.client import Client
from ..link.latest import Latest
from . import track
from .drive import Drive
from .motion import Motion
from .track import Track

CONTEXT = 0.8  # seconds to either side that the backend looks at
MOST_FRAMES = 10_000  # in one request
START_TIMEOUT = 180.0  # seconds in which the backend has to be ready

_FILE_TIMEOUT = 30.0


@dataclass(frozen=True)
class Question:
    """What is to be found out about one avatar, and who is told. All functions are called in the main thread."""

    drive: Drive  # the whole range
    preview: Drive | None  # a part of it, or another frame: asked first
    only_preview: bool  # the range is known
    read_file: Callable[[], bytes | None]  # the `.emoavatar`, for a backend that does not hold it
    previewed: Callable[[Track], object]
    answered: Callable[[Track], object]
    failed: Callable[[str], object]  # with a sentence


_questions: dict[int, Question] = {}  # by session uid of the avatar's object: those that wait
_lock = threading.Lock()  # of _questions
_worker: list[Latest] = []


def margin(drive: Drive) -> int:
    """How many frames to either side of one the backend's answer for it depends on."""
    return int(np.ceil(CONTEXT * drive.fps))


def ask(uid: int, question: Question) -> None:
    """Find it out soon. It takes the place of an older question about the same avatar."""
    with _lock:
        _questions[uid] = question
    if not _worker:
        _worker.append(Latest("Emo Avatar evaluation"))
    _worker[0].submit(_answer_all)


def drop(uid: int) -> None:
    """The avatar is gone."""
    with _lock:
        _questions.pop(uid, None)


def drop_all() -> None:
    """Another file is open."""
    with _lock:
        _questions.clear()


def close() -> None:
    """Nothing is asked any more."""
    drop_all()
    while _worker:
        _worker.pop().close()


def felt(client: Client, drive: Drive, read_file: Callable[[], bytes | None]) -> Motion:
    """The backend's answer, in pieces that overlap by what it looks at when the range is very long."""
    overlap = margin(drive)
    expression, jaw = [], []
    for start in range(0, len(drive), MOST_FRAMES):
        part = drive.rows(start - overlap, start + MOST_FRAMES + overlap)
        arrays = {name: getattr(part.motion, name) for name in ("expression", "jaw_pose", "eyes_pose")}
        document = {"fps": drive.fps, "avatar": drive.rig.avatar}
        files = None if drive.rig.avatar == "open" else {drive.rig.avatar: lambda: _in_main_thread(read_file)}
        answer = client.emotions({"weights": part.weights} | arrays, document, files)
        told = track.answered(part, answer.get("expression", np.zeros(0)), answer.get("jaw_pose", np.zeros(0)))
        own = slice(start - (part.start - drive.start), start - (part.start - drive.start) + MOST_FRAMES)
        expression.append(told.expression[own])
        jaw.append(told.jaw_pose[own])
    return track.answered(drive, np.concatenate(expression), np.concatenate(jaw))


def _answer_all() -> None:
    while True:
        with _lock:
            if not _questions:
                return
            uid = next(iter(_questions))
            question = _questions.pop(uid)
        try:
            _answer(uid, question)
        except AddonError as error:
            mainloop.call_soon(functools.partial(question.failed, str(error)))
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            why = f"The answer of the backend could not be used ({type(error).__name__}: {error})."
            mainloop.call_soon(functools.partial(question.failed, why))


def _answer(uid: int, question: Question) -> None:
    client = session.current().wait_ready(START_TIMEOUT, cancelled=lambda: uid in _questions)
    if question.preview is not None:
        seen = track.finish(question.preview, felt(client, question.preview, question.read_file))
        mainloop.call_soon(functools.partial(question.previewed, seen))
    with _lock:
        if uid in _questions or question.only_preview:  # newest wins
            return
    whole = track.finish(question.drive, felt(client, question.drive, question.read_file))
    mainloop.call_soon(functools.partial(question.answered, whole))


def _in_main_thread(read_file: Callable[[], bytes | None]) -> bytes:
    """The avatar's file out of the .blend, which only the main thread may read."""
    read = threading.Event()
    found: list[bytes] = []

    def look() -> None:
        found.append(read_file() or b"")
        read.set()

    mainloop.call_soon(look)
    if not read.wait(_FILE_TIMEOUT) or not found[0]:
        raise AddonError("This file has lost the avatar's own file: import the avatar again.")
    return found[0]
