"""Training of the LAM backbone in its small configuration, on invented people and the head at hand.

A step takes one portrait of somebody, lets the network make Gaussians on and above their neutral head, with a neutral
mind and under an emotion that its tokens alone tell it, moves these with the true geometry of another moment, and
compares with photographs of that moment in the same light: pictures, and the colours of places on the skin.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emo_avatar.avatar.binding import bind, pose
from emo_avatar.avatar.gaussians import Gaussians, sh_from_rgb
from emo_avatar.backbones.lam.build import gaussians_of, network_image
from emo_avatar.backbones.lam.checkpoint import save_lam
from emo_avatar.backbones.lam.config import SMALL, LamConfig
from emo_avatar.backbones.lam.evidence import Evidence, evidence_of
from emo_avatar.backbones.lam.growth import Ground
from emo_avatar.backbones.lam.model import Lam
from emo_avatar.backbones.lam.points import PointGaussians
from emo_avatar.backbones.lam.sites import Sites, sites_of
from emo_avatar.backbones.portrait.prepared import prepare_head
from emo_avatar.backbones.portrait.view import MeshView, sample
from emo_avatar.emotion.recipes import RECIPES_PATH
from emo_avatar.head.data import open_head
from emo_avatar.render.rasterize import rasterize
from emo_avatar.training.lam_lessons import Lesson, Lessons
from emo_avatar.training.losses import picture_gradients, robust
from emo_avatar.training.processes import processes
from emo_avatar.training.run import RunSettings, forget_checkpoint, run

Progress = Callable[[float, str], None]

LEARNING_RATE, EMA = 1e-3, 0.995
PEOPLE, STEPS = 400, 3200
# Weights of the loss' terms
PHOTOMETRIC, GRADIENT, MASK, OFFSET, COLOUR, EMOTION = 5.0, 0.3, 2.0, 0.1, 1.0, 6.0
LONGEST_FREE_OFFSET = 0.03  # metres of offset that cost nothing
FACING, DEPTH_SLACK = 0.35, 0.002  # cosine from which a photograph tells a place's colour; metres it may lie behind
ROBUST = 0.05  # of a colour, from which errors count linearly


@dataclass(frozen=True)
class LamTraining:
    """What is learnt from."""

    emotion: bool = True
    people: int = PEOPLE
    size: int = 256  # pixels of the pictures that are compared
    batch: int = 1  # people a step
    config: str = SMALL.name


@dataclass(frozen=True, eq=False)
class Example:
    """A portrait and one other moment of its person, neutral and (with emotion) under an emotion."""

    image: Tensor  # [1, 3, S, S] the portrait as the encoder sees it
    seen: Evidence
    lesson: Lesson
    photographs: tuple[int, ...]  # of the lesson: the neutral one, then the other
    picture: int  # which of these is compared as a picture
    background: np.ndarray  # [3] behind it
    colours: np.ndarray  # [P, N, 3] of places in the photographs, where they are
    visible: np.ndarray  # [P, N] bool

    @property
    def shown(self) -> int:
        """The photograph that is compared as a picture."""
        return self.photographs[self.picture]


@dataclass(frozen=True)
class DrawExamples:
    """Draws the examples of any step: the same settings, step and rank always give the same ones."""

    training: LamTraining
    config: LamConfig
    folder: Path  # where lessons are kept

    def __call__(self, step: int, rank: int) -> list[Example]:
        rng = np.random.default_rng([42, step, rank])
        return [self._example(rng) for _ in range(self.training.batch)]

    def _example(self, rng: np.random.Generator) -> Example:
        assert self.config.growth is not None
        sites = sites_of(open_head(), self.config.growth)
        lesson = Lessons(self.folder, self.training.size)(int(rng.integers(self.training.people)))
        other = int(rng.choice(np.flatnonzero(lesson.weights.any(1))))
        neutral = int(np.flatnonzero(lesson.moment == lesson.moment[other])[0])
        photographs = (neutral, other) if self.training.emotion else (neutral,)
        matte = lesson.portrait.matte / np.float32(255)
        told = [colours_in(lesson, i, sites) for i in photographs]
        return Example(
            network_image(lesson.portrait.rgb / np.float32(255), matte, self.config.encoder.image),
            evidence_of(lesson.portrait, sites, open_head()),
            lesson,
            photographs,
            int(rng.integers(len(photographs))),
            rng.random(3).astype(np.float32),
            np.stack([colours for colours, _ in told]),
            np.stack([visible for _, visible in told]),
        )


def colours_in(lesson: Lesson, i: int, sites: Sites) -> tuple[np.ndarray, np.ndarray]:  # [N, 3], [N] bool
    """The colours that places on the head have in a photograph, and which places it shows."""
    vertices, camera, faces = lesson.vertices[i], lesson.camera(i), open_head().faces
    view = MeshView.of(vertices, faces, camera, prepare_head(open_head()).opaque)
    normals = sites.normals(vertices, faces)
    points = sites.points(vertices, normals)
    pixel = camera.project(points)[0]
    visible = view.sees(points, DEPTH_SLACK) & (view.facing(points, normals) > FACING) & (sites.height == 0)
    visible &= sample(lesson.alpha[i], pixel) > 250
    return (sample(lesson.shown[i], pixel) / 255).astype(np.float32), visible


class LamTask:
    """The network and its loss, for `training.run`."""

    def __init__(self, training: LamTraining, folder: Path, config: LamConfig = SMALL) -> None:
        """Lessons are kept in ``folder``."""
        assert config.growth is not None
        self.model = Lam(config)
        self.draw = DrawExamples(training, config, folder)
        head = open_head()
        sites = sites_of(head, config.growth)
        self._ground = Ground.of(sites)
        self._binding = torch.from_numpy(sites.face.astype(np.int64))
        self._faces = torch.from_numpy(head.faces.astype(np.int64))
        recipes = RECIPES_PATH.read_bytes().replace(b"\r\n", b"\n")
        text = json.dumps([asdict(training), asdict(config)], sort_keys=True).encode()
        self.fingerprint = hashlib.sha256(text + recipes).hexdigest()[:16]

    def loss(self, batch: list[Example]) -> Mapping[str, Tensor]:
        """Photometric, gradient (its perceptual part) and mask terms of a picture, colours of places and what emotion
        changes in them, and offsets beyond what a head needs."""
        device = self.model.pcl_embed.basis.device
        if self._ground.mirror.device != device:
            self._ground = self._ground.to(device)
        tokens = self.model.encoder(torch.cat([example.image for example in batch]).to(device))
        moods = len(batch[0].photographs)
        seen = Evidence.stack([example.seen.expand(moods) for example in batch]).to(device)
        weights = np.concatenate([example.lesson.weights[list(example.photographs)] for example in batch])
        out = self.model.grow(tokens.repeat_interleave(moods, 0), seen, self._ground, _tensor(weights, device))
        found: list[dict[str, Tensor]] = []
        for b, example in enumerate(batch):
            neutral = b * moods
            posed = self._posed(out, seen.points[neutral], example, neutral, neutral + example.picture)
            render = rasterize(posed, example.lesson.camera(example.shown))
            terms = self._picture(render.rgb, render.alpha, example)
            found.append(terms | _colours(out.rgb[neutral : neutral + moods], example))
        mean = {name: torch.stack([terms[name] for terms in found]).mean() for name in found[0]}
        far = (out.offset[::moods].norm(dim=-1) - LONGEST_FREE_OFFSET).clamp_min(0) / LONGEST_FREE_OFFSET
        return mean | {"offset": OFFSET * far.square().mean()}

    def _posed(self, out: PointGaussians, points: Tensor, example: Example, neutral: int, felt: int) -> Gaussians:
        """The neutral Gaussians in the colours of what is felt, where the photograph has the head."""
        device, lesson = points.device, example.lesson
        resting, vertices = (_tensor(x, device) for x in (lesson.portrait.neutral, lesson.vertices[example.shown]))
        faces, binding = self._faces.to(device), self._binding.to(device)
        canonical = replace(gaussians_of(out, points, neutral), sh=sh_from_rgb(out.rgb[felt]))
        return pose(bind(canonical, binding, resting, faces), binding, vertices, faces)

    def _picture(self, rgb: Tensor, alpha: Tensor, example: Example) -> dict[str, Tensor]:
        i, device = example.shown, rgb.device
        wanted, matte = (_tensor(a[i], device) / 255 for a in (example.lesson.shown, example.lesson.alpha))
        background = _tensor(example.background, device)
        uncovered = matte - alpha
        error = rgb - wanted + uncovered[..., None] * background
        return {
            "photometric": PHOTOMETRIC * error.square().mean(),
            "gradient": GRADIENT * picture_gradients(error),
            "mask": MASK * uncovered.square().mean(),
        }


def _colours(rgb: Tensor, example: Example) -> dict[str, Tensor]:  # [P, N, 3]
    """Errors of the colours of places that photographs show: of the neutral ones, and of what emotion changes.

    The latter is the difference of two photographs that differ in nothing else, so that what is wrong with the avatar
    itself is not in it.
    """
    wanted, visible = (_tensor(a, rgb.device) for a in (example.colours, example.visible))
    terms = {"colour": COLOUR * robust(rgb[0] - wanted[0], visible[0], ROBUST)}
    if len(rgb) > 1:
        terms["emotion"] = EMOTION * robust(
            (rgb[1] - rgb[0]) - (wanted[1] - wanted[0]), visible[0] * visible[1], ROBUST
        )
    return terms


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(device)


def run_settings(steps: int = STEPS, minutes: float | None = None, workers: int = 0) -> RunSettings:
    """How the network is trained."""
    return RunSettings(steps, minutes, learning_rate=LEARNING_RATE, ema=EMA, workers=workers)


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
    """Train and write the weights; whether training is complete (else it can be resumed, and they are a preview).

    Lessons are kept in ``NAME.lessons`` beside ``output``; they may be deleted.
    """
    training, settings = training or LamTraining(), settings or run_settings()
    folder = output.with_suffix(".lessons")
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    task = LamTask(replace(training, config=config.name), folder, config)
    result = run(task, output, settings, device=device, resume=resume, progress=progress)
    assert isinstance(result.model, Lam)
    if processes(device).first:
        metadata = {"training": json.dumps(asdict(training) | asdict(settings)), "fingerprint": task.fingerprint}
        save_lam(result.model, output, metadata | {"steps": str(result.steps), "minutes": f"{result.minutes:.1f}"})
        if result.complete:
            forget_checkpoint(output)
    return result.complete
