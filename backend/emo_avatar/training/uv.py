"""Training of the UV backbone's network, on lessons (`training.uv_lessons`) that are drawn once and kept.

A step takes one of them and compares what the avatar's texels look like there, by colours and by a picture. What each
emotion does to everybody begins as the mean over all lessons.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from emo_avatar.avatar.binding import triangle_frames
from emo_avatar.backbones.portrait.prepared import prepare_head
from emo_avatar.backbones.uv.grid import PortraitMaps, atlas_fingerprint, grid_of
from emo_avatar.backbones.uv.learned import (
    WEIGHTS_PATH,
    Places,
    coloured,
    completed,
    load_network,
    network_of,
    places_of,
    said_of,
    save_network,
)
from emo_avatar.backbones.uv.network import GAIN, Residuals, UVNetwork
from emo_avatar.emotion.recipes import RECIPES_PATH
from emo_avatar.head.data import open_head
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.render.rasterize import rasterize
from emo_avatar.training.losses import picture_gradients, robust
from emo_avatar.training.processes import processes
from emo_avatar.training.run import RunSettings, forget_checkpoint, run
from emo_avatar.training.uv_lessons import Colours, DrawUV, UVBatch, UVTraining, View

Progress = Callable[[float, str], None]

LEARNING_RATE, EMA = 7e-4, 0.995
# Weights of the loss' terms
PHOTOMETRIC, GRADIENT, MASK, RESTRAINT, COMPLETION, EMOTION = 10.0, 0.5, 1.0, 1e-3, 1.0, 5.0
ROBUST = 0.05  # log colour, from which errors count linearly: texels beside edges are taken for their neighbours
LARGEST = 0.5  # log colour, to which what emotion adds is taken into the mean: what is more was seen wrongly
BROAD = 6.0  # cells (6 mm) of smoothing of the maps: what is finer are folds, which the moving mesh and people have
FEWEST = 3.0  # times that a place must have been seen under an emotion, for a mean to be known there


class UVTask:
    """The network and its loss, for `training.run`."""

    def __init__(self, settings: UVTraining, folder: Path, begin: Path | None = None) -> None:
        """``begin`` are weights to start from; lessons are kept in ``folder``, by what they depend on."""
        self.model: UVNetwork = load_network(begin) if begin else network_of(open_head())
        recipes = RECIPES_PATH.read_bytes().replace(b"\r\n", b"\n")
        parts = str((settings.emotion, settings.size)), atlas_fingerprint(open_head())
        of_lessons = hashlib.sha256("\0".join(parts).encode() + recipes).hexdigest()[:16]
        self.fingerprint = f"{of_lessons}-{settings.people}-{settings.kept}"
        self.draw = DrawUV(settings, folder / of_lessons)
        self.draw.folder.mkdir(parents=True, exist_ok=True)
        # A step sees one person, and would but shake what is the mean over all.
        self.model.response.requires_grad_(False)
        prepared = prepare_head(open_head())
        self._face = torch.from_numpy(prepared.texels.face.astype(np.int64))
        self._faces = torch.from_numpy(prepared.head.faces.astype(np.int64))

    def begin_with_mean(self) -> None:
        """Let the maps of the emotions be what they do in the mean of all lessons."""
        with torch.no_grad():
            self.model.response.copy_(torch.from_numpy(mean_response(self.draw.all())))

    def loss(self, batch: UVBatch) -> Mapping[str, Tensor]:
        """Photometric, gradient (its perceptual part) and mask terms, colours of texels, and how much is said at all.

        Pictures are compared where they show the head itself: hair and clothes around it are not texels' to show.
        """
        device = self.model.fixed.device
        source = batch.source
        places = self._places(source.maps, device)
        maps, where = source.maps.channels()[None].to(device), source.maps.places()[None].to(device)
        photo = torch.from_numpy(source.photo.astype(np.float32))[None].to(device)
        encoded = self.model.encode(maps, where, photo)
        weights = _tensor(np.stack([colours.weights for colours in batch.colours]), device)
        raw = self.model.decode(encoded.expand(len(weights)), weights).float()
        said = [said_of(x, places) for x in raw]
        terms = self._colours(batch.colours, said, places, device)
        shown, alpha = self._shown(batch.view, said[0], said[batch.of], places, device)
        wanted, head = _tensor(batch.view.rgb, device), _tensor(batch.view.covered, device)
        error = (shown - wanted) * head[..., None]
        return terms | {
            "restraint": RESTRAINT * raw.square().mean(),
            "photometric": PHOTOMETRIC * error.square().mean(),
            "gradient": GRADIENT * picture_gradients(error),
            "mask": MASK * (alpha - head).square().mean(),
        }

    def _colours(
        self, photographs: Sequence[Colours], said: Sequence[Residuals], places: Places, device: torch.device
    ) -> dict[str, Tensor]:
        """Errors of texels' colours where they are known: of the neutral ones, and of what emotion adds."""
        plain, neutral = photographs[0], said[0]
        change, seen = _tensor(plain.change, device), _tensor(plain.seen, device) * places.outer
        terms = {"completion": COMPLETION * robust(neutral.gain - change, seen, ROBUST)}
        felt = []
        for colours, under in zip(photographs[1:], said[1:], strict=True):
            wanted, known = _tensor(colours.change, device), _tensor(colours.seen, device) * places.reach
            felt.append(robust(under.gain - neutral.gain - wanted, known, ROBUST))
        return terms | ({"emotion": EMOTION * torch.stack(felt).mean()} if felt else {})

    def _shown(
        self, view: View, neutral: Residuals, said: Residuals, places: Places, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """The picture of the avatar's texels, before black, and its alpha.

        Colours take the network's word at neutral everywhere, not only where the photograph is silent: what the
        analytic colours lack must not be made up for by emotion.
        """
        vertices = torch.from_numpy(view.vertices).to(device)
        frames = triangle_frames(vertices, self._faces.to(device))[0][self._face.to(device)]
        texels = completed(
            view.texels.to(device), frames, replace(neutral, gain=torch.zeros_like(neutral.gain)), places.hidden
        )
        change = said.gain - neutral.gain
        gain = neutral.gain * places.outer[:, None] + places.reach[:, None] * change
        render = rasterize(replace(texels, sh=coloured(texels.sh, gain)), view.camera)
        return render.rgb, render.alpha

    def _places(self, maps: PortraitMaps, device: torch.device) -> Places:
        prepared = prepare_head(open_head())
        places = places_of(prepared, maps, prepared.texels.face, prepared.texels.barycentric)
        return Places(*(getattr(places, f.name).to(device) for f in fields(Places)))


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(device)


def mean_response(lessons: Iterable[UVBatch]) -> np.ndarray:  # [6, 3, R, R] float32
    """What emotions add to everybody's colours, for the network's maps: the mean, both halves of the face alike."""
    prepared = prepare_head(open_head())
    total = np.zeros((len(EMOTIONS), len(prepared.texels), 3))
    often = np.zeros((len(EMOTIONS), len(prepared.texels), 1))
    for lesson in lessons:
        for colours in lesson.colours:
            felt = np.flatnonzero(colours.weights)
            if len(felt) == 1:  # not at neutral, and not where two are mixed
                known = colours.weights[felt[0]] * colours.seen[:, None]
                total[felt[0]] += known * np.clip(colours.change, -LARGEST, LARGEST)
                often[felt[0]] += known**2
    texel = grid_of(prepared).texel
    total, often = (x[:, texel] + x[:, texel[:, ::-1]] for x in (total, often))
    mean = np.where(often >= FEWEST, total / np.maximum(often, FEWEST), 0)
    mean = ndimage.gaussian_filter(mean, (0, BROAD, BROAD, 0))
    return np.arctanh(np.clip(mean, -LARGEST, LARGEST) / GAIN).transpose(0, 3, 1, 2).astype(np.float32)


def run_settings(steps: int = 3000, minutes: float | None = None, workers: int = 1) -> RunSettings:
    """How the network is trained, one person at a time."""
    return RunSettings(steps, minutes, learning_rate=LEARNING_RATE, ema=EMA, workers=workers, checkpoint_minutes=1.0)


def train_uv(
    output: Path = WEIGHTS_PATH,
    training: UVTraining | None = None,
    settings: RunSettings | None = None,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    begin: Path | None = None,
    progress: Progress = lambda fraction, doing: None,
) -> bool:
    """Train and write the weights; whether that is complete (else it can be resumed, and the weights are a preview).

    Lessons are kept in ``NAME.sources`` beside ``output``, from where a run that was interrupted takes them, and may be
    deleted. Without weights to ``begin`` with all are photographed first.
    """
    training, settings = training or UVTraining(), settings or run_settings()
    team = processes(device)
    torch.manual_seed(settings.seed)
    task = UVTask(training, output.with_suffix(".sources"), begin)
    if training.emotion and not begin and not resume:
        people = np.roll(np.arange(training.people), -(team.rank * training.people // team.count))
        for done in _photographed(task.draw, people.tolist(), settings.workers):
            if team.first:
                progress(0.0, f"photographing people, {done} of {training.people}")
        task.begin_with_mean()
    result = run(task, output, settings, device=device, resume=resume, progress=progress)
    if team.first:
        metadata = {"training": json.dumps(asdict(training) | asdict(settings)), "fingerprint": task.fingerprint}
        metadata |= {"steps": str(result.steps), "minutes": f"{result.minutes:.1f}"}
        network = task.model
        network.load_state_dict(result.model.state_dict())
        save_network(network, output, metadata)
        if result.complete:
            forget_checkpoint(output)
    return result.complete


def _photographed(draw: DrawUV, people: list[int], workers: int) -> Iterator[int]:
    """Draw the lessons of people that are not there yet, and say how many people are done."""
    if workers < 2:
        yield from (done for done, _ in enumerate(map(draw.person, people), 1))
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        yield from (done for done, _ in enumerate(pool.map(draw.person, people), 1))
