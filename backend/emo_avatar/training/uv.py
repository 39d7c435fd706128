"""Training of the UV backbone's network: invented people from other sides and in other moods than one photo shows.

Each source portrait goes through the analytic backbone, as a real one would, and what comes out of it is kept on disk.
A step takes one, photographs the person anew from elsewhere, in the same light and (with emotion) in another mood with
the true geometry of that mood, and compares what the avatar's texels look like there.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emo_avatar.avatar.appearance import SkinAppearance
from emo_avatar.avatar.binding import triangle_frames
from emo_avatar.avatar.gaussians import SH_C0, Gaussians
from emo_avatar.avatar.rig import FlameRig
from emo_avatar.backbones.uv.build import analysed, assembled, skin_of
from emo_avatar.backbones.uv.foreground import clean_foreground
from emo_avatar.backbones.uv.grid import PortraitMaps, atlas_fingerprint, grid_of, observed
from emo_avatar.backbones.uv.learned import (
    WEIGHTS_PATH,
    Places,
    coloured,
    completed,
    load_network,
    network_of,
    photo_tensor,
    places_of,
    said_of,
    save_network,
)
from emo_avatar.backbones.uv.network import Residuals, UVNetwork
from emo_avatar.backbones.uv.prepared import prepare_head
from emo_avatar.backbones.uv.view import MeshView, sample
from emo_avatar.data.as_portrait import portrait_of
from emo_avatar.data.studio import Setting, draw_setting, shoot
from emo_avatar.data.subjects import Subject
from emo_avatar.data.synchronised_shots import EmotionalSequence, draw_sequence
from emo_avatar.emotion.recipes import RECIPES_PATH
from emo_avatar.files import whole_file
from emo_avatar.head.data import open_head
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.render.camera import Camera
from emo_avatar.render.rasterize import rasterize
from emo_avatar.training.losses import picture_gradients
from emo_avatar.training.processes import processes
from emo_avatar.training.run import RunSettings, forget_checkpoint, run

Progress = Callable[[float, str], None]

LEARNING_RATE, EMA = 7e-4, 0.99
SOURCE_SIZE = 512  # pixels of source portraits, as the backbone takes them
SOURCE_YAW = 28.0  # degrees that portraits are turned at most
NEUTRAL_SHARE = 0.35  # of the sources and of the targets under emotion
SECONDS, FPS = 1.2, 25.0  # of what a person says
STRENGTHS, STRENGTH_SHARES = (0.5, 1.0), (0.25, 0.75)  # of emotions
# Weights of the loss' terms
PHOTOMETRIC, GRADIENT, MASK, RESTRAINT, COMPLETION, EMOTION = 10.0, 0.5, 1.0, 1e-3, 1.0, 3.0
DARK = 0.04  # added to colours before their logarithm is taken: what is black has no hue
FACING = 0.35  # cosine from which a photograph tells the colour of a texel
DEPTH_SLACK = 0.002  # metres that a texel may lie behind what is seen at its pixel
ROBUST = 0.05  # log colour, from which errors count linearly: texels beside edges are taken for their neighbours


@dataclass(frozen=True)
class UVTraining:
    """Everything that decides what a batch is."""

    emotion: bool = False  # targets in other moods, or in the neutral one alone
    people: int = 200  # source portraits, each of another person
    size: int = 256  # pixels of targets
    kept: int = 0  # moments of each person that are photographed in all moods, once; 0: anew in every step


@dataclass(frozen=True, eq=False)
class Source:
    """A portrait of somebody, as the analytic backbone understood it: what is drawn from a seed and kept."""

    maps: PortraitMaps
    photo: np.ndarray  # [4, 256, 256] float16
    unturned: np.ndarray  # [V, 3] the face in the portrait
    means: np.ndarray  # [N, 3] float16 of texels, in their triangles' frames, as all that follows
    quats: np.ndarray  # [N, 4] float16
    scales: np.ndarray  # [N, 3] float16
    opacities: np.ndarray  # [N] float16
    sh: np.ndarray  # [N, 1, 3] float16

    def gaussians(self) -> Gaussians:
        names = ("means", "quats", "scales", "opacities", "sh")
        return Gaussians(*(torch.from_numpy(getattr(self, name).astype(np.float32)) for name in names))

    def write(self, path: Path) -> None:
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "maps"}
        arrays |= {f"maps.{f.name}": getattr(self.maps, f.name) for f in fields(PortraitMaps)}
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def read(cls, path: Path) -> Source:
        with np.load(path) as arrays:
            maps = PortraitMaps(*(arrays[f"maps.{f.name}"] for f in fields(PortraitMaps)))
            return cls(maps, *(arrays[f.name] for f in fields(cls) if f.name != "maps"))


@dataclass(frozen=True, eq=False)
class Colours:
    """What a photograph in some mood says of the texels' colours."""

    weights: np.ndarray  # [6] the mood
    change: np.ndarray  # [N, 3] log of the factor between the analytic colours and the photograph's, where it
    seen: np.ndarray  # [N] bool, shows them


@dataclass(frozen=True, eq=False)
class View:
    """A photograph to be explained, and the avatar's texels there before the network's change."""

    texels: Gaussians  # world
    vertices: np.ndarray  # [V, 3]
    camera: Camera
    rgb: np.ndarray  # [H, W, 3]
    covered: np.ndarray  # [H, W] bool, pixels of the head itself, not of hair beside it
    colours: Colours


@dataclass(frozen=True, eq=False)
class UVBatch:
    """One person at one instant in one camera: neutral first, then (with emotion) in other moods."""

    source: Source
    colours: tuple[Colours, ...]
    view: View | None = None  # one of these photographs, to be compared as a picture as well
    of: int = 0  # which of them


@dataclass(frozen=True)
class DrawUV:
    """Draws the batch of any step: the same settings, step and rank always give the same one."""

    settings: UVTraining
    folder: Path  # where sources are kept

    def __call__(self, step: int, rank: int) -> UVBatch:
        s = self.settings
        rng = np.random.default_rng([17, step, rank])
        seed = int(rng.integers(s.people))
        source = self.source(seed)
        if s.kept:
            return UVBatch(source, self.kept(seed, int(rng.integers(s.kept)), source))
        person = studied(seed)
        rig, moment = person.rig(source), person.moment(rng)
        elsewhere = replace(draw_setting(rng, person.subject, s.size), light=person.setting.light)
        moods = (None, int(rng.integers(len(EMOTIONS)))) if s.emotion else (None,)
        views = [person.view(rig, source, *person.frame(rng, moment, mood), elsewhere) for mood in moods]
        of = int(rng.integers(len(views)))
        return UVBatch(source, tuple(view.colours for view in views), views[of], of)

    def source(self, seed: int) -> Source:
        path = self.folder / f"{seed}.npz"
        if not path.exists():
            studied(seed).portrait().write(path)
        return Source.read(path)

    def kept(self, seed: int, number: int, source: Source) -> tuple[Colours, ...]:
        """One of a person's moments in every mood; photographed when it is first asked for."""
        moods = (None, *range(len(EMOTIONS))) if self.settings.emotion else (None,)
        path = self.folder / f"{seed}-{number}-{len(moods)}.npz"
        if not path.exists():
            rng, person = np.random.default_rng([20, seed, number]), studied(seed)
            rig, moment = person.rig(source), person.moment(rng)
            elsewhere = replace(draw_setting(rng, person.subject, self.settings.size), light=person.setting.light)
            seen = [person.view(rig, source, *person.frame(rng, moment, m), elsewhere).colours for m in moods]
            with whole_file(path) as temporary, temporary.open("wb") as file:
                np.savez(
                    file,
                    weights=np.stack([x.weights for x in seen]),
                    change=np.stack([x.change for x in seen]).astype(np.float16),
                    seen=np.stack([x.seen for x in seen]),
                )
        with np.load(path) as arrays:
            return tuple(Colours(*x) for x in zip(arrays["weights"], arrays["change"], arrays["seen"], strict=True))


@dataclass(frozen=True, eq=False)
class Studied:
    """A person who says something in seven moods, and the light that all photographs of them are taken in."""

    sequence: EmotionalSequence
    setting: Setting  # of the source

    @property
    def subject(self) -> Subject:
        return self.sequence.subject

    def moment(self, rng: np.random.Generator) -> int:
        """Any of them."""
        return int(rng.integers(len(self.sequence)))

    def frame(self, rng: np.random.Generator, moment: int, emotion: int | None) -> tuple[FlameSequence, np.ndarray]:
        """That moment under an emotion of some strength, and its weights ``[6]``; None is neutral."""
        neutral, weights = self.sequence.frame(None, moment)
        if emotion is None:
            return neutral, weights
        felt, weights = self.sequence.frame(emotion, moment)
        strength = np.float32(rng.choice(STRENGTHS, p=STRENGTH_SHARES))
        expression = neutral.expression + strength * (felt.expression - neutral.expression)
        jaw = neutral.jaw_pose + strength * (felt.jaw_pose - neutral.jaw_pose)
        return replace(felt, expression=expression, jaw_pose=jaw), strength * weights

    def portrait(self) -> Source:
        """The source: photographed, and understood by the analytic backbone."""
        rng = np.random.default_rng([19, self.subject.seed])
        emotion = None if rng.random() < NEUTRAL_SHARE else int(rng.integers(len(EMOTIONS)))
        frame, weights = self.frame(rng, self.moment(rng), emotion)
        shot = shoot(self.subject, frame, weights, self.setting)
        portrait = portrait_of(self.subject, shot, rng)
        prepared = prepare_head(open_head())
        rgb = clean_foreground(portrait.rgb / np.float32(255), portrait.matte)
        stance, splats, _, seen = analysed(portrait, prepared, rgb)
        texels = splats.first(len(prepared.texels))
        avatar = assembled("", portrait, prepared, stance, texels)
        height, width = portrait.matte.shape
        half = {
            n: getattr(avatar.gaussians, n).numpy().astype(np.float16)
            for n in ("means", "quats", "scales", "opacities", "sh")
        }
        return Source(
            observed(grid_of(prepared), seen, texels.rgb, (width, height)),
            photo_tensor(portrait.rgb / np.float32(255), portrait.matte).numpy().astype(np.float16),
            stance.unturned,
            **half,
        )

    def rig(self, source: Source) -> FlameRig:
        """What moves the source's texels with this person's true head."""
        texels, head = prepare_head(open_head()).texels, self.subject.head
        look = replace(_skin(), neutral=head.v_template, photo=source.unturned)
        return FlameRig(head, np.zeros(300, np.float32), np.zeros_like(head.v_template), texels.face, look)

    def view(self, rig: FlameRig, source: Source, frame: FlameSequence, weights: np.ndarray, setting: Setting) -> View:
        """A photograph of the person from elsewhere."""
        shot = shoot(self.subject, frame, weights, setting)
        texels = rig.pose(source.gaussians(), frame, 0)
        places = prepare_head(open_head()).texels
        view = MeshView.of(shot.vertices, self.subject.head.faces, setting.camera, _drawn())
        points = places.points(shot.vertices, view.faces)
        seen = view.sees(points, DEPTH_SLACK) & (view.facing(points, view.normals[places.face]) > FACING)
        pixel = setting.camera.project(points)[0]
        seen &= sample(shot.alpha, pixel) > 0.99
        shown = sample(shot.rgb, pixel)
        own = texels.sh[:, 0].numpy() * SH_C0 + 0.5
        change = np.log((np.clip(shown, 0, 1) + DARK) / (np.clip(own, 0, 1) + DARK))
        colours = Colours(weights, change.astype(np.float32), seen)
        return View(texels, shot.vertices, setting.camera, shot.rgb, view.covered, colours)


@functools.lru_cache(maxsize=72)  # of some 70 MB each
def studied(seed: int) -> Studied:
    """The person of a seed, always the same."""
    sequence = draw_sequence(seed, SECONDS, FPS)
    rng = np.random.default_rng([18, seed])
    return Studied(sequence, draw_setting(rng, sequence.subject, SOURCE_SIZE, SOURCE_YAW))


@functools.cache
def _skin() -> SkinAppearance:
    """What skin on texels is like, before it is somebody's."""
    prepared = prepare_head(open_head())
    texels, head = prepared.texels, prepared.head
    nothing = np.zeros(len(texels), np.float32)
    return skin_of(prepared, head.v_template, head.v_template, texels.face, texels.barycentric, nothing)


@functools.cache
def _drawn() -> np.ndarray:  # [F] bool
    """What hides texels from a camera: all but the lashes."""
    return ~prepare_head(open_head()).on_face["lashes"]


class UVTask:
    """The network and its loss, for `training.run`."""

    def __init__(self, settings: UVTraining, folder: Path, begin: Path | None = None) -> None:
        """``begin`` are weights to start from."""
        self.model: UVNetwork = load_network(begin) if begin else network_of(open_head())
        self.draw = DrawUV(settings, folder)
        parts = json.dumps(asdict(settings), sort_keys=True), atlas_fingerprint(open_head())
        recipes = RECIPES_PATH.read_bytes().replace(b"\r\n", b"\n")
        self.fingerprint = hashlib.sha256("\0".join(parts).encode() + recipes).hexdigest()[:16]
        prepared = prepare_head(open_head())
        self._face = torch.from_numpy(prepared.texels.face.astype(np.int64))
        self._faces = torch.from_numpy(prepared.head.faces.astype(np.int64))

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
        if batch.view is None:  # nothing asks for sizes and opacities: they are left as they were learned
            return terms
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
        """Errors of texels' colours where photographs show them: of the neutral ones, and of what emotion changes.

        The latter is the difference of two photographs that differ in nothing else, so that what is wrong with the
        avatar itself is not in it.
        """
        plain, neutral = photographs[0], said[0]
        change, seen = _tensor(plain.change, device), _tensor(plain.seen, device) * places.outer
        terms = {"completion": COMPLETION * _robust(neutral.gain - change, seen)}
        felt = []
        for colours, under in zip(photographs[1:], said[1:], strict=True):
            wanted = _tensor(colours.change, device) - change
            both = seen * _tensor(colours.seen, device) * places.reach
            felt.append(_robust(under.gain - neutral.gain - wanted, both))
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


def _robust(error: Tensor, weight: Tensor) -> Tensor:  # [N, 3], [N]
    """Huber's loss, averaged under a weight."""
    loss = F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=ROBUST).mean(1)
    return (weight * loss).sum() / weight.sum().clamp_min(1) / ROBUST


def run_settings(steps: int = 4000, minutes: float | None = None, workers: int = 1) -> RunSettings:
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

    Source portraits are kept in ``NAME.sources`` beside ``output``; they may be deleted.
    """
    training, settings = training or UVTraining(), settings or run_settings()
    folder = output.with_suffix(".sources")
    folder.mkdir(parents=True, exist_ok=True)
    task = UVTask(training, folder, begin)
    if processes(device).first:
        progress(0.0, "drawing people")
    result = run(task, output, settings, device=device, resume=resume, progress=progress)
    if processes(device).first:
        metadata = {"training": json.dumps(asdict(training) | asdict(settings)), "fingerprint": task.fingerprint}
        metadata |= {"steps": str(result.steps), "minutes": f"{result.minutes:.1f}"}
        network = task.model
        network.load_state_dict(result.model.state_dict())
        save_network(network, output, metadata)
        if result.complete:
            forget_checkpoint(output)
    return result.complete
