"""Training of the UV backbone's network: invented people from other sides and in other moods than one photo shows.

Each source portrait goes through the analytic backbone, as a real one would, and what comes out of it is kept on disk.
A step takes one, photographs the person anew from elsewhere, in the same light and (with emotion) in another mood with
the true geometry of that mood, and compares what the avatar's texels look like there.

What emotion adds is measured without the avatar's own faults in it: the same head, bald and of even skin, is
photographed as it was in the portrait and as it is under the emotion, and from the ratio of the two is taken what the
moving mesh does to colours by itself (`avatar.appearance`). What remains is blood, this person's own folds and this
light, and the mood of the portrait, which goes when another comes.
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
from scipy import ndimage
from torch import Tensor

from emo_avatar.avatar.appearance import SkinAppearance
from emo_avatar.avatar.binding import triangle_frames
from emo_avatar.avatar.gaussians import SH_C0, Gaussians
from emo_avatar.avatar.rig import FlameRig
from emo_avatar.backbones.portrait.foreground import clean_foreground
from emo_avatar.backbones.portrait.prepared import prepare_head
from emo_avatar.backbones.portrait.view import MeshView, sample
from emo_avatar.backbones.uv.build import analysed, assembled, skin_of
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
from emo_avatar.data.as_portrait import portrait_of
from emo_avatar.data.studio import Setting, Shot, draw_setting, shoot
from emo_avatar.data.subjects import Subject
from emo_avatar.data.synchronised_shots import (
    SOURCE_SIZE,
    SOURCE_YAW,
    EmotionalSequence,
    draw_sequence,
    draw_strength,
)
from emo_avatar.emotion.recipes import RECIPES_PATH
from emo_avatar.files import whole_file
from emo_avatar.head.data import open_head
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.render.camera import Camera
from emo_avatar.render.rasterize import rasterize
from emo_avatar.training.losses import picture_gradients, robust
from emo_avatar.training.processes import processes
from emo_avatar.training.run import RunSettings, forget_checkpoint, run

Progress = Callable[[float, str], None]

LEARNING_RATE, EMA = 7e-4, 0.99
SAME_CAMERA = 0.5  # share of the moments that are seen by the portrait's camera
NEUTRAL_SHARE = 0.35  # of the sources and of the targets under emotion
SECONDS, FPS = 1.2, 25.0  # of what a person says
# Weights of the loss' terms
PHOTOMETRIC, GRADIENT, MASK, RESTRAINT, COMPLETION, EMOTION = 10.0, 0.5, 1.0, 1e-3, 1.0, 5.0
DARK = 0.04  # added to colours before their logarithm is taken: what is black has no hue
EVEN = 1 / 64  # of the atlas' side, over which skin is made even
FACING = 0.35  # cosine from which a photograph tells the colour of a texel
DEPTH_SLACK = 0.002  # metres that a texel may lie behind what is seen at its pixel
ROBUST = 0.05  # log colour, from which errors count linearly: texels beside edges are taken for their neighbours
FELT = 3  # moods of a moment that one step learns from
FELT_BY = ("folds.", "degree.", "response")  # the weights that say nothing at neutral
BLEND = len(EMOTIONS)  # in place of one emotion's number: two of them mixed


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
    """What texels' colours should be in some mood."""

    weights: np.ndarray  # [6] the mood
    change: np.ndarray  # [N, 3] log of a factor: neutral, on the analytic colours; else, what emotion adds to that
    seen: np.ndarray  # [N] bool, where that is known

    @classmethod
    def of(cls, weights: np.ndarray, change: np.ndarray, seen: np.ndarray) -> Colours:
        """Known where it is seen and a number: a texel's analytic colour may be none."""
        numbers = np.isfinite(change).all(1)
        return cls(weights, np.where(numbers[:, None], change, 0).astype(np.float32), seen & numbers)


@dataclass(frozen=True, eq=False)
class View:
    """A photograph to be explained, and the avatar's texels there before the network's change."""

    texels: Gaussians  # world
    vertices: np.ndarray  # [V, 3]
    camera: Camera
    rgb: np.ndarray  # [H, W, 3]
    covered: np.ndarray  # [H, W] bool, pixels of the head itself, not of hair beside it
    colours: Colours  # against the analytic ones, with hair and all


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
            plain, *felt = self.kept(seed, int(rng.integers(s.kept)), source)
            chosen = rng.choice(len(felt), min(FELT, len(felt)), replace=False)
            return UVBatch(source, (plain, *(felt[k] for k in chosen)))
        person = studied(seed)
        rig, moment, elsewhere = person.rig(source), person.moment(rng), person.elsewhere(rng, s.size)
        kinds = (None, int(rng.integers(BLEND + 1))) if s.emotion else (None,)
        moods = [person.felt(moment, drawn_weights(rng, kind)) for kind in kinds]
        of = int(rng.integers(len(moods)))
        colours = person.colours(rig, source, moods, elsewhere)
        return UVBatch(source, tuple(colours), person.view(rig, source, moods[of], elsewhere), of)

    def source(self, seed: int) -> Source:
        path = self.folder / f"{seed}.npz"
        if not path.exists():
            studied(seed).portrait().write(path)
        return Source.read(path)

    def kept(self, seed: int, number: int, source: Source) -> tuple[Colours, ...]:
        """One of a person's moments in every mood; photographed when it is first asked for."""
        kinds = (None, *range(BLEND + 1)) if self.settings.emotion else (None,)
        path = self.folder / f"{seed}-{number}-{len(kinds)}.npz"
        if not path.exists():
            rng, person = np.random.default_rng([20, seed, number]), studied(seed)
            moment, elsewhere = person.moment(rng), person.elsewhere(rng, self.settings.size)
            moods = [person.felt(moment, drawn_weights(rng, kind)) for kind in kinds]
            seen = person.colours(person.rig(source), source, moods, elsewhere)
            with whole_file(path) as temporary, temporary.open("wb") as file:
                np.savez(
                    file,
                    weights=np.stack([x.weights for x in seen]),
                    change=np.stack([x.change for x in seen]).astype(np.float16),
                    seen=np.stack([x.seen for x in seen]),
                )
        with np.load(path) as arrays:
            return tuple(Colours(*x) for x in zip(arrays["weights"], arrays["change"], arrays["seen"], strict=True))


Mood = tuple[FlameSequence, np.ndarray]  # one frame, and the emotions in it, [6]


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

    def elsewhere(self, rng: np.random.Generator, size: int) -> Setting:
        """Another camera in the portrait's light; half of the time it stands where the portrait's does."""
        drawn = draw_setting(rng, self.subject, size)
        camera = self.setting.camera.resized(size) if rng.random() < SAME_CAMERA else drawn.camera
        return replace(drawn, camera=camera, light=self.setting.light)

    def felt(self, moment: int, weights: np.ndarray) -> Mood:  # [6]
        """That moment under emotions."""
        neutral, _ = self.sequence.frame(None, moment)
        expression, jaw = neutral.expression.copy(), neutral.jaw_pose.copy()
        for k in np.flatnonzero(weights):
            felt, full = self.sequence.frame(int(k), moment)
            expression += weights[k] / full[k] * (felt.expression - neutral.expression)
            jaw += weights[k] / full[k] * (felt.jaw_pose - neutral.jaw_pose)
        return replace(neutral, expression=expression, jaw_pose=jaw), weights

    @functools.cached_property
    def portrayed(self) -> Mood:
        """What the portrait shows."""
        rng = np.random.default_rng([19, self.subject.seed])
        emotion = None if rng.random() < NEUTRAL_SHARE else int(rng.integers(len(EMOTIONS)))
        moment = self.moment(rng)
        return self.felt(moment, drawn_weights(rng, emotion))

    def portrait(self) -> Source:
        """The source: photographed, and understood by the analytic backbone."""
        shot = shoot(self.subject, *self.portrayed, self.setting)
        portrait = portrait_of(self.subject, shot, np.random.default_rng([21, self.subject.seed]))
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

    def view(self, rig: FlameRig, source: Source, mood: Mood, setting: Setting) -> View:
        """A photograph of the person from elsewhere."""
        frame, weights = mood
        shot = shoot(self.subject, frame, weights, setting)
        texels = rig.pose(source.gaussians(), frame, 0)
        shown, seen, covered = self._on_texels(shot)
        colours = Colours.of(weights, shown - _log_colours(texels), seen)
        return View(texels, shot.vertices, setting.camera, shot.rgb, covered, colours)

    def colours(self, rig: FlameRig, source: Source, moods: Sequence[Mood], setting: Setting) -> list[Colours]:
        """What texels should look like in moods of which the first is the neutral one."""
        neutral = self.view(rig, source, moods[0], setting)
        if len(moods) == 1:
            return [neutral.colours]
        prepared = prepare_head(open_head())
        texels = prepared.texels
        hidden = places_of(prepared, source.maps, texels.face, texels.barycentric).hidden.numpy()
        # What the photo shows is in the portrait's mood; what was completed has been brought to the neutral one.
        in_photo, seen = self._skin(self.portrayed, setting)
        at_rest, known = self._skin(moods[0], setting)
        in_photo -= _log_colours(source.gaussians())
        at_rest -= _log_colours(neutral.texels)
        before = in_photo + hidden[:, None] * (at_rest - in_photo)
        known = (seen | (hidden == 1)) & (known | (hidden == 0))
        colours = [neutral.colours]
        for frame, weights in moods[1:]:
            after, visible = self._skin((frame, weights), setting)
            after -= _log_colours(rig.pose(source.gaussians(), frame, 0))
            colours.append(Colours.of(weights, after - before, visible & known))
        return colours

    def _skin(self, mood: Mood, setting: Setting) -> tuple[np.ndarray, np.ndarray]:  # [N, 3], [N] bool
        """The log of texels' colours on a photograph of skin alone, with nothing on it that is finer than a fold."""
        return self._on_texels(shoot(self.bare, *mood, setting, bare=True))[:2]

    @functools.cached_property
    def bare(self) -> Subject:
        """The same person of even skin."""
        look = self.subject.look
        spread = EVEN * len(look.albedo)
        even = ndimage.gaussian_filter(look.albedo, (spread, spread, 0), truncate=2)
        return replace(self.subject, look=replace(look, albedo=even))

    def _on_texels(self, shot: Shot) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The log of what a photograph shows of the texels, ``[N, 3]``; of which, ``[N] bool``; and the pixels of the
        head in it, ``[H, W] bool``."""
        places, camera = prepare_head(open_head()).texels, shot.setting.camera
        view = MeshView.of(shot.vertices, self.subject.head.faces, camera, prepare_head(open_head()).opaque)
        points = places.points(shot.vertices, view.faces)
        seen = view.sees(points, DEPTH_SLACK) & (view.facing(points, view.normals[places.face]) > FACING)
        pixel = camera.project(points)[0]
        seen &= sample(shot.alpha, pixel) > 0.99
        return _log(sample(shot.rgb, pixel)), seen, view.covered


def drawn_weights(rng: np.random.Generator, emotion: int | None) -> np.ndarray:  # [6] float32
    """An emotion of some strength, by its place in EMOTIONS; `BLEND` mixes two, None is neutral."""
    weights = np.zeros(len(EMOTIONS), np.float32)
    if emotion is None:
        return weights
    strength = draw_strength(rng)
    if emotion < BLEND:
        weights[emotion] = strength
        return weights
    share = rng.random()
    weights[rng.choice(len(EMOTIONS), 2, replace=False)] = strength * share, strength * (1 - share)
    return weights


def _log(colours: np.ndarray) -> np.ndarray:
    return np.log(np.clip(colours, 0, 1) + np.float32(DARK))


def _log_colours(texels: Gaussians) -> np.ndarray:  # [N, 3]
    return _log(texels.sh[:, 0].numpy() * SH_C0 + 0.5)


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


class UVTask:
    """The network and its loss, for `training.run`."""

    def __init__(self, settings: UVTraining, folder: Path, begin: Path | None = None) -> None:
        """``begin`` are weights to start from."""
        self.model: UVNetwork = load_network(begin) if begin else network_of(open_head())
        self.draw = DrawUV(settings, folder)
        if settings.kept:  # without pictures nothing asks for sizes and opacities: what is said at neutral stays
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(name.startswith(FELT_BY))
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
        if batch.view is None:
            return {"emotion": terms["emotion"]}
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
