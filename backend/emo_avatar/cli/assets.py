"""``emo-avatar assets``: the model files and test pictures that are fetched when needed."""

from __future__ import annotations

from typing import Annotated

import typer

from emo_avatar import assets
from emo_avatar.cli.boundary import print_json, say
from emo_avatar.cli.options import Json
from emo_avatar.errors import UserError

app = typer.Typer(help="Model files and test pictures, fetched once and verified.", no_args_is_help=True)

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Assets; all of them by default.")]


@app.command("list")
def list_assets(as_json: Json = False) -> None:
    """List all assets: size, licence, where they come from, whether they are cached."""
    listed = assets.catalogue().values()
    cached = {asset.name: assets.is_intact(asset) for asset in listed}
    if as_json:
        print_json([_as_json(asset, cached[asset.name]) for asset in listed])
        return
    width = max(len(asset.name) for asset in listed)
    for asset in listed:
        state = "cached" if cached[asset.name] else "-"
        packages = ", ".join(dict.fromkeys(archive.package for archive, _ in asset.sources))
        size = f"{asset.size / 1e6:.2f} MB"
        print(f"{asset.name:{width}}  {size:>9}  {asset.licence:13}  {state:6}  {asset.purpose} ({packages})")


def _as_json(asset: assets.Asset, cached: bool) -> dict[str, object]:
    return {
        "name": asset.name,
        "purpose": asset.purpose,
        "licence": asset.licence,
        "bytes": asset.size,
        "sha256": asset.sha256,
        "sources": [str(archive) for archive, _ in asset.sources],
        "cached": cached,
        "path": str(assets.cached_path(asset)),
    }


@app.command()
def fetch(names: Names = None) -> None:
    """Fetch assets, so that everything works offline afterwards."""
    for name in names or assets.catalogue():
        say(f"{name}: {assets.fetch(name)}")


@app.command()
def verify(names: Names = None) -> None:
    """Check the sha256 of the cached assets; exit code 2 when one is damaged, or named and not cached."""
    bad = []
    for name in names or assets.catalogue():
        asset = assets.find(name)
        cached = assets.cached_path(asset).exists()
        if cached and assets.is_intact(asset):
            say(f"{name}: intact")
        elif cached or names:
            bad.append(name)
    if bad:
        raise UserError(f"Not intact: {', '.join(bad)}; `emo-avatar assets fetch` replaces damaged files.")
