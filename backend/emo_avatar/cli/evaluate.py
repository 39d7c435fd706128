"""``emo-avatar evaluate``: how good it is, in numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from emo_avatar.cli.boundary import print_json, progress_bar, say
from emo_avatar.cli.options import Json
from emo_avatar.errors import UserError

if TYPE_CHECKING:
    from emo_avatar.evaluation.held_out import Case
    from emo_avatar.evaluation.recognition import LabelledFace, Recognition
    from emo_avatar.evaluation.tables import Demand, Variant

app = typer.Typer(help="Measure quality.", no_args_is_help=True)


@app.command()
def geometry(
    takes: Annotated[int, typer.Option(min=1, max=1000, help="Held-out people to judge on.")] = 60,
    as_json: Json = False,
) -> None:
    """Judge the geometry modulator on people, utterances and styles that it was not trained on."""
    from emo_avatar.emotion.geometry import load_modulator
    from emo_avatar.evaluation.geometry import evaluate_geometry
    from emo_avatar.head.data import load_head

    with progress_bar("Evaluating") as report:
        head = load_head()
        result = evaluate_geometry(head, load_modulator(head), takes, report)
    if as_json:
        print_json(result.to_json())
        return
    table = Table("emotion", "AED driving", "AED recipe", "AED ours", "ratio", "lips apart, driving", "ours", box=None)
    for score in result.emotions:
        numbers = (score.aed_driving, score.aed_recipe, score.aed_ours, score.aed_ours / score.aed_driving)
        lips = (f"{gap:.3f} mm" for gap in (score.closure_driving, score.closure_ours))
        table.add_row(score.emotion, *(f"{x:.4f}" for x in numbers), *lips)
    Console().print(table)
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
    backbone: Annotated[str, typer.Option(metavar="uv|lam-s", help="What these are made with.")] = "uv",
    as_json: Json = False,
) -> None:
    """Show seven emotions of avatars and of the open head to two recognisers, and count what they see.

    Invented people are judged twice: by a neutral photograph, and by one whose mood must first be taken out of it.
    """
    from emo_avatar.backbones.make import Backbone
    from emo_avatar.evaluation.held_out import ANYWHERE, RECORDED, cases
    from emo_avatar.evaluation.recognition import head_faces, people_faces, portrait_faces, recognise, total

    subjects: dict[str, Callable[[], Iterable[LabelledFace]]] = {"open head": head_faces}
    if portraits:
        subjects["captioned portraits"] = portrait_faces
    for path in avatars or []:
        subjects[str(path)] = partial(_faces_of, path)
    for protocol, photographed in ((RECORDED, "neutral"), (ANYWHERE, "in any mood")) if people else ():
        drawn = cases(people, 1, protocol=protocol)
        subjects[f"invented people photographed {photographed}"] = partial(people_faces, drawn, Backbone(backbone))
    with progress_bar("Recognising") as report:
        results = {}
        for i, (name, faces) in enumerate(subjects.items()):
            report(i / len(subjects), name)
            results[name] = recognise(faces())
    if avatars:
        results["all avatars"] = total(results[str(path)] for path in avatars or [])
    if as_json:
        print_json({name: [r.to_json() for r in outcome] for name, outcome in results.items()})
        return
    for name, outcome in results.items():
        for result in outcome:
            _print_confusion(name, result)


def _faces_of(path: Path) -> Iterable[LabelledFace]:
    from emo_avatar.avatar.files import load_avatar
    from emo_avatar.evaluation.recognition import avatar_faces

    return avatar_faces(load_avatar(path))


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
        bool | None, typer.Option("--learned/--analytic", help="With the trained network or without it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Build avatars of photographs and compare: PSNR, SSIM, LPIPS inside the matte, identity, holes."""
    from emo_avatar.backbones.uv import build_avatar
    from emo_avatar.backbones.uv.learned import chosen_network
    from emo_avatar.evaluation.portrait import score_portrait, standard_portraits
    from emo_avatar.head.data import load_head
    from emo_avatar.tracking.portrait import track_portrait

    subjects = {str(path): path for path in photos} if photos else standard_portraits()
    head = load_head()
    rows = {}
    with progress_bar("Evaluating") as report:
        for i, (name, photo) in enumerate(subjects.items()):
            report(i / len(subjects), name)
            tracked = track_portrait(photo, head)
            avatar = build_avatar(tracked, head, name=name, network=chosen_network(head, learned))
            rows[name] = {"landmark_error": tracked.landmark_error, **score_portrait(avatar).numbers()}
    if as_json:
        print_json(rows)
        return
    table = Table(Column("", no_wrap=True), *rows, box=None)
    for metric in next(iter(rows.values())):
        table.add_row(metric.replace("_", " "), *(f"{row[metric]:.3f}" for row in rows.values()))
    Console().print(table)


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
Markdown = Annotated[bool, typer.Option("--markdown", help="Print tables for a document.")]


@app.command()
def reenactment(
    people: People = 12,
    instants: Instants = 2,
    backbone: BackboneNames = ["uv"],  # noqa: B006
    protocol: ProtocolName = "recorded",
    as_json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Drive avatars of held-out people by their own and by others' performances, without and with emotion."""
    from emo_avatar.evaluation.tables import cross_reenactment, self_reenactment, with_and_without

    tables = {"self-reenactment": self_reenactment, "cross-reenactment": cross_reenactment}
    _judge(tables, with_and_without(backbone), people, instants, protocol, as_json, markdown)


@app.command()
def transfer(
    people: People = 12,
    instants: Instants = 2,
    backbone: BackboneNames = ["uv"],  # noqa: B006
    protocol: ProtocolName = "recorded",
    as_json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Show held-out people's neutral speech under each emotion, and compare with the truth."""
    from emo_avatar.evaluation.tables import emotion_transfer, with_and_without

    _judge(
        {"emotion transfer": emotion_transfer},
        with_and_without(backbone),
        people,
        instants,
        protocol,
        as_json,
        markdown,
    )


@app.command()
def ablation(
    people: People = 12,
    instants: Instants = 2,
    backbone: BackboneNames = ["uv"],  # noqa: B006
    protocol: ProtocolName = "recorded",
    as_json: Json = False,
    markdown: Markdown = False,
) -> None:
    """The same with one of the two paths of emotion left out."""
    from emo_avatar.evaluation.tables import ablations, emotion_transfer

    _judge({"emotion transfer": emotion_transfer}, ablations(backbone), people, instants, protocol, as_json, markdown)


@app.command()
def interpolation(
    avatars: Annotated[list[Path], typer.Argument(metavar="A.emoavatar...", help="Avatars to judge.")],
    as_json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Walk avatars from one emotion over another to a third: evenly, recognisably, and as the same person."""
    from emo_avatar.avatar.files import load_avatar
    from emo_avatar.evaluation.interpolation import interpolate, rows
    from emo_avatar.evaluation.tables import markdown_table

    reports = []
    with progress_bar("Walking") as report:
        for i, path in enumerate(avatars):
            report(i / len(avatars), path.name)
            reports += interpolate(load_avatar(path))
    if as_json:
        print_json([report.to_json() for report in reports])
    elif markdown:
        print(markdown_table(*rows(reports)))
    else:
        _print(*rows(reports))


def _judge(
    titles: Mapping[str, Callable[[Case, Case], Iterable[Demand]]],
    variants: list[Variant],
    people: int,
    instants: int,
    protocol: str,
    as_json: bool,
    markdown: bool,
) -> None:
    from emo_avatar.evaluation.held_out import PROTOCOLS, cases
    from emo_avatar.evaluation.tables import fill, markdown_table

    if protocol not in PROTOCOLS:
        raise UserError(f"There is no protocol {protocol!r}; choose one of {', '.join(PROTOCOLS)}.")
    with progress_bar("Judging") as report:
        report(0.0, "drawing people")
        judged = list(cases(people, instants, protocol=PROTOCOLS[protocol]))
        tables = fill(titles, variants, judged, report)
    if as_json:
        print_json([table.to_json() for table in tables])
        return
    for table in tables:
        if markdown:
            print(markdown_table(*table.rows_of_text(best="**{}**")), end="\n\n")
        else:
            _print(*table.rows_of_text())


def _print(header: list[str], *rows: list[str]) -> None:
    table = Table(*header, box=None)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
