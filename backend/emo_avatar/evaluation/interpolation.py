"""From one emotion over another to a third: whether an avatar's face goes there evenly and stays the person's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.evaluation.geometry import PATHS, path_weights
from emo_avatar.evaluation.likeness import GREY, cosine, sighting
from emo_avatar.evaluation.recognition import PATH_SIZE, path_reversals
from emo_avatar.export.performance import perform
from emo_avatar.export.pictures import picture
from emo_avatar.motion.timeline import EMOTIONS

MAX_REVERSAL, MAX_STEP_RATIO, LEAST_IDENTITY = 0.05, 3.0, 0.6
IDENTITY_EVERY = 5  # pictures of the path


@dataclass(frozen=True)
class PathReport:
    """One path on one avatar."""

    avatar: str
    path: tuple[str, ...]
    reversals: Mapping[str, tuple[float, float]]  # recogniser -> of its probabilities at the first and the last third
    largest_step: float  # of the picture, as a multiple of the mean step
    least_identity: float  # cosine to the neutral face; NaN where some picture shows no face

    @property
    def passed(self) -> bool:
        monotone = max(max(ends) for ends in self.reversals.values()) <= MAX_REVERSAL
        return monotone and self.largest_step <= MAX_STEP_RATIO and self.least_identity > LEAST_IDENTITY

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"passed": self.passed}


def interpolate(avatar: Avatar, paths: tuple[tuple[str, ...], ...] = PATHS) -> list[PathReport]:
    """Walk the paths on an avatar's still face."""
    neutral = sighting(_face(avatar, np.zeros(len(EMOTIONS))))
    reports = []
    for path in paths:
        # Each face by itself, not as a frame of one motion.
        shown = [_face(avatar, row) for row in path_weights(path)]
        identity = np.min([cosine(sighting(face), neutral) for face in shown[::IDENTITY_EVERY]])
        reversals = path_reversals(shown, path)
        reports.append(PathReport(avatar.name, path, reversals, largest_difference(shown), float(identity)))
    return reports


def _face(avatar: Avatar, weights: np.ndarray) -> np.ndarray:  # [6] -> [H, W, 3] uint8
    felt = dict(zip(EMOTIONS, map(float, weights), strict=True))
    return picture(avatar.pose(perform(avatar, emotions=felt)), avatar.camera(size=PATH_SIZE), GREY)


def largest_difference(pictures: list[np.ndarray]) -> float:  # N x [H, W, 3] uint8
    """The largest root-mean-square difference between neighbours over the mean of these."""
    frames = np.stack(pictures).astype(np.float32)
    steps = np.sqrt(np.square(np.diff(frames, axis=0)).mean((1, 2, 3)))
    return float(steps.max() / max(steps.mean(), 1e-6))


def rows(reports: list[PathReport]) -> list[list[str]]:
    """A header, and a row of text for each path."""
    recognisers = list(reports[0].reversals) if reports else []
    reversals = [f"reversal, {name}" for name in recognisers]
    table = [["avatar", "path", *reversals, "largest step", "least identity", "verdict"]]
    for report in reports:
        numbers = [f"{max(report.reversals[name]):.3f}" for name in recognisers]
        numbers += [f"{report.largest_step:.2f} x", f"{report.least_identity:.2f}"]
        table.append([report.avatar, ", ".join(report.path), *numbers, "holds" if report.passed else "fails"])
    return table
