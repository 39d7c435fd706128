"""One request after the other, against a small backend, healthy and not."""

import http.server
import io
import shutil
import ssl
import subprocess
import threading
import time

import numpy as np
import pytest
from emo_avatar_addon.errors import AddonError
from emo_avatar_addon.link import client as link
from emo_avatar_addon.link.client import BackendError, BackendLost, Client
from emo_avatar_addon.link.process import BackendProcess

PATIENCE = 60.0  # seconds


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Of all that is checked here only one thing is a deadline."""
    monkeypatch.setattr(link, "QUICK", PATIENCE)


@pytest.fixture
def backend(fake):
    """`backend(mode)` starts one and gives its client."""
    running = []

    def start(mode: str = "") -> Client:
        location = fake(mode)
        running.append(BackendProcess(location.command(), location.environment()))
        greeting = running[-1].greeting(PATIENCE)
        return Client(greeting.url, greeting.token)

    yield start
    for process in running:
        process.kill()


def test_hello_status_and_log(backend):
    client = backend()
    assert client.hello()["protocol"] == 1
    assert client.status()["version"] == "0.1.0"
    assert client.log() == ["one", "two"]


def test_follows_a_job_to_its_end(backend):
    client = backend()
    job = client.start_portrait(b"image", "Ann Ä & Co", refine=3)
    events = list(client.events(job))
    assert [event["state"] for event in events] == ["running"] * 5 + ["done"]
    assert events[-1]["result"] == {"id": "a"}


def test_cancel_ends_a_job(backend):
    client = backend("never done")
    states = []
    for event in client.events(client.start_import(b"zip", "Ann", "ann.zip")):
        states.append(event["state"])
        if len(states) == 1:
            client.cancel("1")
    assert set(states[:-1]) == {"running"} and states[-1] == "cancelled"


def test_a_stream_that_breaks_off_is_lost(backend):
    client = backend("breaks off")
    with pytest.raises(BackendLost):
        list(client.events("1"))


def test_a_file_comes_piece_by_piece(backend):
    out = io.BytesIO()
    backend().job_file("1", out)
    assert out.tell() == 3_000_000


def test_a_full_disk_is_not_taken_for_a_lost_backend(backend):
    class Full(io.RawIOBase):
        def write(self, block):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space") as raised:
        backend().job_file("1", Full())
    assert not isinstance(raised.value, AddonError)


def test_an_avatar_that_the_backend_lacks_is_sent(backend):
    client = backend("stateful")
    weights = {"weights": np.zeros((2, 6))}
    with pytest.raises(BackendError) as refused:
        client.emotions(weights, {"avatar": "a"})
    assert refused.value.code == "unknown_avatar" and refused.value.status == 404
    loaded = []

    def load():
        loaded.append("a")
        return b"file"

    for _ in range(2):
        assert client.emotions(weights, {"avatar": "a"}, files={"a": load})["expression"].shape == (2, 100)
    assert loaded == ["a"]


def test_a_connection_that_was_closed_meanwhile_is_opened_again(backend):
    client = backend("closes every time")
    for _ in range(5):
        assert client.status()["protocol"] == 1


def test_threads_have_connections_of_their_own(backend):
    client = backend()
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.extend(client.status()["version"] for _ in range(20))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["0.1.0"] * 160


def test_an_answer_has_a_deadline(backend, monkeypatch):
    client = backend("hangs")
    assert [client.status()["ready"] for _ in range(2)] == [False, True]
    monkeypatch.setattr(link, "QUICK", 0.3)
    begun = time.monotonic()
    with pytest.raises(BackendLost, match="in time"):
        client.status()
    assert time.monotonic() - begun < PATIENCE  # it would hang for ten minutes


@pytest.mark.parametrize("mode", ["closes in the middle", "answers garbage"])
def test_half_an_answer_is_none(backend, mode):
    with pytest.raises((BackendLost, BackendError)):
        backend(mode).status()


def test_an_answer_over_the_limit_is_refused(backend, monkeypatch):
    monkeypatch.setattr(link, "_MAX_JSON", 20)
    with pytest.raises(BackendLost, match="larger"):
        backend().status()


@pytest.mark.parametrize(
    "url", ["", "localhost", "ftp://a", "http://", "http://a:b", "http://a:99999", "http://u:p@a", "x"]
)
def test_a_bad_address_is_told(url):
    with pytest.raises(AddonError, match="not the address"):
        Client(url, "token")


@pytest.mark.parametrize("token", ["a b", "ä", "a\r\nHost: x"])
def test_a_bad_token_is_told(token):
    with pytest.raises(AddonError, match="token"):
        Client("http://127.0.0.1:1", token)


@pytest.fixture
def certificate(tmp_path):
    """A new certificate of this machine, signed by itself, and its key."""
    tool = shutil.which("openssl") or pytest.skip("openssl makes the certificate")
    paths = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    request += ["-addext", "subjectAltName=DNS:localhost", "-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run([tool, *request], check=True, capture_output=True)
    return paths


def test_https_is_spoken_and_its_certificate_checked(certificate, monkeypatch):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = b'{"service": "emo-avatar", "protocol": 1}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = Client(f"https://localhost:{server.server_address[1]}", "token")
    try:
        with pytest.raises(BackendLost, match="certificate is not trusted: self-signed certificate"):
            client.hello()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert client.hello()["service"] == "emo-avatar"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("http://127.0.0.1:1", True),
        ("http://localhost:1", True),
        ("http://[::1]:1", True),
        ("https://far.example", True),
        ("http://far.example", False),
        ("http://127.evil.example", False),
        ("http://192.168.1.2:1", False),
    ],
)
def test_what_others_can_read_is_told_apart(url, private):
    assert link.is_private(url) is private
