"""Training of the geometry modulator on synchronised sequences."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from emo_avatar.data.synchronised import Takes, draw_takes, draw_weights
from emo_avatar.emotion.geometry import N_PARAMETERS, SPACE, WEIGHTS_PATH, GeometryModulator, expression_fingerprint
from emo_avatar.emotion.recipes import RECIPES_PATH, load_recipes
from emo_avatar.files import whole_file
from emo_avatar.head.arkit import flame_from_arkit
from emo_avatar.head.data import HeadData, load_head
from emo_avatar.head.model import HeadModel
from emo_avatar.training.objective import Objective
from emo_avatar.training.processes import processes
from emo_avatar.training.run import RunSettings, forget_checkpoint, run

Progress = Callable[[float, str], None]

FIRST_HELD_OUT_SEED = 1_000_000  # takes of seeds below this one train, takes from it on judge
FRAME_RATES = (24.0, 25.0, 30.0, 60.0)
STILL_SHARE = 0.15  # of the batches, which are made of single frames: an artist also poses stills
HABIT_SPREAD = 0.08  # of each parameter's size: what a driving performance wears all the time
JITTER = 0.01  # of each parameter's size: a tracker's noise
SCALE_WINDOWS = 128  # from which the size of each parameter is taken


@dataclass(frozen=True)
class GeometryTraining:
    """Everything that decides what the weights become."""

    seed: int = 0
    steps: int = 4500
    batch: int = 16  # sequences a step
    frames: int = 64  # of each
    takes: int = 1600  # each of its own person, utterance and style
    seconds: float = 5.0  # of each take
    learning_rate: float = 1.5e-3
    warm_up: float = 0.05  # of the steps
    weight_decay: float = 0.01


@dataclass(frozen=True)
class Batch:
    """Stretches of takes, neutral and under emotion."""

    driving: Tensor  # [B, T, 103]
    weights: Tensor  # [B, T, 6]
    target: Tensor  # [B, T, 103]
    fps: float


class SynchronisedBatches:
    """Draws the batch of any step; the same settings and step always give the same batch."""

    def __init__(self, head: HeadData, settings: GeometryTraining) -> None:
        self._head, self._settings = head, settings
        share = settings.takes // len(FRAME_RATES)
        recipes = load_recipes()
        self._takes = [
            draw_takes(range(i * share, (i + 1) * share), recipes, settings.seconds, fps)
            for i, fps in enumerate(FRAME_RATES)
        ]
        self.scale = self._parameter_scale()  # [103]

    def draw(self, step: int, rank: int = 0) -> Batch:
        s = self._settings
        rng = np.random.default_rng([s.seed, step, rank] if rank else [s.seed, step])
        takes = self._takes[rng.integers(len(self._takes))]
        still = rng.random() < STILL_SHARE
        count, frames = (s.batch * s.frames // 4, 1) if still else (s.batch, s.frames)
        driving, weights, target = draw_windows(self._head, takes, rng, count, frames)
        habit = self.scale * rng.normal(0, HABIT_SPREAD, (count, 1, N_PARAMETERS))
        noise = (habit + self.scale * rng.normal(0, JITTER, driving.shape)).astype(np.float32)
        noisy, held, wanted = (torch.from_numpy(x) for x in (driving + noise, weights, target + noise))
        return Batch(noisy, held, wanted, takes.fps)

    def _parameter_scale(self) -> np.ndarray:
        """Root mean square of each parameter over emotional speech; at least a hundredth of the largest."""
        rng = np.random.default_rng([self._settings.seed, 0, 0])
        _, _, target = draw_windows(self._head, self._takes[0], rng, SCALE_WINDOWS, self._settings.frames)
        rms = np.sqrt(np.mean(target**2, axis=(0, 1)))
        expression, jaw = rms[:-3], rms[-3:]
        floor = 0.01
        return np.concatenate([np.maximum(part, floor * part.max()) for part in (expression, jaw)], dtype=np.float32)


def draw_windows(
    head: HeadData, takes: Takes, rng: np.random.Generator, count: int, frames: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # driving [B, T, 103], weights [B, T, 6], target [B, T, 103]
    """Random stretches of random takes under random emotion curves."""
    which = rng.integers(len(takes), size=count)
    starts = rng.integers(takes.arkit.shape[1] - frames + 1, size=count)
    windows = takes.windows(which, starts, frames)
    weights = np.stack([draw_weights(rng, frames, takes.fps) for _ in range(count)])
    return windows.driving(head), weights, windows.under(head, weights, rng)


def training_fingerprint(head: HeadData, settings: GeometryTraining) -> str:
    """Names all that training depends on: settings, recipes and expression space."""
    recipes = RECIPES_PATH.read_bytes().replace(b"\r\n", b"\n")
    parts = json.dumps(asdict(settings), sort_keys=True).encode(), recipes, expression_fingerprint(head).encode()
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


class GeometryTask:
    """The modulator and its loss, for `training.run`."""

    def __init__(self, head: HeadData, settings: GeometryTraining) -> None:
        batches = SynchronisedBatches(head, settings)
        torch.manual_seed(settings.seed)
        self.model = GeometryModulator()
        self.model.scale.copy_(torch.from_numpy(batches.scale))
        self.draw = batches.draw
        self.fingerprint = training_fingerprint(head, settings)
        self._objective = Objective(head)

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        device = self.model.scale.device
        driving, weights, target = (x.to(device) for x in (batch.driving, batch.weights, batch.target))
        error = self.model(driving, weights, batch.fps) - target
        return dict(zip(("parameters", "vertices", "lips"), self._objective(error), strict=True))


def train_geometry(
    output: Path = WEIGHTS_PATH,
    settings: GeometryTraining | None = None,
    *,
    minutes: float | None = None,
    device: torch.device | str = "cpu",
    resume: bool = False,
    progress: Progress = lambda fraction, doing: None,
) -> bool:
    """Train and write the weights; whether training is complete (else it can be resumed, and they are a preview).

    Interrupted training goes on from the last checkpoint with ``resume``, to the same weights as if never interrupted.

    Raises:
        UserError: there is no checkpoint to resume from, or it is of other settings or recipes.
    """
    settings = settings or GeometryTraining()
    head = load_head()
    progress(0.0, "drawing people and utterances")
    task = GeometryTask(head, settings)
    schedule = RunSettings(
        settings.steps,
        minutes,
        learning_rate=settings.learning_rate,
        warm_up=settings.warm_up,
        weight_decay=settings.weight_decay,
        seed=settings.seed,
    )
    result = run(task, output, schedule, device=device, resume=resume, progress=progress)
    assert isinstance(result.model, GeometryModulator)
    if not processes(device).first:
        return result.complete
    calibrate(result.model, head)
    metadata = {
        "training": json.dumps(asdict(settings)),
        "fingerprint": task.fingerprint,
        SPACE: expression_fingerprint(head),
        "steps": str(result.steps),
        "minutes": f"{result.minutes:.1f}",
    }
    with whole_file(output) as temporary:
        save_file(result.model.state_dict(), temporary, metadata)
    if result.complete:
        forget_checkpoint(output)
    progress(1.0, f"trained {result.steps} steps in {result.minutes:.1f} minutes")
    return result.complete


def calibrate(modulator: GeometryModulator, head: HeadData) -> float:
    """Scale the network's change so that full weight on a still face is as strong as the average recipe; the factor.

    In the takes an emotion that is held wavers below its apex and people differ in strength, so that what the network
    learns of full weight is the mean of that, some 5 % less than the recipes. The factor is the mean over the six
    emotions of the least-squares ratio between how far they move the vertices.
    """
    model, recipes = HeadModel(head), load_recipes()
    expression, jaw, _ = flame_from_arkit(head, np.stack([recipe.mean for recipe in recipes]))
    with torch.no_grad():
        still = torch.zeros(len(recipes), 1, N_PARAMETERS)
        felt = modulator(still, torch.eye(len(recipes))[:, None], FRAME_RATES[0])[:, 0]  # [6, 103]
        shown = model(expression=felt[:, :-3], jaw_pose=felt[:, -3:]).vertices - model.v_template
        wanted = model(expression=torch.from_numpy(expression), jaw_pose=torch.from_numpy(jaw)).vertices
        factors = ((wanted - model.v_template) * shown).sum((1, 2)) / shown.square().sum((1, 2))  # [6]
        factor = factors.mean()
        modulator.change.weight.mul_(factor)
        modulator.change.bias.mul_(factor)
    return float(factor)
