"""Reading driving motion of any format, told by content rather than by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from emo_avatar.errors import UserError
from emo_avatar.head.data import HeadData, open_head
from emo_avatar.motion.arkit_csv import read_arkit_csv
from emo_avatar.motion.arkit_json import read_arkit_json
from emo_avatar.motion.flame_npz import MAX_FPS, Fields, read_flame_npz
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.lam_motion import is_lam_motion, read_lam_motion
from emo_avatar.motion.retarget import retarget

OPEN_HEAD = "open"  # name of the shipped head, whose expression basis is its own
ZIP_SIGNATURE = b"PK\x03\x04"
MAX_TEXT_BYTES = 256 << 20  # an hour of Live Link Face at 60 fps is 180 MB


def read_motion(path: Path | str, head: HeadData, fps: float | None = None) -> tuple[FlameSequence, list[str]]:
    """Driving motion for a head, resampled to ``fps`` when that is given, and notes for the user.

    Reads FLAME npz files (VHAP, GaussianAvatars, our own), LAM's motion folders or their ``transforms.json``, Live Link
    Face CSV and ARKit JSON.

    Raises:
        UserError: the file is none of these or broken.
    """
    if fps is not None and not 0 < fps <= MAX_FPS:
        raise UserError(f"The frame rate is {fps:g}; it should be above 0 and at most {MAX_FPS:g}.")
    path = Path(path)
    if path.is_dir():
        sequence, notes = _for_head(*read_lam_motion(path), head)
    elif _signature(path) == ZIP_SIGNATURE:
        sequence, notes = _for_head(*read_flame_npz(path), head)
    else:
        sequence, notes = _read_text(path, head)
    return (sequence if fps is None else sequence.resample(fps)), notes


def _signature(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(len(ZIP_SIGNATURE))
    except OSError as error:
        raise UserError(f"{path} cannot be opened: {error.strerror}.") from error


def _read_text(path: Path, head: HeadData) -> tuple[FlameSequence, list[str]]:
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise UserError(f"{path.name} is larger than {MAX_TEXT_BYTES >> 20} MB; it is too large for a motion file.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path.name} is no motion that can be read: give a FLAME npz, a LAM motion folder, "
            "a Live Link Face CSV or ARKit JSON."
        ) from error
    if not text.lstrip().startswith(("{", "[")):
        performance, notes = read_arkit_csv(text, path)
        return performance.on_head(head), notes
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path.name} is broken JSON: {error}.") from error
    if isinstance(document, dict) and "emotions" in document:
        raise UserError(f"{path.name} is an emotion timeline, no motion; give it as the timeline.")
    if path.name == "transforms.json" and is_lam_motion(path.parent):
        return _for_head(*read_lam_motion(path.parent), head)
    performance, notes = read_arkit_json(document, path)
    return performance.on_head(head), notes


def _for_head(fields: Fields, notes: list[str], head: HeadData) -> tuple[FlameSequence, list[str]]:
    """A FLAME sequence that fits the head, with notes on what does not carry over."""
    sequence = FlameSequence(**fields)  # type: ignore[arg-type]
    # A file that names no head comes from a tracker of official FLAME, which an imported head is.
    if sequence.head == head.name or (sequence.head is None and head.name != OPEN_HEAD):
        return _with_fitting_offset(sequence, notes, head)
    if sequence.head == OPEN_HEAD:
        moved = retarget(sequence, open_head(), head)
        return moved, [*notes, f'Its expressions were carried over from the open head to the head "{head.name}".']
    made_for = "official FLAME" if sequence.head is None else f'the head "{sequence.head}"'
    note = (
        f'Its expressions are made for {made_for} and mean something else on the head "{head.name}"; '
        "jaw, eyes and head turn are the same."
    )
    return _with_fitting_offset(sequence, [*notes, note], head)


def _with_fitting_offset(sequence: FlameSequence, notes: list[str], head: HeadData) -> tuple[FlameSequence, list[str]]:
    offset = sequence.static_offset
    if offset is None or len(offset) == head.n_vertices:
        return sequence, notes
    note = f"Its static offset is for {len(offset)} vertices, the head has {head.n_vertices}: left out."
    return replace(sequence, static_offset=None), [*notes, note]
