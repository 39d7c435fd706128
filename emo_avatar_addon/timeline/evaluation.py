"""Evaluated ranges of all avatars: kept, renewed when keys change, and shown.

`mark` says that something may have changed. In the main thread `refresh` samples what is marked; a worker asks the
backend; what comes back is swapped in by the main thread. A newer question makes an older answer worthless.
"""

from __future__ import annotations

import functools
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import bpy
import numpy as np

from .. import mainloop, preferences
from ..errors import AddonError
from ..link import session
from ..link.client import Client
from ..link.latest import Latest
from ..model import copies, head_object, properties, storage
from ..model.reference import Reference
from ..translations import sentence
from . import bake, driving, track
from .drive import Drive
from .motion import Motion
from .track import Track

CONTEXT = 0.8  # seconds to either side that the backend looks at
MOST_FRAMES = 10_000  # in one question
REACH = 100  # frames that are evaluated at once outside of the scene's range
RENDER_POLL = 0.25  # seconds
START_TIMEOUT = 180.0  # seconds in which the backend has to be ready

_FILE_TIMEOUT = 30.0
_MAIN_TIMEOUT = 10.0  # a main thread that does not run its timers for so long does something else


@dataclass
class Entry:
    """One avatar of this file."""

    avatar: Reference
    scene: int = 0  # session uid of the scene whose frames it is evaluated for
    track: Track | None = None
    live: Track | None = None  # shown in its place until the frame changes: settings that are set and not keyed
    wanted: bytes = b""  # digest of the newest drive that was asked for
    live_wanted: bytes = b""
    trouble: str = ""  # why what is wanted is not there
    watched: frozenset[int] = frozenset()  # session uids: a change of these may change the avatar
    reshow: bool = True  # what Blender holds is not known to be what we have
    reach: tuple[int, int] | None = None  # frames to evaluate beside the scene's range, while they are rendered

    @property
    def waits_for_range(self) -> bool:
        return bool(self.wanted) and (self.track is None or self.track.drive.digest != self.wanted)

    @property
    def waiting(self) -> bool:
        """Whether an answer is under way."""
        waits_for_live = bool(self.live_wanted) and (self.live is None or self.live.drive.digest != self.live_wanted)
        return not self.trouble and (self.waits_for_range or waits_for_live)


@dataclass(frozen=True)
class _Question:
    drive: Drive
    preview: Drive | None  # asked first
    live: bool  # whether the preview stays, being of values that are not keyed
    only_preview: bool  # the range is known


_entries: dict[int, Entry] = {}  # by session uid of the avatar's object
_marked: set[int] = set()
_questions: dict[int, _Question] = {}
_lock = threading.Lock()  # of _questions
_worker: list[Latest] = []


# --- what others ask


def mark(avatar: bpy.types.Object, reshow: bool = False) -> None:
    """Something of this avatar may have changed: look again, soon.

    With `reshow` its values are written anew even if they have not: something else has written into its rig.
    """
    if avatar.session_uid not in _entries and not properties.is_avatar(avatar):
        return
    _marked.add(avatar.session_uid)
    entry = _entries.setdefault(avatar.session_uid, Entry(Reference.to(avatar)))
    entry.reshow |= reshow
    _look_soon()


def reach(scene: bpy.types.Scene, frame: int) -> bool:
    """Have the avatars of a scene evaluated for a frame outside of its range, and for some after it, until `retreat`.

    Returns whether any is to be evaluated now.
    """
    beyond = [(entry, avatar) for entry, avatar in shown(scene) if entry.track is None or frame not in entry.track]
    for entry, avatar in beyond:
        entry.reach = min(frame, scene.frame_start), max(frame + REACH, scene.frame_end)
        mark(avatar)
    return bool(beyond)


def retreat() -> None:
    """Evaluate the scenes' own ranges again."""
    for entry in _entries.values():
        entry.reach = None


def mark_all(reshow: bool = False) -> None:
    """Look again at every avatar of the file."""
    for thing in bpy.data.objects:
        if properties.is_avatar(thing):
            mark(thing, reshow)


def restore_all() -> None:
    """Play what the file has stored, and look whether it is what is keyed."""
    mark_all()
    for uid, entry in _entries.items():
        try:
            _restore(entry, find(uid))
        except AddonError as error:
            print(f"Emo Avatar: {error}", file=sys.stderr)


def knows(avatar: bpy.types.Object) -> bool:
    """Whether it has been marked before."""
    return avatar.session_uid in _entries


def evaluated(avatar: bpy.types.Object) -> Track | None:
    """The range that plays now; None before the first one."""
    entry = _entries.get(avatar.session_uid)
    return entry.track if entry else None


def parameters(avatar: bpy.types.Object, frame: float) -> dict[str, np.ndarray] | None:
    """FLAME parameters that the avatar shows at a frame, `expression [100]` and so on; None before the first."""
    entry = _entries.get(avatar.session_uid)
    if entry is None or entry.track is None:
        return None
    return (entry.live if entry.live is not None and frame in entry.live else entry.track).parameters(frame)


def trouble(avatar: bpy.types.Object) -> str:
    """Why the avatar does not show its keys as they are now, as a sentence; "" when it does or soon will."""
    entry = _entries.get(avatar.session_uid)
    return entry.trouble if entry else ""


def notice(avatar: bpy.types.Object) -> str:
    """What does not show as it should although it is evaluated, as a sentence; "" when all does."""
    entry = _entries.get(avatar.session_uid)
    beyond = entry.track.beyond if entry is not None and entry.track is not None else None
    if beyond is None:
        return ""
    template = (
        "Frames {first} to {last}: the face is stronger than shape keys can be, and is cut off. "
        "Lower the strength or the motion's influence."
    )
    return sentence(template, first=beyond[0], last=beyond[1])


def is_waiting(avatar: bpy.types.Object) -> bool:
    """Whether newer values are under way."""
    entry = _entries.get(avatar.session_uid)
    return entry is not None and (entry.waiting or avatar.session_uid in _marked)


def settle(timeout: float = START_TIMEOUT) -> bool:
    """Evaluate now whatever is marked, waiting for the backend: for rendering, baking, exports and background mode.

    Returns whether every avatar shows its keys as they are; `trouble` says why not.
    """
    if threading.current_thread() is threading.main_thread():
        refresh()
        mainloop.drain(lambda: not _under_way(), timeout)
    else:  # a render job's thread: the main thread goes on meanwhile
        begun, done = threading.Event(), threading.Event()

        def look() -> None:
            begun.set()
            refresh()
            if _under_way():
                mainloop.call_soon(look)
            else:
                done.set()

        mainloop.call_soon(look)
        if begun.wait(_MAIN_TIMEOUT):
            done.wait(timeout)
    return not _under_way() and not any(entry.trouble for entry in _entries.values())


# --- main thread: from Blender's data to a question


def refresh() -> None:
    """Sample every marked avatar, and ask the backend where what it is asked to do has changed."""
    while _marked:
        uid = _marked.pop()
        entry, avatar = _entries.get(uid), find(uid)
        if entry is None or avatar is None or not properties.is_avatar(avatar):
            _forget(uid)
            continue
        try:
            copies.make_own(avatar)
            _refresh(uid, entry, avatar)
        except AddonError as error:
            entry.trouble, entry.wanted = str(error), b""
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            entry.trouble, entry.wanted = f"The keys could not be read ({type(error).__name__}: {error}).", b""


def _refresh(uid: int, entry: Entry, avatar: bpy.types.Object) -> None:
    scene = _scene_of(avatar)
    if scene is None:
        return
    entry.scene, entry.watched = scene.session_uid, frozenset(_watched(avatar))
    if bake.is_baked(avatar):
        entry.trouble, entry.wanted, entry.live = "", b"", None
        return
    first, last = entry.reach or (scene.frame_start, scene.frame_end)
    frames = np.arange(min(first, scene.frame_start), max(last, scene.frame_end) + 1)
    drive = driving.drive(scene, avatar, frames)
    if entry.track is not None and drive.similar(entry.track.drive):
        drive = entry.track.drive
    frame = scene.frame_current_final
    now = driving.drive(scene, avatar, np.array([frame]), live=0)
    inside = drive.start <= frame <= drive.start + len(drive) - 1
    row = int(frame) - drive.start
    live = not inside or not (frame % 1 or now.similar(drive.rows(row, row + 1)))
    if not live:
        entry.reshow |= entry.live is not None
        entry.live, entry.live_wanted = None, b""
    if drive.digest == entry.wanted and (not live or now.digest == entry.live_wanted):
        if entry.reshow:
            show(entry, avatar, frame)
        return
    entry.wanted, entry.live_wanted, entry.trouble = drive.digest, now.digest if live else b"", ""
    shown_now = live and _finish_alone(entry, now, lambda seen: _swap_live(uid, seen))
    finished = not entry.waits_for_range or _finish_alone(entry, drive, lambda seen: _swap(uid, seen))
    margin = int(np.ceil(CONTEXT * drive.fps))
    preview = now if live else drive.rows(row - margin, row + margin + 1)
    if live and not shown_now:
        _ask(uid, _Question(drive, preview, live, finished))
    elif not finished:
        _ask(uid, _Question(drive, None if live or len(preview) == len(drive) else preview, live, finished))


def _finish_alone(entry: Entry, drive: Drive, swap: Callable[[Track], None]) -> bool:
    """Take over what can be told without the backend. Whether it could."""
    felt = _known(entry, drive)
    if felt is not None:
        swap(track.finish(drive, felt))
    return felt is not None


def _known(entry: Entry, drive: Drive) -> Motion | None:
    """The motion under emotion, where no backend is needed to tell."""
    if not drive.weights.any():
        return drive.motion
    if entry.track is not None and entry.track.drive.question == drive.question:
        return track.answered(drive, entry.track.felt.expression, entry.track.felt.jaw_pose)
    return None


def _ask(uid: int, question: _Question) -> None:
    if session.current().health.state is session.State.OFF and preferences.backend_missing(bpy.context) is None:
        preferences.start_backend(bpy.context)
    with _lock:
        _questions[uid] = question
    if not _worker:
        _worker.append(Latest("Emo Avatar evaluation"))
    _worker[0].submit(_answer_all)


# --- worker


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
            mainloop.call_soon(functools.partial(_failed, uid, question, str(error)))
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            why = f"The answer of the backend could not be used ({type(error).__name__}: {error})."
            mainloop.call_soon(functools.partial(_failed, uid, question, why))


def _answer(uid: int, question: _Question) -> None:
    client = session.current().wait_ready(START_TIMEOUT, cancelled=lambda: uid in _questions)
    if question.preview is not None:
        seen = track.finish(question.preview, _felt(client, uid, question.preview))
        if question.live:
            mainloop.call_soon(lambda: _swap_live(uid, seen))
        else:
            mainloop.call_soon(lambda: _preview(uid, seen, question.drive.digest))
    with _lock:
        if uid in _questions or question.only_preview:  # newest wins
            return
    seen_all = track.finish(question.drive, _felt(client, uid, question.drive))
    mainloop.call_soon(lambda: _swap(uid, seen_all))


def _felt(client: Client, uid: int, drive: Drive) -> Motion:
    """The backend's answer, in pieces that overlap by what it looks at when the range is very long."""
    margin = int(np.ceil(CONTEXT * drive.fps))
    expression, jaw = [], []
    for start in range(0, len(drive), MOST_FRAMES):
        part = drive.rows(start - margin, start + MOST_FRAMES + margin)
        arrays = {name: getattr(part.motion, name) for name in ("expression", "jaw_pose", "eyes_pose")}
        document = {"fps": drive.fps, "avatar": drive.rig.avatar}
        files = None if drive.rig.avatar == "open" else {drive.rig.avatar: lambda: _file(uid)}
        answer = client.emotions({"weights": part.weights} | arrays, document, files)
        felt = track.answered(part, answer.get("expression", np.zeros(0)), answer.get("jaw_pose", np.zeros(0)))
        own = slice(start - (part.start - drive.start), start - (part.start - drive.start) + MOST_FRAMES)
        expression.append(felt.expression[own])
        jaw.append(felt.jaw_pose[own])
    return track.answered(drive, np.concatenate(expression), np.concatenate(jaw))


def _file(uid: int) -> bytes:
    """The avatar's file out of the .blend, which only the main thread may read."""
    read = threading.Event()
    found: list[bytes] = []

    def look() -> None:
        avatar = find(uid)
        found.extend([storage.read_file(avatar) or b""] if avatar is not None else [])
        read.set()

    mainloop.call_soon(look)
    if not read.wait(_FILE_TIMEOUT) or not found or not found[0]:
        raise AddonError("This file has lost the avatar's own file: import the avatar again.")
    return found[0]


# --- main thread: from an answer to what is shown


def _swap(uid: int, seen: Track) -> None:
    entry, avatar = _entries.get(uid), find(uid)
    if avatar is None:
        _forget(uid)
    if entry is None or avatar is None or entry.wanted != seen.drive.digest:
        return
    before, entry.track, entry.trouble = entry.track, seen, ""
    if before is not None:
        head_object.rest(avatar, before.rig.moves & ~seen.rig.moves)
    scene = _scene_of(avatar)
    if scene is not None:
        show(entry, avatar, scene.frame_current_final)


def _swap_live(uid: int, seen: Track) -> None:
    entry, avatar = _entries.get(uid), find(uid)
    if entry is None or avatar is None or entry.live_wanted != seen.drive.digest:
        return
    entry.live = seen
    show(entry, avatar, float(seen.start))


def _preview(uid: int, seen: Track, digest: bytes) -> None:
    """Show the current frame before its range is there."""
    entry, avatar = _entries.get(uid), find(uid)
    scene = _scene_of(avatar) if avatar is not None else None
    if entry is not None and scene is not None and entry.wanted == digest and scene.frame_current_final in seen:
        head_object.apply(avatar, *seen.values(scene.frame_current_final))


def _failed(uid: int, question: _Question, why: str) -> None:
    entry = _entries.get(uid)
    if entry is not None and entry.wanted == question.drive.digest:
        entry.trouble, entry.wanted, entry.live_wanted = why, b"", b""


def show(entry: Entry, avatar: bpy.types.Object, frame: float) -> None:
    """Put a frame's values into the shape keys and bones. No network, no waiting."""
    seen = entry.live if entry.live is not None and frame in entry.live else entry.track
    if seen is None or bake.is_baked(avatar):
        return
    head_object.apply(avatar, *seen.values(frame))
    entry.reshow = False


def shown(scene: bpy.types.Scene) -> Iterator[tuple[Entry, bpy.types.Object]]:
    """The avatars of a scene that are being evaluated."""
    for uid, entry in list(_entries.items()):
        avatar = find(uid)
        if avatar is not None and (entry.scene == scene.session_uid or scene in avatar.users_scene):
            yield entry, avatar


def heard(changed: set[int]) -> None:
    """Datablocks with these session uids have changed."""
    for uid, entry in _entries.items():
        if not entry.watched.isdisjoint(changed):
            _marked.add(uid)
    if _marked:
        _look_soon()


def retry() -> None:
    """The backend is back: ask again what it has not answered."""
    for uid, entry in _entries.items():
        if entry.trouble:
            _marked.add(uid)
    if _marked:
        _look_soon()


def store() -> None:
    """Put what is evaluated into the file, so that it plays without a backend."""
    for uid, entry in list(_entries.items()):
        avatar = find(uid)
        if avatar is not None and entry.track is not None:
            storage.write_range(avatar, entry.track.pack())


def forget() -> None:
    """Another file is open."""
    _entries.clear()
    _marked.clear()
    driving.forget()
    with _lock:
        _questions.clear()


def close() -> None:
    """Nothing is evaluated any more."""
    forget()
    if bpy.app.timers.is_registered(_look):
        bpy.app.timers.unregister(_look)
    while _worker:
        _worker.pop().close()


def find(uid: int) -> bpy.types.Object | None:
    """The avatar's object now, wherever undo has put it and whatever it is called by now."""
    entry = _entries.get(uid)
    return entry.avatar.find() if entry is not None else None


def _restore(entry: Entry, avatar: bpy.types.Object) -> None:
    message = storage.read_range(avatar)
    if message:
        entry.track = Track.unpack(message, driving.rig_of(avatar))
        entry.wanted = entry.track.drive.digest


def _forget(uid: int) -> None:
    _entries.pop(uid, None)
    with _lock:
        _questions.pop(uid, None)


def _under_way() -> bool:
    return bool(_marked) or any(entry.waiting for entry in _entries.values())


def _look_soon() -> None:
    if not bpy.app.background and not bpy.app.timers.is_registered(_look):
        bpy.app.timers.register(_look, first_interval=0.0)


def _look() -> float | None:
    if bpy.app.is_job_running("RENDER"):  # the render thread reads Blender's data now
        return RENDER_POLL
    refresh()
    return 0.0 if _marked else None


def _scene_of(avatar: bpy.types.Object) -> bpy.types.Scene | None:
    scenes = avatar.users_scene
    return bpy.context.scene if bpy.context.scene in scenes else next(iter(scenes), None)


def _watched(avatar: bpy.types.Object) -> Iterator[int]:
    yield avatar.data.session_uid
    for thing in (avatar, avatar.emo_avatar.gaze_target):
        if thing is None:
            continue
        yield thing.session_uid
        if thing.animation_data is not None:
            actions = [thing.animation_data.action]
            actions += [strip.action for nla in thing.animation_data.nla_tracks for strip in nla.strips]
            yield from (action.session_uid for action in actions if action is not None)
