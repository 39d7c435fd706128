"""Where package registries keep an archive, and how to transfer it so that it can be taken up again.

The registries are those the user's own package managers are set up for (mirror, credentials, certificate, file
index); their configuration is asked for, never guessed. Nothing that is downloaded here is ever installed or run.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit, urlunsplit

import truststore

TIMEOUT = 60.0  # seconds without a byte before a server counts as gone
CHUNK = 1 << 18  # bytes between two progress reports
SIMPLE_INDEX = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"  # PEP 691, or PEP 503 where that is unknown
BROKEN = (OSError, ValueError, HTTPException)  # what a connection can fail with
PAUSES = (1.0, 5.0)  # seconds before each further try where another may succeed
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # what a server answers that may answer otherwise in a moment

_T = TypeVar("_T")
Report = Callable[[int, int], None]  # bytes so far, bytes in all (0 when the server does not tell)


class TransferError(Exception):
    """An archive could not be found or transferred; the text says why."""


class _PassingError(TransferError):
    """One that may be gone in a moment."""


@dataclass(frozen=True)
class RemoteArchive:
    """An archive that a registry offers."""

    url: str
    hash_name: str  # algorithm of `digest` as hashlib calls it, or "" when the registry states none
    digest: bytes


def find_archive(registry: str, package: str, version: str, archive: str) -> RemoteArchive:
    """Ask ``registry`` ("pypi" or "npm") where it keeps ``archive``; raises TransferError when it does not."""
    try:
        return _find_on_npm(package, version) if registry == "npm" else _find_on_python_index(package, archive)
    except (ValueError, LookupError, TypeError) as error:
        raise TransferError("the index's answer cannot be understood") from error


def download(remote: RemoteArchive, path: Path, report: Report) -> None:
    """Transfer an archive to ``path``.

    What is there already of ``path`` is taken up where it ended if the server can do that. A transfer that breaks
    leaves its beginning for the next attempt; one whose bytes do not have the registry's digest leaves nothing.
    """
    resumed = path.exists()
    _transfer(remote.url, path, report)
    if resumed and not _has_digest(path, remote):  # the beginning may be that of another file: once more, from zero
        path.unlink()
        _transfer(remote.url, path, report)
    if not _has_digest(path, remote):
        path.unlink()
        raise TransferError("the archive's hash is not the one its registry states")


def _has_digest(path: Path, remote: RemoteArchive) -> bool:
    if not remote.hash_name:
        return True
    return file_digest(path, remote.hash_name) == remote.digest


def file_digest(path: Path, hash_name: str) -> bytes:
    """The digest of a file's bytes."""
    state = hashlib.new(hash_name)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            state.update(chunk)
    return state.digest()


def _persistently(attempt: Callable[[], _T]) -> _T:
    """What `attempt` returns: it gets further tries when it fails for a reason that may pass."""
    for pause in PAUSES:
        try:
            return attempt()
        except _PassingError:
            time.sleep(pause)
    return attempt()


def _transfer(url: str, path: Path, report: Report) -> None:
    _persistently(lambda: _transfer_once(url, path, report))


def _transfer_once(url: str, path: Path, report: Report) -> None:
    have = path.stat().st_size if path.exists() else 0
    try:
        with _open(url, {"Range": f"bytes={have}-"} if have else {}) as response:
            resumes = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            done = have if resumes else 0
            length = int(response.headers.get("Content-Length") or 0)
            total = done + length if length else 0
            with path.open("ab" if resumes else "wb") as file:
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    report(done, total)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # range not satisfiable: every byte is here already
            return
        raise _refusal("the server", error) from error
    except BROKEN as error:
        raise _PassingError(f"the transfer failed ({_reason(error)})") from error
    if total and done != total:
        raise _PassingError(f"the transfer ended after {done} of {total} bytes")


def _refusal(who: str, error: urllib.error.HTTPError) -> TransferError:
    kind = _PassingError if error.code in _PASSING else TransferError
    return kind(f"{who} answers {error.code} {error.reason}")


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error or type(error).__name__)


def _open(url: str, headers: dict[str, str]) -> HTTPResponse:
    """Open a URL through the user's proxy settings; a name and password in the URL become a header."""
    parts = urlsplit(url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    request = urllib.request.Request(bare, headers={"User-Agent": "emo-avatar", **headers})
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        token = base64.b64encode(login.encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")  # it is for this server and no other
    response: HTTPResponse = _opener().open(request, timeout=TIMEOUT)
    return response


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    """Trusts what the system trusts and goes through the environment's proxies; pip's settings come on top."""
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if certificate := _pip_settings().get("cert"):
        context.load_verify_locations(certificate)
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if proxy := _pip_settings().get("proxy"):
        handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    return urllib.request.build_opener(*handlers)


def _read(url: str, headers: dict[str, str]) -> tuple[str, str]:
    """A small document and its content type."""
    return _persistently(lambda: _read_once(url, headers))


def _read_once(url: str, headers: dict[str, str]) -> tuple[str, str]:
    try:
        with _open(url, headers) as response:
            return response.read().decode("utf-8"), response.headers.get("Content-Type", "")
    except urllib.error.HTTPError as error:
        raise _refusal("the index", error) from error
    except BROKEN as error:
        raise _PassingError(f"the index cannot be reached ({_reason(error)})") from error


# The Python package index, through its simple repository API


def _find_on_python_index(package: str, archive: str) -> RemoteArchive:
    problems = []
    for index in _python_indexes():
        page = f"{index.rstrip('/')}/{re.sub(r'[-_.]+', '-', package).lower()}/"
        if page.startswith("file:"):
            page += "index.html"  # a folder that is laid out like an index
        try:
            text, content_type = _read(page, {"Accept": SIMPLE_INDEX})
        except TransferError as error:
            problems.append(str(error))
            continue
        for url, digests in _links(text, content_type):
            if unquote(urlsplit(url).path).rpartition("/")[2] == archive:
                hash_name, digest = next(
                    ((k, v) for k, v in digests.items() if k in hashlib.algorithms_guaranteed), ("", "")
                )
                return RemoteArchive(urljoin(page, url), hash_name, bytes.fromhex(digest))
        problems.append("the index does not list it")
    raise TransferError(", ".join(dict.fromkeys(problems)))


def _links(text: str, content_type: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The archives of a project page, each with its digests by algorithm."""
    if "json" in content_type:
        for file in json.loads(text)["files"]:
            yield file["url"], file["hashes"]
        return
    parser = _LinkParser()
    parser.feed(text)
    for link in parser.links:
        url, fragment = urldefrag(link)
        name, equals, digest = fragment.partition("=")
        yield url, {name: digest} if equals else {}


class _LinkParser(HTMLParser):
    """Collects the targets of a page's anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]


def _python_indexes() -> list[str]:
    """The indexes that pip would look in, first one first."""
    settings = _pip_settings()
    main = settings.get("index-url") or _pip_default_index()
    return [main, *settings.get("extra-index-url", "").split()]


@functools.cache
def _pip_settings() -> dict[str, str]:
    """What pip's files and environment variables say; a command's own section and the environment win, as in pip."""
    settings: dict[str, str] = {}
    listing = _ask([sys.executable, "-m", "pip", "config", "list"]) or ""
    for section in ("global", "download", ":env:"):
        for name, value in re.findall(rf"^{section}\.([\w-]+)='(.*)'$", listing, flags=re.MULTILINE):
            settings[name] = value
    for name in ("index-url", "extra-index-url", "cert", "proxy"):  # the only way to say it where pip is not installed
        if value := os.environ.get("PIP_" + name.upper().replace("-", "_")):
            settings[name] = value
    return settings


@functools.cache
def _pip_default_index() -> str:
    """The index that pip uses when it is told nothing, as its help text states it."""
    text = _ask([sys.executable, "-m", "pip", "download", "--help"]) or ""
    stated = re.search(r"--index-url.*?\(default\s+(\S+?)\)", text, flags=re.DOTALL)
    if stated is None:
        raise TransferError("pip is not there to name its index, and PIP_INDEX_URL is not set")
    return stated.group(1)


# npm's registry


def _find_on_npm(package: str, version: str) -> RemoteArchive:
    page = f"{_npm_registry().rstrip('/')}/{quote(package, safe='@')}/{version}"
    text, _ = _read(page, {"Accept": "application/json"})
    dist = json.loads(text)["dist"]
    hash_name, _, digest = dist.get("integrity", "").partition("-")  # subresource integrity: "sha512-<base64>"
    return RemoteArchive(dist["tarball"], hash_name, base64.b64decode(digest))


@functools.cache
def _npm_registry() -> str:
    for variable in ("NPM_CONFIG_REGISTRY", "npm_config_registry"):
        if registry := os.environ.get(variable):
            return registry
    npm = shutil.which("npm")
    registry = _ask([npm, "config", "get", "registry"]) if npm else None
    if not registry:
        raise TransferError("npm is not there to name its registry, and NPM_CONFIG_REGISTRY is not set")
    return registry.strip()


def _ask(command: list[str]) -> str | None:
    """What a package manager prints; None when it is not installed or fails."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout
