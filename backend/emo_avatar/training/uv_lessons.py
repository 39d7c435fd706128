"""What the UV backbone's network learns from: invented people from other sides and in other moods than one photo shows.

Each source portrait goes through the analytic backbone, as a real one would. Then the person is photographed anew from
elsewhere, in the same light and (with emotion) in other moods with the true geometry of those moods. All of that is
drawn from a seed, and kept on disk.

What emotion adds is measured without the avatar's own faults in it: the same head, bald and of even skin, is
photographed as it was in the portrait and as it is under the emotion, and from the ratio of the two is taken what the
moving mesh does to colours by itself (`avatar.appearance`). What remains is blood, this person's own folds and this
light, and the mood of the portrait, which goes when another comes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from emo_avatar.avatar.appearance import SkinAppearance
from emo_avatar.avatar.gaussians import SH_C0, Gaussians
from emo_avatar.avatar.rig import FlameRig
from emo_avatar.backbones.portrait.foreground import clean_foreground
from emo_avatar.backbones.portrait.prepared import prepare_head
from emo_avatar.backbones.portrait.view import MeshView, sample
from emo_avatar.backbones.uv.build import analysed, assembled, skin_of
from emo_avatar.backbones.uv.grid import PortraitMaps, grid_of, observed
from emo_avatar.backbones.uv.learned import photo_tensor, places_of
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
from emo_avatar.files import whole_file
from emo_avatar.head.data import open_head
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.render.camera import Camera

SAME_CAMERA = 0.5  # share of the moments that are seen by the portrait's camera
NEUTRAL_SHARE = 0.35  # of the sources
SECONDS, FPS = 1.2, 25.0  # of what a person says
DARK = 0.04  # added to colours before their logarithm is taken: what is black has no hue
EVEN = 1 / 64  # of the atlas' side, over which skin is made even
FACING = 0.35  # cosine from which a photograph tells the colour of a texel
DEPTH_SLACK = 0.002  # metres that a texel may lie behind what is seen at its pixel
FELT = 3  # moods of a moment that one step learns from
GAUSSIANS = ("means", "quats", "scales", "opacities", "sh")
BLEND = len(EMOTIONS)  # in place of one emotion's number: two of them mixed


@dataclass(frozen=True)
class UVTraining:
    """Everything that decides what a batch is."""

    emotion: bool = False  # targets in other moods, or in the neutral one alone
    people: int = 200  # source portraits, each of another person
    size: int = 256  # pixels of targets
    kept: int = 2  # moments of each person that are photographed, in all moods


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
        return Gaussians(*(torch.from_numpy(getattr(self, name).astype(np.float32)) for name in GAUSSIANS))

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


@dataclass(frozen=True, eq=False)
class UVBatch:
    """One person at one instant in one camera: neutral first, then (with emotion) in other moods."""

    source: Source
    colours: tuple[Colours, ...]
    view: View  # one of these photographs, to be compared as a picture as well
    of: int  # which of them

    def in_moods(self, chosen: Sequence[int]) -> UVBatch:
        """The same with only some of the moods, by their places; the one of the picture must be among them."""
        return UVBatch(self.source, tuple(self.colours[k] for k in chosen), self.view, list(chosen).index(self.of))


@dataclass(frozen=True)
class DrawUV:
    """Draws the batch of any step: the same settings, step and rank always give the same one."""

    settings: UVTraining
    folder: Path  # where sources and photographs are kept

    def __call__(self, step: int, rank: int) -> UVBatch:
        rng = np.random.default_rng([17, step, rank])
        whole = self.lesson(int(rng.integers(self.settings.people)), int(rng.integers(self.settings.kept)))
        others = rng.permutation([k for k in range(1, len(whole.colours)) if k != whole.of])
        felt = {*others[: FELT - (whole.of > 0)], whole.of} - {0}
        return whole.in_moods([0, *sorted(int(k) for k in felt)])

    def lesson(self, seed: int, number: int) -> UVBatch:
        """One of a person's moments in every mood; photographed when it is first asked for."""
        kinds = (None, *range(BLEND + 1)) if self.settings.emotion else (None,)
        path = self.folder / f"{seed}-{number}.npz"
        source = self.source(seed)
        if not path.exists():
            rng, person = np.random.default_rng([20, seed, number]), studied(seed)
            moment, elsewhere = person.moment(rng), person.elsewhere(rng, self.settings.size)
            moods = [person.felt(moment, drawn_weights(rng, kind)) for kind in kinds]
            of, rig = int(rng.integers(len(moods))), person.rig(source)
            colours = person.colours(rig, source, moods, elsewhere)
            _write_lesson(path, colours, person.view(rig, source, moods[of], elsewhere), of)
        return _read_lesson(path, source)

    def source(self, seed: int) -> Source:
        """A person's portrait; photographed when it is first asked for."""
        path = self.folder / f"{seed}.npz"
        if not path.exists():
            studied(seed).portrait().write(path)
        return Source.read(path)

    def person(self, seed: int) -> None:
        """See to it that a person's lessons are on disk."""
        for number in range(self.settings.kept):
            self.lesson(seed, number)

    def all(self) -> Iterator[UVBatch]:
        """Every lesson there is, in every mood."""
        for seed in range(self.settings.people):
            for number in range(self.settings.kept):
                yield self.lesson(seed, number)


def _write_lesson(path: Path, colours: Sequence[Colours], view: View, of: int) -> None:
    camera = view.camera
    arrays = {f"texels.{name}": getattr(view.texels, name).numpy() for name in GAUSSIANS}
    arrays |= {name: value if name == "means" else value.astype(np.float16) for name, value in arrays.items()}
    arrays |= {f.name: np.stack([getattr(x, f.name) for x in colours]) for f in fields(Colours)}
    arrays |= {"vertices": view.vertices, "viewmat": camera.viewmat, "K": camera.K, "covered": view.covered}
    arrays |= {"change": arrays["change"].astype(np.float16), "rgb": view.rgb.astype(np.float16), "of": np.array(of)}
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _read_lesson(path: Path, source: Source) -> UVBatch:
    with np.load(path) as a:
        colours = [Colours(*x) for x in zip(a["weights"], a["change"], a["seen"], strict=True)]
        texels = Gaussians(*(torch.from_numpy(a[f"texels.{name}"].astype(np.float32)) for name in GAUSSIANS))
        height, width = a["covered"].shape
        camera = Camera(a["viewmat"], a["K"], width, height)
        rgb = a["rgb"].astype(np.float32)
        return UVBatch(source, tuple(colours), View(texels, a["vertices"], camera, rgb, a["covered"]), int(a["of"]))


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
        half = {n: getattr(avatar.gaussians, n).numpy().astype(np.float16) for n in GAUSSIANS}
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
        return View(texels, shot.vertices, setting.camera, shot.rgb, self._on_texels(shot)[2])

    def colours(self, rig: FlameRig, source: Source, moods: Sequence[Mood], setting: Setting) -> list[Colours]:
        """What texels should look like in moods of which the first is the neutral one."""
        (frame, neutral), *others = moods
        resting = _log_colours(rig.pose(source.gaussians(), frame, 0))
        shown, visible, _ = self._on_texels(shoot(self.subject, frame, neutral, setting))  # with hair and all
        colours = [Colours.of(neutral, shown - resting, visible)]
        if not others:
            return colours
        prepared = prepare_head(open_head())
        texels = prepared.texels
        hidden = places_of(prepared, source.maps, texels.face, texels.barycentric).hidden.numpy()
        # What the photo shows is in the portrait's mood; what was completed has been brought to the neutral one.
        in_photo, seen = self._skin(self.portrayed, setting)
        at_rest, known = self._skin(moods[0], setting)
        in_photo -= _log_colours(source.gaussians())
        at_rest -= resting
        before = in_photo + hidden[:, None] * (at_rest - in_photo)
        known = (seen | (hidden == 1)) & (known | (hidden == 0))
        for frame, weights in others:
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


@functools.lru_cache(maxsize=2)  # of some 70 MB each
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
