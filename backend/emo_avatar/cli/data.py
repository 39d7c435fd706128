"""``emo-avatar data``: the synthetic, emotion-synchronised people that training learns from."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from emo_avatar.cli.boundary import progress_bar, say
from emo_avatar.cli.options import output

app = typer.Typer(help="Look at the synthetic training data, or write it to files.", no_args_is_help=True)


class Configuration(str, Enum):
    """What the data is for."""

    appearance = "appearance"
    geometry = "geometry"


ConfigurationOption = Annotated[
    Configuration, typer.Option(help="Many people in single frames, or fewer people in sequences at 30 fps.")
]
Seed = Annotated[int, typer.Option(min=0, help="The first person; those from 1000000 on are never trained on.")]
Pixels = Annotated[int, typer.Option(min=32, max=2048, help="Width and height of each picture.")]


@app.command()
def preview(
    out: Annotated[Path, typer.Option("-o", "--output", metavar="SHEET.png", help="The picture to write.")],
    configuration: ConfigurationOption = Configuration.appearance,
    seed: Seed = 0,
    people: Annotated[int, typer.Option(min=1, max=100, help="Rows of the appearance sheet.")] = 6,
    size: Pixels = 192,
) -> None:
    """Draw a contact sheet."""
    output(out, ".png")
    from emo_avatar.data.preview import appearance_sheet, geometry_sheet
    from emo_avatar.export.pictures import write_png

    with progress_bar("Drawing people") as report:
        if configuration is Configuration.appearance:
            picture = appearance_sheet(seed, people, size, report)
        else:
            picture = geometry_sheet(seed, size, report)
    write_png(out, picture)
    say(f"{out}: {picture.shape[1]} x {picture.shape[0]} px.")


@app.command()
def write(
    out: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The folder to write into.")],
    configuration: ConfigurationOption = Configuration.appearance,
    seed: Seed = 0,
    count: Annotated[int, typer.Option(min=1, max=10_000_000, help="Examples, or sequences' people.")] = 16,
    seconds: Annotated[float, typer.Option(min=0.2, max=60, help="Length of a sequence.")] = 2.0,
    size: Pixels = 256,
) -> None:
    """Write examples or sequences, with cameras, motion and emotions, a folder each.

    After an interruption the same command goes on with those that are missing.
    """
    from emo_avatar.data.disk import write_examples, write_sequences

    seeds = range(seed, seed + count)
    with progress_bar("Photographing") as report:
        if configuration is Configuration.appearance:
            kept = write_examples(out, seeds, size, report)
        else:
            kept = write_sequences(out, seeds, seconds, size, report)
    what = "examples" if configuration is Configuration.appearance else "people in seven emotions"
    say(f"{out}: {count} {what}." + (f" {kept} folders were there already." if kept else ""))
