"""A real backend process, spoken to as Blender does: by `http.client`."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from emo_avatar.assets import fetch
from emo_avatar.avatar.avatar import Avatar
from emo_avatar.avatar.files import save_avatar

DATA = Path(__file__).parents[2] / "data"
COMMAND = [sys.executable, "-m", "emo_avatar", "serve", "--device", "cpu"]


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return safetensors.numpy.load(self.body)

    @property
    def document(self) -> Any:
        length = int.from_bytes(self.body[:8], "little")
        return json.loads(json.loads(self.body[8 : 8 + length])["__metadata__"]["json"])

    @property
    def code(self) -> str:
        return self.json["error"]["code"]


class Server:
    """A backend process, with a temporary folder apart from those of all other programs, and one client of it."""

    def __init__(self, temporary: Path, *options: str, env: Mapping[str, str] | None = None, **popen: Any) -> None:
        settings: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        own = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
        self.temporary = temporary
        self.process = subprocess.Popen(
            [*COMMAND, *options], **(settings | popen | {"env": os.environ | (env or {}) | own})
        )
        assert self.process.stdout is not None
        self.first_line = json.loads(self.process.stdout.readline())
        self.port, self.token = self.first_line["port"], self.first_line["token"]

    def ask(
        self, method: str, path: str, body: bytes | None = None, timeout: float = 600.0, **headers: str | None
    ) -> Answer:
        """One request on a connection of its own; a header of None is left out."""
        sent = {"Authorization": f"Bearer {self.token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, {k: v for k, v in sent.items() if v is not None})
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read())
        finally:
            connection.close()

    def send(self, path: str, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Answer:
        return self.ask("POST", path, packed(arrays, document))

    def finish(self, job_id: str, timeout: float = 1200.0) -> dict[str, Any]:
        """The job once it has ended."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            job = self.ask("GET", f"/v1/jobs/{job_id}").json
            if job["state"] in ("done", "failed", "cancelled"):
                return job
            time.sleep(0.05)
        raise TimeoutError(job_id)

    def run_job(self, path: str, body: bytes) -> dict[str, Any]:
        answer = self.ask("POST", path, body)
        assert answer.status == 202, answer.body
        return self.finish(answer.json["job"])

    def wait_until_ready(self, timeout: float = 600.0) -> None:
        until = time.monotonic() + timeout
        while not (status := self.ask("GET", "/v1/status").json)["ready"]:
            assert status["failure"] is None and time.monotonic() < until, status
            time.sleep(0.05)

    def end(self) -> int:
        """Close its standard input; its exit code. It ends long before the limit, unless it waits for its work."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(60)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


def packed(arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> bytes:
    return safetensors.numpy.save(dict(arrays), metadata={"json": json.dumps(document)})


@pytest.fixture(scope="session")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The temporary folder of all servers."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def server(temporary: Path) -> Iterator[Server]:
    """One for all tests that leave it as it is."""
    running = Server(temporary)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.close()


@pytest.fixture
def start_server(temporary: Path) -> Iterator[Callable[..., Server]]:
    """Starts backends of a test's own."""
    started: list[Server] = []

    def start(*options: str, **popen: Any) -> Server:
        started.append(Server(temporary, *options, **popen))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="session")
def portrait() -> bytes:
    """A photograph of a face."""
    return fetch("astronaut.png").read_bytes()


@pytest.fixture(scope="session")
def lam_package() -> bytes:
    """The sample LAM package."""
    return (DATA / "lam_avatar_sample.zip").read_bytes()


@pytest.fixture(scope="session")
def avatar_file(painted_avatar: Avatar, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a small avatar."""
    path = tmp_path_factory.mktemp("avatar") / "painted.emoavatar"
    save_avatar(painted_avatar, path)
    return path.read_bytes()


@pytest.fixture(scope="session")
def avatar(server: Server, avatar_file: bytes) -> dict[str, Any]:
    """Description of that avatar, which the server holds."""
    answer = server.ask("PUT", f"/v1/avatars/{hashlib.sha256(avatar_file).hexdigest()}", avatar_file)
    assert answer.status == 200, answer.body
    return answer.json
