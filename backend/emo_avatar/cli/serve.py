"""``emo-avatar serve``: the process that Blender talks to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from emo_avatar.cli.options import Device, DeviceOption, torch_device
from emo_avatar.errors import UserError

MIN_TOKEN = 16  # characters


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; any but loopback needs --token-env.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: one that is free.")] = 0,
    device: DeviceOption = Device.auto,
    token_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="Environment variable that holds the token.")
    ] = None,
    avatar_folder: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep avatars here, too, for backends started later.")
    ] = None,
    standalone: Annotated[bool, typer.Option("--standalone", help="Live on when standard input closes.")] = False,
) -> None:
    """Serve Blender: the first line on standard output tells address and token as JSON (see docs/protocol.md)."""
    from emo_avatar.server.process import serve as run
    from emo_avatar.server.security import is_loopback

    token = None if token_env is None else os.environ.get(token_env, "")
    if token is None and not is_loopback(host):
        raise UserError(f"Other computers can reach {host}: choose a token, and name its variable by --token-env.")
    if token is not None and len(token) < MIN_TOKEN:
        raise UserError(f"The environment variable {token_env} should hold a token of at least {MIN_TOKEN} characters.")
    run(host, port, lambda: torch_device(device), token, avatar_folder, standalone)
