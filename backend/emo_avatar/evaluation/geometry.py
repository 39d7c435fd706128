"""How well the geometry modulator re-conditions performances it has never seen: people, utterances, styles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from emo_avatar.data.lips import INNER_LIPS
from emo_avatar.data.synchronised import Takes, draw_takes
from emo_avatar.emotion.geometry import GeometryModulator, modulate
from emo_avatar.emotion.recipes import load_recipes
from emo_avatar.evaluation.recognition import path_pictures, path_reversals
from emo_avatar.head.arkit import flame_from_arkit
from emo_avatar.head.data import N_EXPRESSION, HeadData
from emo_avatar.head.model import HeadModel
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.training.geometry import FIRST_HELD_OUT_SEED

Progress = Callable[[float, str], None]

FPS = 30.0
SECONDS = 4.0
INTENSITIES = (0.4, 0.7, 1.0)
SHUT = 0.95  # closure from which a frame counts as the apex of p, b or m
PATHS = (("happy", "neutral", "sad"), ("disgust", "fear", "angry"))
PATH_STEPS = 60
MAX_AED_RATIO, MAX_CLOSURE_GROWTH, MAX_STEP_RATIO, MAX_NEUTRAL_DRIFT = 0.45, 0.10, 3.0, 1e-3
MAX_REVERSAL = 0.1  # of a probability that should only rise, or only fall


@dataclass(frozen=True)
class EmotionScore:
    """One emotion over all held-out takes."""

    emotion: str
    aed_driving: float  # mean |psi - psi*| of the untouched driving performance to the truth
    aed_recipe: float  # of the average recipe simply added to it
    aed_ours: float
    closure_driving: float  # mm, how far apart the lips are where they should touch
    closure_ours: float


@dataclass(frozen=True)
class PathScore:
    """An interpolation between emotions, in `PATH_STEPS` steps, on a still neutral face."""

    path: tuple[str, ...]
    largest_step: float  # of the expression, as a multiple of the mean step
    reversals: dict[str, tuple[float, float]]  # recogniser -> of its probabilities at the first and the last third

    @property
    def smooth(self) -> bool:
        return self.largest_step <= MAX_STEP_RATIO

    @property
    def monotone(self) -> bool:
        return max(max(ends) for ends in self.reversals.values()) <= MAX_REVERSAL


@dataclass(frozen=True)
class GeometryReport:
    """The numbers of the model card."""

    takes: int
    emotions: tuple[EmotionScore, ...]
    paths: tuple[PathScore, ...]
    neutral_drift: float  # largest |change| of any parameter at zero weights

    def mean(self, name: str) -> float:
        """A number of `EmotionScore`, averaged over the emotions."""
        return float(np.mean([getattr(score, name) for score in self.emotions]))

    @property
    def aed_ratio(self) -> float:
        return self.mean("aed_ours") / self.mean("aed_driving")

    @property
    def closure_growth(self) -> float:
        return self.mean("closure_ours") / self.mean("closure_driving") - 1

    @property
    def passed(self) -> bool:
        return (
            self.aed_ratio <= MAX_AED_RATIO
            and self.closure_growth <= MAX_CLOSURE_GROWTH
            and self.neutral_drift <= MAX_NEUTRAL_DRIFT
            and all(path.smooth and path.monotone for path in self.paths)
        )

    def to_json(self) -> dict[str, Any]:
        summary = {name: getattr(self, name) for name in ("aed_ratio", "closure_growth", "passed")}
        return asdict(self) | summary


def evaluate_geometry(
    head: HeadData,
    modulator: GeometryModulator,
    takes: int = 60,
    progress: Progress = lambda fraction, doing: None,
    first: int = FIRST_HELD_OUT_SEED,
) -> GeometryReport:
    """Judge on ``takes`` people of seeds from ``first`` on, each saying one utterance under each emotion at each
    intensity."""
    recipes = load_recipes()
    held_out = draw_takes(range(first, first + takes), recipes, SECONDS, FPS)
    apex = np.stack([recipe.mean for recipe in recipes])  # [6, 52]
    expression, jaw, _ = flame_from_arkit(head, apex)
    additive = np.concatenate([expression, jaw], axis=1)  # [6, 103]
    lips = InnerLips(head)
    neutral = held_out.driving(head)
    scores = []
    for i, emotion in enumerate(EMOTIONS):
        progress(i / len(EMOTIONS), emotion)
        scores.append(_judge(i, head, modulator, held_out, additive[i], lips))
    return GeometryReport(
        takes=takes,
        emotions=tuple(scores),
        paths=tuple(_walk(head, modulator, path) for path in PATHS),
        neutral_drift=max(
            float(np.abs(modulate(modulator, take, np.zeros((len(take), 6), np.float32), FPS) - take).max())
            for take in neutral
        ),
    )


def _judge(
    emotion: int, head: HeadData, modulator: GeometryModulator, takes: Takes, additive: np.ndarray, lips: InnerLips
) -> EmotionScore:
    driving = takes.driving(head)  # [N, T, 103]
    shut = takes.closure >= SHUT  # [N, T]
    errors, gaps = [], []
    for level in INTENSITIES:
        weights = np.zeros((*driving.shape[:2], len(EMOTIONS)), np.float32)
        weights[..., emotion] = level
        truth = takes.under(head, weights, np.random.default_rng([FIRST_HELD_OUT_SEED, emotion]))
        ours = np.stack([modulate(modulator, d, w, FPS) for d, w in zip(driving, weights, strict=True)])
        guesses = (driving, driving + level * additive, ours)
        errors.append([np.abs(guess - truth)[..., :N_EXPRESSION].mean() for guess in guesses])
        gaps.append([lips.parted(driving[shut]).mean(), lips.parted(ours[shut]).mean()])
    return EmotionScore(EMOTIONS[emotion], *map(float, np.mean(errors, 0)), *map(float, np.mean(gaps, 0)))


class InnerLips:
    """How far apart the lips are, at five places along their inner rim."""

    def __init__(self, head: HeadData) -> None:
        landmarks = head.landmarks478
        if landmarks is None:
            raise ValueError(f"The head {head.name} has no landmarks to measure its lips by.")
        pairs = np.array(INNER_LIPS)  # [5, 2]
        self._corners = torch.from_numpy(head.faces[landmarks.faces[pairs]].astype(np.int64))  # [5, 2, 3]
        self._barycentric = torch.from_numpy(landmarks.barycentric[pairs])  # [5, 2, 3]
        self._model = HeadModel(head)
        self._rest = self._gaps(np.zeros((1, N_EXPRESSION + 3), np.float32))

    def parted(self, parameters: np.ndarray) -> np.ndarray:  # [N, 103] -> [N] mm
        """Mean distance beyond that of the neutral face, whose lips touch; lips pressed together count as zero."""
        return np.maximum(self._gaps(parameters) - self._rest, 0).mean(1)

    def _gaps(self, parameters: np.ndarray) -> np.ndarray:  # [N, 103] -> [N, 5] mm
        p = torch.from_numpy(parameters)
        with torch.inference_mode():
            vertices = self._model(expression=p[:, :N_EXPRESSION], jaw_pose=p[:, N_EXPRESSION:]).vertices
        points = (vertices[:, self._corners] * self._barycentric[..., None]).sum(-2)  # [N, 5, 2, 3]
        return (points[:, :, 0, 1] - points[:, :, 1, 1]).numpy() * 1e3


def _walk(head: HeadData, modulator: GeometryModulator, path: tuple[str, ...]) -> PathScore:
    weights = path_weights(path)
    with torch.inference_mode():
        still = torch.zeros(len(weights), 1, N_EXPRESSION + 3)
        faces = modulator(still, torch.from_numpy(weights)[:, None], FPS)[:, 0].numpy()  # each by itself, not as motion
    return PathScore(path, largest_step(faces), path_reversals(path_pictures(head, weights), path))


def path_weights(path: tuple[str, ...]) -> np.ndarray:  # [PATH_STEPS + 1, 6]
    """Weights from one emotion to the next at even steps; "neutral" is the zero vector."""
    stops = np.stack([np.array([name == emotion for emotion in EMOTIONS], np.float32) for name in path])
    at = np.linspace(0, len(path) - 1, PATH_STEPS + 1)
    return np.stack([np.interp(at, np.arange(len(path)), column) for column in stops.T], axis=1).astype(np.float32)


def largest_step(parameters: np.ndarray) -> float:  # [N, 103]
    """The largest step of a path of expressions over its mean step."""
    steps = np.linalg.norm(np.diff(parameters[:, :N_EXPRESSION], axis=0), axis=1)
    return float(steps.max() / steps.mean())
