"""Contact sheets of a head: what to look at after every change of its builder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from emo_avatar.files import whole_file
from emo_avatar.head.arkit import arkit_weights, flame_from_arkit
from emo_avatar.head.data import ARKIT_NAMES, N_SHAPE, HeadData
from emo_avatar.head.model import HeadModel
from emo_avatar.render.camera import Camera
from emo_avatar.render.shading import shade

BACKGROUND = (107, 115, 125)
CELL = 320  # pixels
WHOLE_HEAD = {"target": (0.0, -0.025, 0.0), "distance": 1.2, "fov": 14.5}
FACE = {"target": (0.0, -0.020, 0.03), "distance": 1.0, "fov": 12.5}
MOUTH = {"target": (0.0, -0.070, 0.06), "distance": 0.6, "fov": 8.5}
EYES = {"target": (0.0, 0.004, 0.06), "distance": 0.6, "fov": 10.0}
N_PEOPLE = 14


def _both(**values: float) -> dict[str, float]:
    """ARKit weights by name; a name without a side stands for both."""
    return {
        name: value
        for stem, value in values.items()
        for name in ([stem] if stem in ARKIT_NAMES else [f"{stem}Left", f"{stem}Right"])
    }


VISEMES = {
    "neutral": {},
    "AA": _both(jawOpen=0.45, mouthLowerDown=0.3),
    "EE": _both(mouthStretch=0.7, mouthSmile=0.3, jawOpen=0.12, mouthLowerDown=0.6, mouthUpperUp=0.3),
    "OO": _both(mouthPucker=1.0, mouthFunnel=0.4),
    "F, V": _both(mouthRollLower=0.8, mouthUpperUp=0.4, jawOpen=0.08),
    "M, B, P": _both(mouthPress=0.8, mouthClose=0.2, jawOpen=0.1),
    "jawOpen": _both(jawOpen=1.0),
    "tongueOut": _both(tongueOut=1.0, jawOpen=0.35),
}
GAZE = {
    "ahead": {},
    "up": _both(eyeLookUp=1.0),
    "down": _both(eyeLookDown=1.0),
    "left": {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0},
    "half closed": _both(eyeBlink=0.5),
    "closed": _both(eyeBlink=1.0),
    "wide": _both(eyeWide=1.0),
    "squint": _both(eyeSquint=1.0),
}


class _Studio:
    """Poses a head and photographs it."""

    def __init__(self, head: HeadData) -> None:
        self.head, self.model = head, HeadModel(head)

    def _vertices(self, arkit: dict[str, float], shape: np.ndarray | None) -> np.ndarray:  # -> [V, 3]
        expression, jaw, eyes = flame_from_arkit(self.head, arkit_weights(**arkit))
        pose = {"expression": expression, "jaw_pose": jaw, "eyes_pose": eyes}
        if shape is not None:
            pose["shape"] = shape
        with torch.no_grad():
            output = self.model(**{k: torch.as_tensor(v, dtype=torch.float32).reshape(1, -1) for k, v in pose.items()})
        return output.vertices[0].numpy()

    def picture(
        self, arkit: dict[str, float], view: dict[str, Any], yaw: float = 0.0, shape: np.ndarray | None = None
    ) -> Image.Image:
        camera = Camera.orbit(np.array(view["target"]), view["distance"], yaw=yaw, fov=view["fov"], size=CELL)
        posed, rest = self._vertices(arkit, shape), self._vertices({}, shape)
        drawn = Image.fromarray(shade(self.head, posed, camera, rest))
        cell = Image.new("RGB", drawn.size, BACKGROUND)
        cell.paste(drawn, mask=drawn.getchannel("A"))
        return cell


def _sheet(path: Path, rows: list[list[tuple[str, Image.Image]]]) -> None:
    sheet = Image.new("RGB", (CELL * max(map(len, rows)), CELL * len(rows)), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for r, row in enumerate(rows):
        for c, (label, cell) in enumerate(row):
            sheet.paste(cell, (c * CELL, r * CELL))
            draw.text((c * CELL + 6, r * CELL + 4), label, fill="white")
    with whole_file(path) as temporary:
        sheet.save(temporary)


def write_sheets(head: HeadData, folder: Path) -> list[Path]:
    """Draw ``neutral.png``, ``people.png``, ``mouth.png``, ``eyes.png`` and ``units.png`` into a folder."""
    studio = _Studio(head)
    rng = np.random.default_rng(0)
    people = rng.standard_normal((N_PEOPLE, N_SHAPE)).astype(np.float32)
    yaws = (0, 35, 90, 180)
    sheets = {
        "neutral": [[(f"{yaw} degrees", studio.picture({}, WHOLE_HEAD, yaw)) for yaw in yaws]],
        "people": [
            [(f"person {n}", studio.picture({}, WHOLE_HEAD, 20, people[n])) for n in half]
            for half in np.split(np.arange(N_PEOPLE), 2)
        ],
        "mouth": [[(name, studio.picture(v, MOUTH, yaw)) for name, v in VISEMES.items()] for yaw in (0, 35)],
        "eyes": [[(name, studio.picture(v, EYES, yaw)) for name, v in GAZE.items()] for yaw in (0, 35)],
        "units": [
            [(name, studio.picture({name: 1.0}, FACE, 15)) for name in ARKIT_NAMES[start : start + 13]]
            for start in range(0, len(ARKIT_NAMES), 13)
        ],
    }
    paths = []
    for name, rows in sheets.items():
        paths.append(folder / f"{name}.png")
        _sheet(paths[-1], rows)
    return paths
