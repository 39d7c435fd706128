"""Motion files as other programs write them."""

import pytest

from emo_avatar.head.data import ARKIT_NAMES, load_head

LIVE_LINK_ORDER = list(ARKIT_NAMES)  # the app swaps two pairs
for first, second in (("jawLeft", "jawRight"), ("mouthLeft", "mouthRight")):
    i, j = LIVE_LINK_ORDER.index(first), LIVE_LINK_ORDER.index(second)
    LIVE_LINK_ORDER[i], LIVE_LINK_ORDER[j] = second, first
ROTATIONS = [f"{part}{angle}" for part in ("Head", "LeftEye", "RightEye") for angle in ("Yaw", "Pitch", "Roll")]


def live_link_text(frames, fps=60, count_name="BlendShapeCount", start=3600.0):
    """Live Link Face's CSV of frames by column name in camelCase; None is a frame in which the face was lost."""
    header = ["Timecode", count_name] + [name[0].upper() + name[1:] for name in LIVE_LINK_ORDER] + ROTATIONS
    lines = [",".join(header)]
    for i, frame in enumerate(frames):
        seconds, ff = divmod(round(start * fps) + i, fps)
        timecode = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{ff:02d}.{i % 1000:03d}"
        if frame is None:
            lines.append(f"{timecode},0")
            continue
        values = [frame.get(name, 0.0) for name in LIVE_LINK_ORDER]
        values += [frame.get(name[0].lower() + name[1:], 0.0) for name in ROTATIONS]
        lines.append(",".join([timecode, "61", *(f"{value:.10f}" for value in values)]))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def live_link():
    return live_link_text


@pytest.fixture(scope="session")
def head():
    return load_head()
