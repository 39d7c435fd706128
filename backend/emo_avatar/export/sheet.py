"""Contact sheets: seven emotions in three views, and the two paths that emotion takes, apart and together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.export.performance import perform
from emo_avatar.export.pictures import Progress, picture
from emo_avatar.motion.timeline import EMOTIONS

YAWS = (0.0, 35.0, -35.0)  # degrees
BACKGROUND = (1.0, 1.0, 1.0)
INK = (40, 40, 40)
LABEL_HEIGHT = 0.12  # of a picture's size
FONT_HEIGHT = 0.075
# What `paths_sheet` shows, by (geometry, appearance)
PATHS = {"movement": (True, False), "colour": (False, True), "both": (True, True)}


def contact_sheet(
    avatar: Avatar, size: int, progress: Progress, geometry: bool = True, appearance: bool = True
) -> np.ndarray:  # [H, W, 3] uint8
    """A column for each emotion at full weight, neutral first, and a row for each view, ``size`` pixels a picture."""

    def views(emotion: str) -> Iterable[np.ndarray]:
        gaussians = avatar.pose(perform(avatar, emotions={emotion: 1.0}, geometry=geometry, appearance=appearance))
        return (picture(gaussians, avatar.camera(yaw=yaw, size=size), BACKGROUND) for yaw in YAWS)

    columns = ("neutral", *EMOTIONS)
    return _labelled(columns, (views(emotion) for emotion in columns), len(YAWS), size, progress)


def paths_sheet(avatar: Avatar, size: int, progress: Progress) -> np.ndarray:  # [H, W, 3] uint8
    """A column for each emotion at full weight, and in it what moves, what colours, and both."""

    def paths(emotion: str) -> Iterable[np.ndarray]:
        for geometry, appearance in PATHS.values():
            shown = perform(avatar, emotions={emotion: 1.0}, geometry=geometry, appearance=appearance)
            yield picture(avatar.pose(shown), avatar.camera(size=size), BACKGROUND)

    return _labelled(EMOTIONS, (paths(emotion) for emotion in EMOTIONS), len(PATHS), size, progress)


def _labelled(
    names: Sequence[str], columns: Iterable[Iterable[np.ndarray]], rows: int, size: int, progress: Progress
) -> np.ndarray:  # [H, W, 3] uint8
    """Square pictures in columns under their names."""
    label = round(LABEL_HEIGHT * size)
    sheet = Image.new("RGB", (len(names) * size, label + rows * size), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_HEIGHT * size)
    for i, (name, column) in enumerate(zip(names, columns, strict=True)):
        draw.text(((i + 0.5) * size, label / 2), name, INK, font, anchor="mm")
        for row, view in enumerate(column):
            sheet.paste(Image.fromarray(view), (i * size, label + row * size))
        progress((i + 1) / len(names), name)
    return np.asarray(sheet)
