"""Contact sheets of the synthetic data, to be judged by eye."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from emo_avatar.data.synchronised_shots import draw_moment, draw_sequence
from emo_avatar.export.pictures import to_uint8
from emo_avatar.motion.timeline import EMOTIONS

Progress = Callable[[float, str], None]

INK = (40, 40, 40)
LABEL_HEIGHT, FONT_HEIGHT = 0.14, 0.085  # of a picture's size
COLUMNS = ("photo", "neutral", *EMOTIONS)
INSTANTS = 9  # of a sequence


def appearance_sheet(seed: int, people: int, size: int, progress: Progress) -> np.ndarray:  # [H, W, 3] uint8
    """A row for each person: a photograph, then one other moment in all seven emotions, same camera and light."""
    rows = []
    for person in range(people):
        photo = draw_moment(seed + person, 1, size)
        moment = draw_moment(seed + person, 2, size, photo.subject)
        feelings = [np.zeros(len(EMOTIONS)), *np.eye(len(EMOTIONS))]
        # Photographs show people feeling something, too.
        felt = 0.7 * feelings[(seed + person) % len(feelings)]
        rows.append([photo.shot(felt).rgb, *(moment.shot(weights).rgb for weights in feelings)])
        progress((person + 1) / people, f"person {person + 1} of {people}")
    return _sheet(rows, COLUMNS)


def geometry_sheet(seed: int, size: int, progress: Progress) -> np.ndarray:  # [H, W, 3] uint8
    """A row for each emotion, neutral first, over the same instants of one utterance at 30 frames a second."""
    sequence = draw_sequence(seed, seconds=1.0, size=size)
    instants = np.linspace(0, len(sequence) - 1, INSTANTS).round().astype(int)
    rows = []
    for emotion in (None, *range(len(EMOTIONS))):
        rows.append([sequence.shot(emotion, int(t)).rgb for t in instants])
        progress(len(rows) / (len(EMOTIONS) + 1), "neutral" if emotion is None else EMOTIONS[emotion])
    return _sheet(rows, [f"{t / sequence.driving.fps:.2f} s" for t in instants], ("neutral", *EMOTIONS))


def _sheet(rows: list[list[np.ndarray]], captions: Sequence[str], names: Sequence[str] = ()) -> np.ndarray:
    """Pictures under their columns' captions; ``names`` of rows are written into their first pictures."""
    size = len(rows[0][0])
    label = round(LABEL_HEIGHT * size)
    sheet = Image.new("RGB", (len(captions) * size, label + len(rows) * size), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_HEIGHT * size)
    for column, caption in enumerate(captions):
        draw.text(((column + 0.5) * size, label / 2), caption, INK, font, anchor="mm")
        for row, pictures in enumerate(rows):
            sheet.paste(Image.fromarray(to_uint8(pictures[column])), (column * size, label + row * size))
    for row, name in enumerate(names):
        at = (0.04 * size, label + (row + 0.03) * size)
        draw.text(at, name, "white", font, stroke_width=max(1, size // 96), stroke_fill=INK)
    return np.asarray(sheet)
