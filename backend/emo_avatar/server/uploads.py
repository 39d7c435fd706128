"""Request bodies: into memory when small, into a private temporary folder when they are files; never beyond a limit."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from starlette.requests import Request
from starlette.types import Receive

from emo_avatar.server.refusals import Refusal

MB = 1 << 20
WRITTEN_AT_ONCE = 4 * MB
MAX_NAME = 100  # characters
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # which Windows opens instead of a file
DRAINED_BYTES, DRAINED_SECONDS = 1 << 30, 3.0


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, at most ``limit`` bytes of it."""
    return b"".join([chunk async for chunk in _chunks(request, limit)])


@dataclass(frozen=True)
class Upload:
    """A file that a client sent, alone in a folder of its own."""

    path: Path

    def discard(self) -> None:
        shutil.rmtree(self.path.parent, ignore_errors=True)


async def receive_file(request: Request, limit: int, folder: Path, name: str) -> Upload:
    """Write the body to a new file below ``folder``, named as the user knows it."""
    upload = Upload(Path(tempfile.mkdtemp(dir=folder)) / name)
    try:
        with upload.path.open("wb") as file:
            waiting, size = [], 0
            async for chunk in _chunks(request, limit):
                waiting.append(chunk)
                size += len(chunk)
                if size >= WRITTEN_AT_ONCE:
                    await asyncio.to_thread(file.write, b"".join(waiting))
                    waiting, size = [], 0
            await asyncio.to_thread(file.write, b"".join(waiting))
    except BaseException:
        upload.discard()
        raise
    return upload


def safe_file_name(name: str, default: str) -> str:
    """The last part of a file name from a client, without anything that a file system could trip over."""
    last = PurePosixPath(name.replace("\\", "/")).name
    kept = re.sub(r"[^\w .()+-]", "_", last)[-MAX_NAME:].strip(" .")
    if _DEVICE.match(kept):
        kept = f"_{kept}"
    return kept if re.search(r"[^\W_]", kept) else default


def safe_title(name: str, default: str) -> str:
    """A name for an avatar: one line, printable, not too long."""
    kept = "".join(c for c in name if c.isprintable()).strip()[:MAX_NAME]
    return kept or default


async def _chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large(limit)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise too_large(limit)
        yield chunk


async def drain(receive: Receive) -> None:
    """Read and forget a body that nobody wants, for a while, so that the client gets to read the answer."""

    async def forget() -> None:
        left = DRAINED_BYTES
        while left > 0:
            message = await receive()
            if message["type"] != "http.request" or not message.get("more_body"):
                return
            left -= len(message["body"])

    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(forget(), DRAINED_SECONDS)


def too_large(limit: int) -> Refusal:
    return Refusal("too_large", f"What was sent is larger than {limit // MB} MB, which is the most that is taken.")
