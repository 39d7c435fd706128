"""Training of the LAM backbone in its small configuration, on invented people and the head at hand.

A step takes one photograph of somebody, lets the network make Gaussians on the points of their neutral head, moves
these with the true geometry of another moment, and compares the picture with the true one: from another side, in other
light and (with emotion) in another mood, which the network is told by the emotion's tokens alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emo_avatar.avatar.binding import bind, pose
from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.backbones.lam.build import WHITE, gaussians_of
from emo_avatar.backbones.lam.checkpoint import save_lam
from emo_avatar.backbones.lam.config import SMALL, LamConfig
from emo_avatar.backbones.lam.model import Lam, PointGaussians
from emo_avatar.backbones.lam.query import queries
from emo_avatar.data.subjects import Subject, draw_subject
from emo_avatar.data.synchronised_shots import draw_example
from emo_avatar.emotion.recipes import RECIPES_PATH
from emo_avatar.head.data import open_head
from emo_avatar.render.camera import Camera
from emo_avatar.render.rasterize import rasterize
from emo_avatar.training.losses import picture_gradients
from emo_avatar.training.processes import processes
from emo_avatar.training.run import RunSettings, forget_checkpoint, run

Progress = Callable[[float, str], None]

LEARNING_RATE = 4e-4
PHOTOMETRIC, GRADIENT, MASK, OFFSET = 1.0, 0.1, 0.5, 0.1
LONGEST_FREE_OFFSET = 0.02  # metres of offset that cost nothing: hair and clothing are no farther from the head


@dataclass(frozen=True)
class LamTraining:
    """What is learnt from."""

    emotion: bool = True
    people: int = 2000
    size: int = 256  # pixels of the pictures that are compared
    batch: int = 1  # people a step
    config: str = SMALL.name


@dataclass(frozen=True, eq=False)
class Lesson:
    """One photograph of a person, and another that it must explain."""

    image: np.ndarray  # [3, S, S] the photograph as the network sees it
    neutral: np.ndarray  # [V, 3] the person's neutral head
    vertices: np.ndarray  # [V, 3] the head in the other photograph, world
    camera: Camera
    rgb: np.ndarray  # [H, W, 3] the other photograph
    alpha: np.ndarray  # [H, W]
    background: np.ndarray  # [H, W, 3]
    weights: np.ndarray  # [6]


@dataclass(frozen=True)
class DrawLessons:
    """Draws the lessons of any step: the same settings, step and rank always give the same ones."""

    training: LamTraining
    image_size: int

    def __call__(self, step: int, rank: int) -> list[Lesson]:
        rng = np.random.default_rng([41, step, rank])
        return [self._lesson(rng) for _ in range(self.training.batch)]

    def _lesson(self, rng: np.random.Generator) -> Lesson:
        subject = _subject(int(rng.integers(self.training.people)))
        example = draw_example(int(rng.integers(1 << 30)), self.training.size, subject)
        target = example.target
        return Lesson(
            image=network_image(
                example.source.rgb, example.source.alpha, example.source.setting.background, self.image_size
            ),
            neutral=subject.head.v_template,
            vertices=target.vertices,
            camera=target.setting.camera,
            rgb=target.rgb,
            alpha=target.alpha,
            background=target.setting.background,
            weights=target.weights,
        )


@functools.lru_cache(maxsize=256)
def _subject(seed: int) -> Subject:
    return draw_subject(seed)


def network_image(rgb: np.ndarray, alpha: np.ndarray, background: np.ndarray, size: int) -> np.ndarray:
    """A picture ``[H, W, 3]`` whose background is known, laid on white: ``[3, size, size]``."""
    alpha = alpha[..., None]
    on_white = rgb + (1 - alpha) * (WHITE - background)
    tensor = torch.from_numpy(np.ascontiguousarray(on_white.transpose(2, 0, 1), np.float32))[None]
    return F.interpolate(tensor, (size, size), mode="area")[0].clamp(0, 1).numpy()


class LamTask:
    """The network and its loss, for `training.run`."""

    def __init__(self, training: LamTraining, config: LamConfig = SMALL) -> None:
        self.model = Lam(config)
        self.draw = DrawLessons(training, config.encoder.image)
        self._emotion = training.emotion
        head = open_head()
        self._queries = queries(head, config.subdivisions)
        self._binding = torch.from_numpy(self._queries.face.astype(np.int64))
        self._faces = torch.from_numpy(head.faces.astype(np.int64))
        recipes = RECIPES_PATH.read_bytes().replace(b"\r\n", b"\n")
        text = json.dumps([asdict(training), asdict(config)], sort_keys=True).encode()
        self.fingerprint = hashlib.sha256(text + recipes).hexdigest()[:16]

    def loss(self, batch: list[Lesson]) -> Mapping[str, Tensor]:
        """Photometric, gradient (its perceptual part) and mask terms, and offsets beyond what a head needs."""
        device = self.model.pcl_embed.basis.device
        image = _tensor(np.stack([lesson.image for lesson in batch]), device)
        points = _tensor(np.stack([self._queries.points(lesson.neutral) for lesson in batch]), device)
        weights = _tensor(np.stack([lesson.weights for lesson in batch]), device) if self._emotion else None
        out = self.model(image, points, weights)
        total = {name: image.new_zeros(()) for name in ("photometric", "gradient", "mask")}
        for i, lesson in enumerate(batch):
            render = rasterize(self._posed(out, points, lesson, i), lesson.camera)
            rgb, alpha, background = (_tensor(x, device) for x in (lesson.rgb, lesson.alpha, lesson.background))
            error = render.rgb + (1 - render.alpha[..., None]) * background - rgb
            total["photometric"] = total["photometric"] + PHOTOMETRIC * error.square().mean()
            total["gradient"] = total["gradient"] + GRADIENT * picture_gradients(error)
            total["mask"] = total["mask"] + MASK * (render.alpha - alpha).square().mean()
        far = (out.offset.norm(dim=-1) - LONGEST_FREE_OFFSET).clamp_min(0) / LONGEST_FREE_OFFSET
        mean = {name: term / len(batch) for name, term in total.items()}
        return mean | {"offset": OFFSET * far.square().mean()}

    def _posed(self, out: PointGaussians, points: Tensor, lesson: Lesson, i: int) -> Gaussians:
        device = points.device
        neutral, vertices = (_tensor(x, device) for x in (lesson.neutral, lesson.vertices))
        faces, binding = self._faces.to(device), self._binding.to(device)
        canonical = gaussians_of(out, points[i], i)
        return pose(bind(canonical, binding, neutral, faces), binding, vertices, faces)


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(device)


def train_lam(
    output: Path,
    training: LamTraining | None = None,
    settings: RunSettings | None = None,
    *,
    config: LamConfig = SMALL,
    device: torch.device | str = "cpu",
    resume: bool = False,
    progress: Progress = lambda fraction, doing: None,
) -> bool:
    """Train and write the weights; whether training is complete (else it can be resumed, and they are a preview)."""
    training, settings = (
        training or LamTraining(),
        settings or RunSettings(60_000, learning_rate=LEARNING_RATE, ema=0.999),
    )
    task = LamTask(replace(training, config=config.name), config)
    result = run(task, output, settings, device=device, resume=resume, progress=progress)
    assert isinstance(result.model, Lam)
    if processes(device).first:
        metadata = {"training": json.dumps(asdict(training) | asdict(settings)), "fingerprint": task.fingerprint}
        save_lam(result.model, output, metadata | {"steps": str(result.steps), "minutes": f"{result.minutes:.1f}"})
        if result.complete:
            forget_checkpoint(output)
    return result.complete
