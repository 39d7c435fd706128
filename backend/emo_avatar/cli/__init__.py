"""The ``emo-avatar`` command line: a table of contents."""

from __future__ import annotations

from typing import Annotated

import typer

from emo_avatar.cli import assets, avatars, bench, data, demo, evaluate, head, motions, pictures, serve, train
from emo_avatar.cli.boundary import CommandLine
from emo_avatar.cli.options import show_version

app = typer.Typer(
    cls=CommandLine,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """One portrait photo in, an emotional 3D head avatar out."""


app.command("build")(avatars.build)
app.command("import")(avatars.import_avatar)
app.command("info")(avatars.info)

app.command("animate")(motions.animate)
app.command("export")(motions.export)

app.command("render")(pictures.render)
app.command("sheet")(pictures.sheet)

app.command("demo")(demo.demo)

app.command("serve")(serve.serve)

app.add_typer(head.app, name="head")
app.add_typer(assets.app, name="assets")
app.add_typer(data.app, name="data")
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(bench.app, name="bench")
