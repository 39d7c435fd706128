"""The life of the backend process: first line, log, the pipe that it lives by, and its end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from emo_avatar import __version__
from emo_avatar.errors import UserError
from emo_avatar.server import PROTOCOL
from emo_avatar.server.log import start_log

if TYPE_CHECKING:
    import torch

GRACE = 0.2  # seconds that open requests get when nobody is there any more to read their answers
# Seconds after which a thread that runs Python lets others have a turn. An answer needs some hundred turns; with
# Python's own 5 ms it takes two and a half times as long while an avatar is built.
SWITCH = 5e-4
IDLE_CONNECTION = 3600  # seconds that a connection is kept alive

_log = logging.getLogger(__name__)


def serve(
    host: str,
    port: int,
    choose_device: Callable[[], torch.device],
    token: str | None,
    avatar_folder: Path | None = None,
    standalone: bool = False,
) -> None:
    """Serve until told to end. Raises UserError when the address cannot be had.

    ``token`` None makes a new one, which the first line tells.
    """
    sys.setswitchinterval(SWITCH)
    first_line = _claim_standard_output()
    listener = _listen(host, port)
    known_token = token or secrets.token_urlsafe(32)
    line = {
        "emo_avatar": __version__,
        "protocol": PROTOCOL,
        "host": host,
        "port": listener.getsockname()[1],
        "token": known_token if token is None else None,
    }
    first_line(json.dumps(line))
    log = start_log(sys.stderr)

    # Only now, with the address told, what takes time to import.
    import uvicorn

    from emo_avatar.server.app import create_app
    from emo_avatar.server.backend import Backend
    from emo_avatar.server.engine import Engine
    from emo_avatar.server.folder import PrivateFolder, remove_left_behind
    from emo_avatar.server.security import guarded, is_loopback

    if not is_loopback(host):
        _log.warning("other computers can reach this backend without encryption; put an HTTPS proxy in front of it")
    remove_left_behind()
    folder = PrivateFolder()
    engine = Engine(choose_device)
    backend = Backend(engine, log, folder.path, avatar_folder)
    config = uvicorn.Config(
        guarded(create_app(backend), known_token, host),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_keep_alive=IDLE_CONNECTION,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)

    def end() -> None:
        server.should_exit = True
        backend.jobs.cancel_all()

    def end_now() -> None:
        folder.remove()
        os._exit(0)

    def wait_for_the_end() -> None:
        _wait_for_end_of_input()
        _log.info("standard input was closed: ending")
        end()
        time.sleep(GRACE)
        end_now()

    if not standalone:
        threading.Thread(target=wait_for_the_end, name="standard input", daemon=True).start()
    engine.start()
    _log.info("serving on port %d", line["port"])
    try:
        server.run(sockets=[listener])
    finally:
        end()
        end_now()  # threads that compute do not hear of the end, and must not hold it up


def _claim_standard_output() -> Callable[[str], None]:
    """Points everybody's standard output to standard error; returns what writes the one line to the true one."""
    sys.stdout.flush()
    true_output = os.dup(1)
    os.dup2(2, 1)

    def write(line: str) -> None:
        with contextlib.suppress(OSError), os.fdopen(true_output, "w", encoding="utf-8") as stream:
            stream.write(line + "\n")

    return write


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        if os.name == "posix":  # elsewhere it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
        return listener
    except OSError as error:
        raise UserError(f"The backend cannot listen on {host}, port {port}: {error.strerror or error}.") from error


def _wait_for_end_of_input() -> None:
    """Returns when the process at the other end of standard input is gone, or there is none."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
