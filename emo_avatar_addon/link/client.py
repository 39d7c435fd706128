"""The backend's routes as methods. `docs/protocol.md` says what goes through each."""

import contextlib
import http.client
import ipaddress
import json
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from .. import safetensors
from ..errors import AddonError
from ..safetensors import Arrays

PROTOCOL = 1
QUICK, SLOW, TRANSFER = 5.0, 120.0, 900.0  # seconds: the heartbeat's routes, computing, carrying whole files
SILENCE = 15.0  # seconds without an event, of which one comes every two
ENDED = ("done", "failed", "cancelled")
_MAX_ANSWER = 2 << 30
_MAX_JSON = 16 << 20

AvatarFiles = Mapping[str, Callable[[], bytes]]  # how to get the .emoavatar of an id; called in the requesting thread


class BackendError(AddonError):
    """The backend refused. `code` is the protocol's, `report` its traceback when it was an accident, else ""."""

    def __init__(self, sentence: str, code: str = "internal", status: int = 500, report: str = "") -> None:
        super().__init__(sentence)
        self.code, self.status, self.report = code, status, report


class BackendLost(AddonError):
    """Nobody answers there, or not in time, or not to the end. Who tells the user says what to do, too."""


class BackendVersion(AddonError):
    """The backend there speaks another version of the protocol."""


class Client:
    """Talks to the backend at `url` (http or https). Safe to share between threads: each has a connection of its own.

    Every method may raise `BackendError` (it refused), `BackendLost` (it cannot be reached) or `AddonError`.
    """

    def __init__(self, url: str, token: str) -> None:
        parts = urllib.parse.urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.username:
            raise AddonError(f"{url!r} is not the address of a backend; one looks like http://127.0.0.1:40123.")
        if not token.isascii() or any(ord(character) <= 32 for character in token):
            raise AddonError("The token holds spaces or letters that no token has; copy it once more.")
        self.url = url
        self._token = token
        self._secure = parts.scheme == "https"
        self._address = (parts.hostname, port or (443 if self._secure else 80))
        self._prefix = parts.path.rstrip("/")
        self._local = threading.local()

    # --- the backend itself

    def hello(self) -> dict[str, Any]:
        """Who answers there. `BackendVersion` when it is a backend that this extension cannot talk to."""
        answer = self._json("GET", "/v1/hello", deadline=QUICK)
        if answer.get("service") != "emo-avatar":
            raise BackendError(f"What answers at {self.url} is not an Emo Avatar backend.", "not_a_backend", 200)
        check_protocol(answer.get("protocol"))
        return answer

    def status(self) -> dict[str, Any]:
        return self._json("GET", "/v1/status", deadline=QUICK)

    def log(self) -> list[str]:
        return [str(line) for line in self._json("GET", "/v1/log", deadline=QUICK).get("lines", [])]

    # --- jobs: each `start_...` returns the job's id

    def start_portrait(self, image: bytes, name: str, refine: int = 100, backbone: str = "uv") -> str:
        return self._start("portrait", image, {"name": name, "refine": refine, "backbone": backbone})

    def start_import(self, data: bytes, name: str, file_name: str) -> str:
        return self._start("import", data, {"name": name, "file_name": file_name})

    def start_export(
        self, kind: str, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any], files: AvatarFiles | None = None
    ) -> str:
        """`kind` is "ply", "mp4" or "png"; arrays and document are a *performance*."""
        body = safetensors.pack(arrays, document)
        return str(_with_files(self, files, lambda: self._start("export", body, {"kind": kind})))

    def job(self, job: str) -> dict[str, Any]:
        return self._json("GET", f"/v1/jobs/{_quote(job)}", deadline=QUICK)

    def cancel(self, job: str) -> None:
        self._json("DELETE", f"/v1/jobs/{_quote(job)}", deadline=QUICK)

    def events(self, job: str) -> Iterator[dict[str, Any]]:
        """The job whenever it changes and every two seconds; the last one's state is in `ENDED`."""
        with self._stream(f"/v1/jobs/{_quote(job)}/events", SILENCE) as response:
            while line := _broken_off(lambda: response.readline(_MAX_JSON)):
                event = _object(line)
                yield event
                if event.get("state") in ENDED:
                    return
        raise BackendLost("The backend broke off in the middle of the work.")

    def job_file(self, job: str, out: BinaryIO) -> None:
        """Write the file that an export has made into `out`, piece by piece."""
        with self._stream(f"/v1/jobs/{_quote(job)}/file", SLOW) as response:
            while block := _broken_off(lambda: response.read1(1 << 20)):
                out.write(block)  # its own OSError, a full disk, is not the backend's
            if response.length:
                raise BackendLost("The backend stopped in the middle of the file.")

    # --- avatars

    def avatar(self, avatar: str) -> dict[str, Any]:
        """The avatar's description. `BackendError` with code `unknown_avatar` when the backend does not hold it."""
        return self._json("GET", f"/v1/avatars/{_quote(avatar)}", deadline=SLOW)

    def put_avatar(self, avatar: str, data: bytes) -> dict[str, Any]:
        return self._json("PUT", f"/v1/avatars/{_quote(avatar)}", data, deadline=TRANSFER)

    def avatar_file(self, avatar: str) -> bytes:
        return self._bytes("GET", f"/v1/avatars/{_quote(avatar)}/file", deadline=TRANSFER)

    def head(self, avatar: str, files: AvatarFiles | None = None) -> tuple[Arrays, dict[str, Any]]:
        path = f"/v1/avatars/{_quote(avatar)}/head"
        return safetensors.unpack(_with_files(self, files, lambda: self._bytes("GET", path, deadline=SLOW)))

    def texture(self, avatar: str, size: int = 2048, files: AvatarFiles | None = None) -> bytes:
        """A PNG."""
        path = f"/v1/avatars/{_quote(avatar)}/texture?size={size}"
        return _with_files(self, files, lambda: self._bytes("GET", path, deadline=SLOW))

    # --- computing. `files` gives avatars that the backend may not hold: it is sent them, once, when it says so.

    def motion(
        self,
        data: bytes,
        file_name: str,
        avatar: str = "open",
        fps: float | None = None,
        files: AvatarFiles | None = None,
    ) -> tuple[Arrays, dict[str, Any]]:
        query = urllib.parse.urlencode(
            {"file_name": file_name, "avatar": avatar} | ({} if fps is None else {"fps": f"{fps:g}"})
        )
        path = f"/v1/motion?{query}"
        return safetensors.unpack(_with_files(self, files, lambda: self._bytes("POST", path, data, deadline=SLOW)))

    def emotions(
        self, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any], files: AvatarFiles | None = None
    ) -> Arrays:
        """A *drive* in, `expression [T, 100]` and `jaw_pose [T, 3]` out."""
        return self._tensors("/v1/emotions", arrays, document, files)[0]

    def render(
        self, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any], files: AvatarFiles | None = None
    ) -> Arrays:
        """A *view* in, `rgba [H, W, 4]` and, when asked for, `depth [H, W]` out."""
        return self._tensors("/v1/render", arrays, document, files)[0]

    def close(self) -> None:
        """Close this thread's connection; another request opens a new one."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    # --- underneath

    def _tensors(
        self, path: str, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any], files: AvatarFiles | None
    ) -> tuple[Arrays, dict[str, Any]]:
        body = safetensors.pack(arrays, document)
        return safetensors.unpack(_with_files(self, files, lambda: self._bytes("POST", path, body, deadline=SLOW)))

    def _start(self, kind: str, body: bytes, query: Mapping[str, object]) -> str:
        path = f"/v1/jobs/{kind}?{urllib.parse.urlencode(query)}"
        job = self._json("POST", path, body, deadline=TRANSFER).get("job")
        if not isinstance(job, str):
            raise BackendError("The backend answered without a job's name.", "bad_answer", 202)
        return job

    def _json(self, method: str, path: str, body: bytes = b"", *, deadline: float) -> dict[str, Any]:
        return _object(self._bytes(method, path, body, deadline=deadline, limit=_MAX_JSON))

    def _bytes(self, method: str, path: str, body: bytes = b"", *, deadline: float, limit: int = _MAX_ANSWER) -> bytes:
        """One request on this thread's kept connection, or on a new one when the kept one had been closed meanwhile."""
        end = time.monotonic() + deadline
        for _ in range(2):
            connection = getattr(self._local, "connection", None)
            kept = connection is not None
            if connection is None:
                connection = self._local.connection = self._connect(deadline)
            try:
                _set_timeout(connection, end)
                response = self._send(connection, method, path, body)
                data = _read(response, end, limit)
                if response.will_close:
                    self.close()
                if response.status >= 300:
                    raise _refusal(response.status, data)
                return data
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
                self.close()
                if not kept:
                    raise BackendLost(_lost_sentence(error)) from error
            except (OSError, http.client.HTTPException, BackendLost) as error:
                self.close()
                raise error if isinstance(error, BackendLost) else BackendLost(_lost_sentence(error)) from error
        raise BackendLost("The backend closes every connection.")

    @contextlib.contextmanager
    def _stream(self, path: str, silence: float) -> Iterator[http.client.HTTPResponse]:
        """An answer to read bit by bit, on a connection of its own, which no pause may be longer than `silence`."""
        connection = self._connect(silence)
        try:
            response = _broken_off(lambda: self._send(connection, "GET", path))
            if response.status != 200:
                raise _refusal(response.status, _read(response, time.monotonic() + QUICK, _MAX_JSON))
            yield response
        finally:
            connection.close()

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        host, port = self._address
        connection: http.client.HTTPConnection
        if self._secure:
            connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            connection.connect()
        except OSError as error:
            raise BackendLost(_lost_sentence(error)) from error
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _send(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b""
    ) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/octet-stream"}
        connection.request(method, self._prefix + path, body or None, headers)
        return connection.getresponse()


def is_private(url: str) -> bool:
    """Whether nobody in between can read what is said to `url`: it is encrypted, or does not leave this machine."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "https" or is_this_machine(url)


def is_this_machine(url: str) -> bool:
    host = urllib.parse.urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def check_protocol(protocol: object) -> None:
    """`BackendVersion` unless the backend speaks this extension's version of the protocol."""
    if protocol == PROTOCOL:
        return
    if not isinstance(protocol, int):
        raise BackendVersion("The backend does not say which version it is: set it up again.")
    age = "older" if protocol < PROTOCOL else "newer"
    remedy = "set it up again" if protocol < PROTOCOL else "update the extension"
    raise BackendVersion(f"The backend is {age} than this extension: {remedy}.")


def _broken_off(read: Callable[[], Any]) -> Any:
    """What `read` gives; that the connection breaks meanwhile is `BackendLost`."""
    try:
        return read()
    except (OSError, http.client.HTTPException) as error:
        raise BackendLost(_lost_sentence(error)) from error


def _with_files(client: Client, files: AvatarFiles | None, request: Callable[[], Any]) -> Any:
    """`request`; when the backend does not hold an avatar, those in `files` are uploaded and it is repeated."""
    try:
        return request()
    except BackendError as error:
        if error.code != "unknown_avatar" or not files:
            raise
    for avatar, load in files.items():
        try:
            client.avatar(avatar)
        except BackendError as error:
            if error.code != "unknown_avatar":
                raise
            client.put_avatar(avatar, load())
    return request()


def _read(response: http.client.HTTPResponse, end: float, limit: int) -> bytes:
    """The whole body, by `end` (monotonic seconds) and at most `limit` bytes."""
    blocks, size = [], 0
    if (response.length or 0) > limit:
        raise BackendLost("The backend's answer is larger than any that it should give.")
    while block := response.read1(1 << 20):
        blocks.append(block)
        size += len(block)
        if size > limit:
            raise BackendLost("The backend's answer is larger than any that it should give.")
        if time.monotonic() > end:
            raise BackendLost("The backend did not finish its answer in time.")
    if response.length:
        raise BackendLost("The backend stopped in the middle of its answer.")
    response.close()  # `read1` alone does not notice the end, without which there is no next request
    return b"".join(blocks)


def _set_timeout(connection: http.client.HTTPConnection, end: float) -> None:
    if connection.sock is not None:
        connection.sock.settimeout(max(end - time.monotonic(), 0.01))


def _object(data: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        answer = json.loads(data) if data.strip() else {}
        if isinstance(answer, dict):
            return answer
    raise BackendError("The backend answered something that is no message.", "bad_answer", 200)


def _refusal(status: int, data: bytes) -> BackendError:
    with contextlib.suppress(ValueError, RecursionError, KeyError, TypeError):
        error = json.loads(data)["error"]
        return BackendError(str(error["sentence"]), str(error["code"]), status, str(error.get("report", "")))
    return BackendError(f"The backend refused with status {status} and no reason.", "bad_answer", status)


def _lost_sentence(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "The backend does not answer in time."
    if isinstance(error, ConnectionRefusedError):
        return "No backend answers there."
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The backend's certificate is not trusted: {error.verify_message}."
    if isinstance(error, socket.gaierror):
        return "No machine of that name is known."
    return f"The connection to the backend broke off ({type(error).__name__})."


def _quote(part: str) -> str:
    return urllib.parse.quote(part, safe="")
