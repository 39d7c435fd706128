"""The CSV that Epic's Live Link Face records: Timecode, BlendShapeCount, 52 weights, head and eye rotations."""

from __future__ import annotations

import csv
import io
import re
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emo_avatar.errors import UserError
from emo_avatar.motion.arkit_performance import ARKitPerformance, normal_name, performance_from_columns

DEFAULT_FPS = 60.0  # the app's own default
TIMECODE = re.compile(r"(\d+):(\d\d):(\d\d):(\d\d+)(?:\.(\d+))?")  # hours:minutes:seconds:frames.subframe
FRAME_RATES = (24, 25, 30, 48, 50, 60, 100, 120, 240)
SECONDS_PER_DAY = 24 * 3600
MAX_ROWS = 1_000_000
MAX_GAP = 60.0  # seconds without a face that are still filled; more is a broken time code


def read_arkit_csv(text: str, path: Path) -> tuple[ARKitPerformance, list[str]]:
    """A performance from the text of a Live Link Face CSV, and notes.

    The columns may come in any order and case. Rows in which the app had lost the face (BlendShapeCount 0) are filled
    from their neighbours, as are dropped frames, which the time codes tell.

    Raises:
        UserError: no such table, no tracked frame, or a cell that is no number; names the line.
    """
    source = path.name
    reader = csv.reader(io.StringIO(text))
    values, timecodes, lost = [], [], 0
    try:
        names = [normal_name(name) for name in next(reader, [])]
        columns = [i for i, name in enumerate(names) if name not in ("timecode", "blendshapecount", "")]
        timecode = names.index("timecode") if "timecode" in names else None
        count = names.index("blendshapecount") if "blendshapecount" in names else None
        for row in reader:
            if not any(row):
                continue
            if len(row) < len(names) or (count is not None and row[count].strip() == "0"):
                lost += 1
                continue
            values.append(array("d", (float(row[i]) for i in columns)))
            timecodes.append("" if timecode is None else row[timecode])
            if len(values) > MAX_ROWS:
                raise UserError(f"{source} has more than {MAX_ROWS} rows; cut the recording.")
    except (csv.Error, ValueError) as error:
        raise UserError(f"{source}, line {reader.line_num}: {error}.") from error
    times, fps, notes = frame_times(timecodes, source)
    if lost:
        notes.append(f"{source} has {lost} frames without a face: filled from their neighbours.")
    table = np.array(values, np.float64).reshape(len(values), len(columns))
    performance, more = performance_from_columns([names[i] for i in columns], table, times, fps, source)
    return performance, notes + more


def frame_times(timecodes: Sequence[str], source: str) -> tuple[np.ndarray, float, list[str]]:  # [R] in frames
    """When each row was recorded, in frames of the returned rate since midnight, and notes.

    The rate is not in the file: it is the smallest usual one that the frame numbers fit in, once they have wrapped.
    """
    matches = [TIMECODE.fullmatch(code.strip()) for code in timecodes]
    by_row = np.arange(len(timecodes), dtype=float)
    if not all(matches) or not matches:
        return by_row, DEFAULT_FPS, [f"{source} has no time codes: {DEFAULT_FPS:g} fps assumed."]
    parts = [match.groups() for match in matches if match]
    seconds = np.array([3600 * int(h) + 60 * int(m) + int(s) for h, m, s, _, _ in parts], float)
    frames = np.array([float(f"{f}.{sub or 0}") for *_, f, sub in parts])
    notes = []
    if len(np.unique(seconds)) > 2:  # at least one whole second
        fps = float(next((rate for rate in FRAME_RATES if frames.max() < rate), np.ceil(frames.max())))
    else:
        fps = DEFAULT_FPS
        notes.append(f"{source} is too short to tell its frame rate: {DEFAULT_FPS:g} fps assumed.")
    seconds[1:] += SECONDS_PER_DAY * np.cumsum(np.diff(seconds) < -SECONDS_PER_DAY / 2)  # past midnight
    times = seconds * fps + frames
    steps = np.diff(times)
    if (steps <= 0).any() or (steps > MAX_GAP * fps).any():
        notes.append(f"{source} has time codes that jump: every row is taken as one frame.")
        return by_row, fps, notes
    whole = np.floor(times)
    # The clock of the camera drifts through the subframes; following it would blur every frame with its neighbour.
    return (whole if (np.diff(whole) > 0).all() else times), fps, notes
