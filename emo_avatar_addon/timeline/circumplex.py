"""Valence and arousal as one point of a circle, and the six emotions that it means. No bpy.

After Russell, "A circumplex model of affect" (1980): emotions lie around a circle whose middle is neutral.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

# Degrees, from pleasant (right) over aroused (up). Between sad and happy lies calm, which shows as neutral.
ANGLES = {"happy": 25.0, "surprised": 75.0, "fear": 112.0, "angry": 143.0, "disgust": 172.0, "sad": 208.0}
CALM = 300.0
ORDER = ("happy", "sad", "angry", "disgust", "fear", "surprised")


def weights(valence: float, arousal: float) -> list[float]:  # both -1 to 1 -> [6] in the order of ORDER
    """The emotions at a point: the two that lie to either side of its direction, as strongly as it lies far out."""
    radius = min(math.hypot(valence, arousal), 1.0)
    angle = math.degrees(math.atan2(arousal, valence)) % 360.0
    around = [*ANGLES.items(), ("", CALM)]
    mixed = dict.fromkeys(ORDER, 0.0)
    for (name, begin), (after, end) in zip(around, around[1:] + around[:1], strict=True):
        span, t = (end - begin) % 360.0, (angle - begin) % 360.0
        if t > span:
            continue
        for emotion, share in ((name, 1 - t / span), (after, t / span)):
            if emotion:
                mixed[emotion] = radius * share
        break
    return [mixed[name] for name in ORDER]


def point(values: Sequence[float]) -> tuple[float, float]:  # [6] -> valence, arousal
    """Where a mixture lies. The inverse of `weights` for what `weights` gives, and the nearest to it otherwise."""
    present = {name: value for name, value in zip(ORDER, values, strict=True) if value > 1e-6}
    if not present:
        return 0.0, 0.0
    around = list(ANGLES)
    neighbours = len(present) == 1 or (
        len(present) == 2 and abs(around.index(list(present)[0]) - around.index(list(present)[1])) == 1
    )
    total = min(sum(present.values()), 1.0)
    if neighbours:
        angle = math.radians(sum(ANGLES[name] * value for name, value in present.items()) / sum(present.values()))
        return total * math.cos(angle), total * math.sin(angle)
    x = sum(value * math.cos(math.radians(ANGLES[name])) for name, value in present.items())
    y = sum(value * math.sin(math.radians(ANGLES[name])) for name, value in present.items())
    scale = 1.0 / max(math.hypot(x, y), 1.0)
    return x * scale, y * scale
