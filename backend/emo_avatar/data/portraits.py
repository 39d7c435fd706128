"""Photographs of known emotion: the emotion sheets of five synthetic people, cut into captioned portraits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from emo_avatar import assets

# The first five people of the openpeople package; the others are kept for judging and never looked at here.
PEOPLE = ("P001", "P002", "P003", "P004", "P005")
GRID = (
    ("neutral", "happy", "sad", "angry"),
    ("surprised", "disgust", "fear", None),  # Confused
    (None, None, None, None),  # Smug, Flirty, Thoughtful, Pensive
    (None, "shocked", None, None),  # Exhausted, Shocked, Playful, Determined
)
ENLARGE = 2  # the faces are some 200 px high; the landmarker is steadier on larger ones


@dataclass(frozen=True)
class CaptionedPortrait:
    """One person showing one emotion."""

    person: str
    emotion: str  # "neutral", one of EMOTIONS, or "shocked", which is surprise at its strongest
    rgb: np.ndarray  # [H, W, 3] uint8


def captioned_portraits(people: tuple[str, ...] = PEOPLE) -> list[CaptionedPortrait]:
    """All portraits of the emotions that this project knows, person by person."""
    portraits = []
    for person in people:
        sheet = Image.open(assets.fetch(f"openpeople/{person}/emotions_sheet.jpg")).convert("RGB")
        width, height = sheet.width / 4, sheet.height / 4
        for row, captions in enumerate(GRID):
            for column, emotion in enumerate(captions):
                if emotion is None:
                    continue
                box = (column * width, row * height, (column + 1) * width, (row + 1) * height)
                size = round(ENLARGE * width), round(ENLARGE * height)
                cell = sheet.resize(size, Image.Resampling.BICUBIC, box=box)
                portraits.append(CaptionedPortrait(person, emotion, np.asarray(cell)))
    return portraits
