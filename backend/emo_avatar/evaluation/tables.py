"""The paper's tables on held-out people: reenactment, emotion transfer, ablations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.backbones.make import Backbone
from emo_avatar.evaluation.held_out import Case
from emo_avatar.evaluation.likeness import GREY, Likeness, Sighting, likeness, sighting, truth
from emo_avatar.export.performance import perform
from emo_avatar.export.pictures import picture
from emo_avatar.head.data import open_head
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.tracking.portrait import TrackedPortrait

Progress = Callable[[float, str], None]
HIGHER_IS_BETTER = ("psnr", "ssim", "csim")
WITH_EMOTION = " + emotion"  # after the name of a backbone


@dataclass(frozen=True)
class Variant:
    """A way of making and playing avatars."""

    name: str
    build: Callable[[TrackedPortrait], Avatar]
    geometry: bool = True  # whether emotion moves the face
    appearance: bool = True  # whether it colours the skin

    def show(self, avatar: Avatar, driving: FlameSequence, emotion: int | None, case: Case) -> Sighting:
        """The avatar in the place of the person, under an emotion."""
        felt = {} if emotion is None else {EMOTIONS[emotion]: float(case.sequence.weights[emotion])}
        sequence = perform(avatar, driving, emotions=felt, geometry=self.geometry, appearance=self.appearance)
        return sighting(picture(avatar.pose(sequence), case.setting.camera, GREY))


@dataclass(frozen=True)
class Table:
    """Means over all judged frames, by variant."""

    title: str
    rows: Mapping[str, Likeness]
    frames: int  # behind each row

    def to_json(self) -> dict:
        return {"title": self.title, "frames": self.frames, "rows": {k: asdict(v) for k, v in self.rows.items()}}

    def rows_of_text(self, best: str = "{}") -> list[list[str]]:
        """A header and a row for each variant; the best of each measure is dressed in ``best``."""
        names = [f.name for f in fields(Likeness)]
        table = [[self.title, *(name.upper() for name in names)]]
        for row, values in self.rows.items():
            cells = []
            for name in names:
                value = getattr(values, name)
                text = f"{value:.2f}" if name == "psnr" else f"{value:.4f}"
                cells.append(best.format(text) if value == self._best(name) else text)
            table.append([row, *cells])
        return table

    def _best(self, name: str) -> float:
        values = [v for v in (getattr(row, name) for row in self.rows.values()) if not math.isnan(v)]
        if not values:
            return math.nan
        return max(values) if name in HIGHER_IS_BETTER else min(values)


@dataclass(frozen=True)
class Gain:
    """What emotion adds to a backbone: differences of PSNR (dB) and CSIM, ratios of LPIPS and AED."""

    psnr: float
    lpips: float
    csim: float
    aed: float

    # What is asked in emotion transfer; ratios are to be at most so large, differences at least.
    ASKED: ClassVar[Mapping[str, float]] = {"psnr": 1.0, "lpips": 0.89, "csim": 0.07, "aed": 0.46}

    def reaches(self, name: str) -> bool:
        """Whether what is asked of a measure is reached."""
        value, asked = getattr(self, name), self.ASKED[name]
        return value >= asked if name in HIGHER_IS_BETTER else value <= asked

    def to_json(self) -> dict:
        return asdict(self) | {"asked": dict(self.ASKED), "passed": all(map(self.reaches, self.ASKED))}


def gains(table: Table) -> dict[str, Gain]:
    """Of each backbone in a table of `with_and_without`."""
    return {
        name: Gain(
            psnr=felt.psnr - without.psnr,
            lpips=felt.lpips / without.lpips,
            csim=felt.csim - without.csim,
            aed=felt.aed / without.aed,
        )
        for name, without in table.rows.items()
        if (felt := table.rows.get(name + WITH_EMOTION)) is not None
    }


def rows_of_gains(gained: Mapping[str, Gain]) -> list[list[str]]:
    """A header, and a row of text for each measure; what is not reached says so."""
    forms = {"psnr": "{:+.2f} dB", "lpips": "{:.3f} of it", "csim": "{:+.3f}", "aed": "{:.3f} of it"}
    rows = [["with emotion against without", "asked", *gained]]
    for name, form in forms.items():
        bound = "at least " if name in HIGHER_IS_BETTER else "at most "
        cells = [form.format(getattr(g, name)) + ("" if g.reaches(name) else ", missed") for g in gained.values()]
        rows.append([name.upper(), bound + form.format(Gain.ASKED[name]), *cells])
    return rows


def markdown_table(header: Sequence[str], *rows: Sequence[str]) -> str:
    """A table for a document."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_and_without(backbones: Sequence[str]) -> list[Variant]:
    """Each backbone without emotion and with it."""
    return [
        Variant(name + (WITH_EMOTION if emotion else ""), build, emotion, emotion)
        for name, build in _builders(backbones)
        for emotion in (False, True)
    ]


def ablations(backbones: Sequence[str]) -> list[Variant]:
    """Each backbone with either path of emotion, and with both.

    The geometry path is one for all backbones: what the paper calls reused is what there is.
    """
    paths = {"without geometry": (False, True), "without appearance": (True, False), "full": (True, True)}
    return [
        Variant(f"{name}, {which}", build, *switches)
        for name, build in _builders(backbones)
        for which, switches in paths.items()
    ]


def _builders(backbones: Sequence[str]) -> list[tuple[str, Callable[[TrackedPortrait], Avatar]]]:
    chosen = [Backbone(name) for name in backbones]
    return [(b.name, lambda portrait, b=b: b.make(portrait, open_head())[0]) for b in chosen]  # type: ignore[misc]


# What is asked of an avatar in one table: (its motion, its emotion, the true picture).
Demand = tuple[FlameSequence, "int | None", Sighting]


def self_reenactment(case: Case, other: Case) -> Iterable[Demand]:
    """The person's own performances, spoken in every mood, whose motion is given: nothing is to be added."""
    for instant in case.instants:
        for emotion in (None, *range(len(EMOTIONS))):
            frame, _ = case.sequence.frame(emotion, instant)
            yield case.tracked(frame), None, truth(case.performed(frame))


def cross_reenactment(case: Case, other: Case) -> Iterable[Demand]:
    """The performances of another person."""
    for instant in other.instants:
        for emotion in (None, *range(len(EMOTIONS))):
            frame, _ = other.sequence.frame(emotion, instant)
            yield case.tracked(frame), None, truth(case.performed(frame))


def emotion_transfer(case: Case, other: Case) -> Iterable[Demand]:
    """The person's own words, spoken with a neutral mind, are to be shown under each emotion."""
    for instant in case.instants:
        for emotion in range(len(EMOTIONS)):
            yield case.driving(instant), emotion, truth(case.shot(instant, emotion))


def fill(
    titles: Mapping[str, Callable[[Case, Case], Iterable[Demand]]],
    variants: Sequence[Variant],
    people: Sequence[Case],
    progress: Progress = lambda fraction, doing: None,
) -> list[Table]:
    """Tables of the same variants on the same people; each is driven by itself and, across, by the one before it."""
    frames: dict[str, dict[str, list[Likeness]]] = {title: {v.name: [] for v in variants} for title in titles}
    for i, case in enumerate(people):
        portrait = case.portrait
        avatars: dict[Callable[[TrackedPortrait], Avatar], Avatar] = {}
        for variant in variants:
            if variant.build not in avatars:
                progress(i / len(people), f"person {i + 1} of {len(people)}: building")
                avatars[variant.build] = variant.build(portrait)
        progress((i + 0.3) / len(people), f"person {i + 1} of {len(people)}: playing")
        for title, demands in titles.items():
            for motion, emotion, true in demands(case, people[i - 1]):
                for variant in variants:
                    shown = variant.show(avatars[variant.build], motion, emotion, case)
                    frames[title][variant.name].append(likeness(shown, true))
    return [
        Table(
            title,
            {name: Likeness.mean(values) for name, values in rows.items()},
            max((len(values) for values in rows.values()), default=0),
        )
        for title, rows in frames.items()
    ]
