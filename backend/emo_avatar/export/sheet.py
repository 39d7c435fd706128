"""The contact sheet: seven emotions in three views."""

from __future__ import annotations

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


def contact_sheet(
    avatar: Avatar, size: int, progress: Progress, geometry: bool = True, appearance: bool = True
) -> np.ndarray:  # [H, W, 3] uint8
    """A column for each emotion at full weight, neutral first, and a row for each view, ``size`` pixels a picture."""
    columns = ("neutral", *EMOTIONS)
    label = round(LABEL_HEIGHT * size)
    sheet = Image.new("RGB", (len(columns) * size, label + len(YAWS) * size), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_HEIGHT * size)
    for column, emotion in enumerate(columns):
        draw.text(((column + 0.5) * size, label / 2), emotion, INK, font, anchor="mm")
        gaussians = avatar.pose(perform(avatar, emotions={emotion: 1.0}, geometry=geometry, appearance=appearance))
        for row, yaw in enumerate(YAWS):
            view = picture(gaussians, avatar.camera(yaw=yaw, size=size), BACKGROUND)
            sheet.paste(Image.fromarray(view), (column * size, label + row * size))
        progress((column + 1) / len(columns), emotion)
    return np.asarray(sheet)
