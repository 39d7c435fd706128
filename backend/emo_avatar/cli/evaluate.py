"""``emo-avatar evaluate``: how good it is, in numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from emo_avatar.cli.boundary import print_json, progress_bar, say
from emo_avatar.cli.options import Appearance, Geometry, Json
from emo_avatar.errors import UserError

if TYPE_CHECKING:
    from emo_avatar.avatar.avatar import Avatar
    from emo_avatar.evaluation.held_out import Case
    from emo_avatar.evaluation.recognition import LabelledFace, Recognition
    from emo_avatar.evaluation.tables import Demand, Variant
    from emo_avatar.evaluation.tables import Table as Judgement

app = typer.Typer(help="Measure quality.", no_args_is_help=True)

# People of these seeds are never trained on. `geometry` begins with the first, the tables with others than it.
FIRST_HELD_OUT, FIRST_OF_TABLES = 1_000_000, 1_005_000
HELD_OUT_HELP = f"The first held-out person; others follow. From {FIRST_HELD_OUT} on, where nothing was trained."
HeldOut = Annotated[int, typer.Option("--seed", min=FIRST_HELD_OUT, max=2**31, help=HELD_OUT_HELP)]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print tables for a document.")]
BackboneName = Annotated[
    str, typer.Option("--backbone", metavar="uv|lam-s", help="What avatars of photographs and people are made with.")
]


@app.command()
def geometry(
    takes: Annotated[int, typer.Option(min=1, max=1000, help="Held-out people to judge on.")] = 60,
    seed: HeldOut = FIRST_HELD_OUT,
    as_json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Judge the geometry modulator on people, utterances and styles that it was not trained on."""
    from emo_avatar.emotion.geometry import load_modulator
    from emo_avatar.evaluation.geometry import evaluate_geometry
    from emo_avatar.head.data import load_head

    with progress_bar("Evaluating") as report:
        head = load_head()
        result = evaluate_geometry(head, load_modulator(head), takes, report, seed)
    if as_json:
        print_json(result.to_json())
        return
    rows = [["emotion", "AED driving", "AED recipe", "AED ours", "ratio", "lips, driving", "lips, ours"]]
    for score in result.emotions:
        numbers = (score.aed_driving, score.aed_recipe, score.aed_ours, score.aed_ours / score.aed_driving)
        lips = (f"{gap:.3f} mm" for gap in (score.closure_driving, score.closure_ours))
        rows.append([score.emotion, *(f"{x:.3f}" for x in numbers), *lips])
    _print(*rows, markdown=markdown)
    say(f"AED ratio {result.aed_ratio:.3f}; lips apart at bilabials {result.closure_growth:+.1%}.")
    say(f"Neutral to neutral: largest change of a parameter {result.neutral_drift:.1e}.")
    for path in result.paths:
        ends = ", ".join(f"{name} {max(ends):.2f}" for name, ends in path.reversals.items())
        say(f"{' - '.join(path.path)}: largest step {path.largest_step:.2f} x the mean; reversals at the ends: {ends}.")


@app.command()
def recognition(
    avatars: Annotated[list[Path] | None, typer.Argument(metavar="[A.emoavatar]...", help="Avatars to judge.")] = None,
    portraits: Annotated[bool, typer.Option("--portraits", help="Judge photographs of real emotions, too.")] = False,
    people: Annotated[
        int, typer.Option(min=0, max=1000, help="Judge avatars of so many held-out invented people, too.")
    ] = 0,
    backbone: BackboneName = "uv",
    geometry: Geometry = True,
    appearance: Appearance = True,
    seed: HeldOut = FIRST_OF_TABLES,
    as_json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Show seven emotions of avatars and of the open head to two recognisers, and count what they see.

    Invented people are judged twice: by a neutral photograph, and by one whose mood must first be taken out of it.
    Of avatars that remember their photograph it also tells how much they stay the person on it: the cosine of identity.
    """
    from emo_avatar.backbones.make import Backbone
    from emo_avatar.evaluation.held_out import ANYWHERE, RECORDED, cases
    from emo_avatar.evaluation.portrait import identity_under
    from emo_avatar.evaluation.recognition import (
        avatar_faces,
        head_faces,
        people_faces,
        portrait_faces,
        recognise,
        total,
    )

    way = Backbone(backbone)
    loaded = _avatars(avatars or [])
    subjects: dict[str, Callable[[], Iterable[LabelledFace]]] = {"open head": head_faces}
    if portraits:
        subjects["captioned portraits"] = portrait_faces
    for name, avatar in loaded.items():
        subjects[name] = partial(avatar_faces, avatar, geometry=geometry, appearance=appearance)
    for protocol, photographed in ((RECORDED, "neutral"), (ANYWHERE, "in any mood")) if people else ():
        drawn = cases(people, 1, first=seed, protocol=protocol)
        shown = partial(people_faces, drawn, way, geometry=geometry, appearance=appearance)
        subjects[f"invented people photographed {photographed}"] = shown
    with progress_bar("Recognising") as report:
        results, identity = {}, {}
        for i, (name, faces) in enumerate(subjects.items()):
            report(i / len(subjects), name)
            results[name] = recognise(faces())
            if name in loaded and loaded[name].photo is not None:
                identity[name] = dict(identity_under(loaded[name], geometry, appearance))
    if loaded:
        results["all avatars"] = total(results[name] for name in loaded)
    if as_json:
        judged: dict[str, Any] = {name: [r.to_json() for r in outcome] for name, outcome in results.items()}
        print_json(judged | {"identity": identity})
        return
    if markdown:
        rows = [
            [name, *(f"{r.accuracy:.0%}" for r in outcome), str(int(outcome[0].confusion.sum()))]
            for name, outcome in results.items()
        ]
        _print(["recognised", *(r.recogniser for r in results["open head"]), "pictures"], *rows, markdown=True)
    else:
        for name, outcome in results.items():
            for result in outcome:
                _print_confusion(name, result)
    if identity:
        emotions = next(iter(identity.values()))
        rows = [[name, *(f"{cosine:.2f}" for cosine in under.values())] for name, under in identity.items()]
        _print(["identity to the photograph", *emotions], *rows, markdown=markdown)


def _avatars(paths: Iterable[Path]) -> dict[str, Avatar]:
    """By the path that names them; read before anything is judged, so that a bad one is told of at once."""
    from emo_avatar.avatar.files import load_avatar

    return {str(path): load_avatar(path) for path in paths}


def _print_confusion(subject: str, result: Recognition) -> None:
    title = f"{subject}, {result.recogniser}: {result.accuracy:.0%} (target {result.target:.0%})"
    table = Table("shown", *(f"as {label}" for label in result.columns), title=title, box=None, title_justify="left")
    for label, row in zip(result.rows, result.confusion, strict=True):
        table.add_row(label, *(str(count) if count else "" for count in row))
    Console().print(table)
    if result.failing:
        say(f"Recognised in less than half of the pictures: {', '.join(result.failing)}.")


@app.command()
def portrait(
    photos: Annotated[
        list[Path] | None, typer.Argument(metavar="[PHOTO]...", help="Seven of our own by default.")
    ] = None,
    learned: Annotated[
        bool | None, typer.Option("--learned/--analytic", help="Of uv: with the trained network or without it.")
    ] = None,
    backbone: BackboneName = "uv",
    as_json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Build avatars of photographs and compare: PSNR, SSIM, LPIPS inside the matte, identity, holes."""
    from emo_avatar.backbones.make import Backbone
    from emo_avatar.evaluation.portrait import score_portrait, standard_portraits
    from emo_avatar.head.data import load_head
    from emo_avatar.tracking.portrait import track_portrait

    way = Backbone(backbone, learned)
    subjects = {str(path): path for path in photos} if photos else standard_portraits()
    head = load_head()
    scores = {}
    with progress_bar("Evaluating") as report:
        for i, (name, photo) in enumerate(subjects.items()):
            report(i / len(subjects), name)
            tracked = track_portrait(photo, head)
            avatar, _ = way.make(tracked, head, name=name)
            scores[name] = {"landmark_error": tracked.landmark_error, **score_portrait(avatar).numbers()}
    if as_json:
        print_json(scores)
        return
    metrics = next(iter(scores.values()))
    rows = [[metric.replace("_", " "), *(f"{score[metric]:.3f}" for score in scores.values())] for metric in metrics]
    _print(["", *scores], *rows, markdown=markdown)


People = Annotated[int, typer.Option(min=1, max=1000, help="Held-out people to judge on.")]
Instants = Annotated[int, typer.Option(min=1, max=60, help="Frames of each person's utterance.")]
BackboneNames = Annotated[
    list[str], typer.Option("--backbone", metavar="uv|lam-s", help="Backbones to judge; may be repeated.")
]
ProtocolName = Annotated[
    str,
    typer.Option(
        "--protocol",
        metavar="recorded|anywhere",
        help="recorded: of a neutral photograph, seen by its camera. anywhere: of any mood, seen from all sides.",
    ),
]


@app.command()
def reenactment(
    people: People = 12,
    instants: Instants = 2,
    backbone: BackboneNames = ["uv"],  # noqa: B006
    protocol: ProtocolName = "recorded",
    seed: HeldOut = FIRST_OF_TABLES,
    as_json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Drive avatars of held-out people by their own and by others' performances, without and with emotion."""
    from emo_avatar.evaluation.tables import cross_reenactment, self_reenactment, with_and_without

    variants = with_and_without(backbone)
    tables = {"self-reenactment": self_reenactment, "cross-reenactment": cross_reenactment}
    _tell(_judged(tables, variants, people, instants, protocol, seed), as_json, markdown)


@app.command()
def transfer(
    people: People = 12,
    instants: Instants = 2,
    backbone: BackboneNames = ["uv"],  # noqa: B006
    protocol: ProtocolName = "recorded",
    seed: HeldOut = FIRST_OF_TABLES,
    as_json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Show held-out people's neutral speech under each emotion, and compare with the truth."""
    from emo_avatar.evaluation.tables import emotion_transfer, gains, rows_of_gains, with_and_without

    variants = with_and_without(backbone)
    (table,) = _judged({"emotion transfer": emotion_transfer}, variants, people, instants, protocol, seed)
    gained = gains(table)
    if as_json:
        print_json([table.to_json() | {"gains": {name: gain.to_json() for name, gain in gained.items()}}])
        return
    _tell([table], as_json, markdown)
    _print(*rows_of_gains(gained), markdown=markdown)


@app.command()
def ablation(
    people: People = 12,
    instants: Instants = 2,
    backbone: BackboneNames = ["uv"],  # noqa: B006
    protocol: ProtocolName = "recorded",
    seed: HeldOut = FIRST_OF_TABLES,
    as_json: Json = False,
    markdown: Markdown = False,
) -> None:
    """The same with one of the two paths of emotion left out."""
    from emo_avatar.evaluation.tables import ablations, emotion_transfer

    variants = ablations(backbone)
    _tell(
        _judged({"emotion transfer": emotion_transfer}, variants, people, instants, protocol, seed), as_json, markdown
    )


@app.command()
def interpolation(
    avatars: Annotated[list[Path], typer.Argument(metavar="A.emoavatar...", help="Avatars to judge.")],
    as_json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Walk avatars from one emotion over another to a third: evenly, recognisably, and as the same person."""
    from emo_avatar.evaluation.interpolation import interpolate, rows

    reports = []
    with progress_bar("Walking") as report:
        loaded = _avatars(avatars)
        for i, (name, avatar) in enumerate(loaded.items()):
            report(i / len(loaded), name)
            reports += interpolate(avatar)
    if as_json:
        print_json([report.to_json() for report in reports])
    else:
        _print(*rows(reports), markdown=markdown)


def _judged(
    titles: Mapping[str, Callable[[Case, Case], Iterable[Demand]]],
    variants: list[Variant],
    people: int,
    instants: int,
    protocol: str,
    seed: int,
) -> list[Judgement]:
    from emo_avatar.evaluation.held_out import PROTOCOLS, cases
    from emo_avatar.evaluation.tables import fill

    if protocol not in PROTOCOLS:
        raise UserError(f"There is no protocol {protocol!r}; choose one of {', '.join(PROTOCOLS)}.")
    with progress_bar("Judging") as report:
        report(0.0, "drawing people")
        judged = list(cases(people, instants, first=seed, protocol=PROTOCOLS[protocol]))
        return fill(titles, variants, judged, report)


def _tell(tables: list[Judgement], as_json: bool, markdown: bool) -> None:
    if as_json:
        print_json([table.to_json() for table in tables])
        return
    for table in tables:
        _print(*table.rows_of_text(best="**{}**" if markdown else "{}"), markdown=markdown)


def _print(header: list[str], *rows: list[str], markdown: bool = False) -> None:
    """A table, for a document or for the terminal, and an empty line after it."""
    if markdown:
        from emo_avatar.evaluation.tables import markdown_table

        print(markdown_table(header, *rows), end="\n\n")
        return
    table = Table(*(Column(title, no_wrap=i == 0) for i, title in enumerate(header)), box=None)
    for row in rows:
        table.add_row(*row)
    Console().print(table, "")
