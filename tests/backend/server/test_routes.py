import hashlib
import io
import re
import time

import numpy as np
import pytest

from emo_avatar.emotion.apply import apply_emotions
from emo_avatar.head.data import load_head
from emo_avatar.motion.flame_sequence import FlameSequence


def test_hello_needs_no_token_and_everything_else_does(server):
    hello = server.ask("GET", "/v1/hello", Authorization=None)
    assert (hello.status, hello.json) == (200, {"service": "emo-avatar", "protocol": 1})
    assert server.ask("GET", "/v1/status").json["ready"] is True
    for token in (None, "Bearer wrong", "Basic " + server.token, "Bearer \xff"):
        assert (server.ask("GET", "/v1/status", Authorization=token)).status == 401


def test_a_strange_host_name_is_refused(server):
    refused = server.ask("GET", "/v1/hello", Host="evil.example:80")
    assert (refused.status, refused.code) == (403, "host")
    for host in ("localhost", f"127.0.0.1:{server.port}", "[::1]:1"):
        assert server.ask("GET", "/v1/hello", Host=host).status == 200


def test_emotions_are_those_of_the_library(server):
    rng = np.random.default_rng(0)
    weights = rng.random((30, 6), np.float32)
    drive = {
        "weights": weights,
        "expression": np.zeros((30, 100), np.float32),
        "jaw_pose": np.zeros((30, 3), np.float32),
    }
    answer = server.send("/v1/emotions", drive, {"fps": 24.0, "avatar": "open"})
    assert answer.status == 200
    expected = apply_emotions(load_head(), FlameSequence.still(30, 24.0), weights)
    assert np.abs(answer.arrays["expression"] - expected.expression).max() < 1e-4
    assert np.abs(answer.arrays["jaw_pose"] - expected.jaw_pose).max() < 1e-5
    assert np.abs(expected.expression).max() > 0.1


def test_an_avatar_is_known_by_its_bytes(server, avatar):
    data = server.ask("GET", f"/v1/avatars/{avatar['id']}/file").body
    assert hashlib.sha256(data).hexdigest() == avatar["id"]
    assert server.ask("PUT", f"/v1/avatars/{avatar['id']}", data).json["id"] == avatar["id"]
    other = hashlib.sha256(b"other").hexdigest()
    assert server.ask("PUT", f"/v1/avatars/{other}", data).code == "bad_request"
    assert server.ask("GET", f"/v1/avatars/{other}").code == "unknown_avatar"


def test_what_is_no_portrait_is_told_in_a_sentence(server):
    job = server.run_job("/v1/jobs/portrait", b"not a picture")
    assert (job["state"], job["error"]["code"]) == ("failed", "bad_input")
    assert "/" not in job["error"]["sentence"]


@pytest.mark.parametrize("path", ["/v2/status", "/v99999999999999/x"])
def test_another_protocol_is_told_apart(server, path):
    assert (server.ask("GET", path).status, server.ask("GET", path).code) == (404, "unknown_protocol")


def test_the_heartbeat_is_quick(server):
    times = []
    for _ in range(20):
        start = time.perf_counter()
        server.ask("GET", "/v1/status")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.1  # the others may have waited for another program


def test_the_documentation_needs_neither_token_nor_internet(server):
    page = server.ask("GET", "/docs", Authorization=None)
    assert page.status == 200
    links = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert links
    for link in links:
        assert link.startswith("/docs/static/")
        assert server.ask("GET", link, Authorization=None).status == 200
    description = server.ask("GET", "/openapi.json", Authorization=None).json
    routes = [route for methods in description["paths"].values() for route in methods.values()]
    assert len(routes) == 18
    assert all(route["description"].endswith(".") for route in routes)
    assert server.ask("GET", "/docs/static/../../../pyproject.toml", Authorization=None).status == 404


def test_the_log_shows_no_folder_of_this_computer(server):
    server.run_job("/v1/jobs/import?file_name=me.zip", b"PK\x03\x04 no zip")
    lines = server.ask("GET", "/v1/log").json["lines"]
    assert any("me.zip is not a readable zip" in line for line in lines)
    assert not [line for line in lines if str(server.temporary) in line]


def test_motion_is_resampled_and_says_so(server):
    stream = io.BytesIO()
    np.savez(stream, jaw_pose=np.zeros((30, 3), np.float32), fps=30.0, head="open")
    answer = server.ask("POST", "/v1/motion?file_name=talk.npz&fps=24", stream.getvalue())
    assert (answer.document["fps"], answer.document["source_fps"], answer.document["frames"]) == (24, 30, 24)
    assert answer.arrays["expression"].shape == (24, 100)
    broken = server.ask("POST", "/v1/motion?file_name=talk.npz", stream.getvalue()[:100])
    assert (broken.status, broken.code) == (400, "bad_input")
    assert "talk.npz" in broken.json["error"]["sentence"]
