import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from emo_avatar.server.log import FOLDER_PREFIX


def folders_of(server):
    return list(server.temporary.glob(f"{FOLDER_PREFIX}{server.process.pid}-*"))


def wait_until(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def own_server(start_server):
    return start_server()


def test_the_first_line_is_all_that_standard_output_gets(own_server):
    line = own_server.first_line
    assert (line["protocol"], line["host"]) == (1, "127.0.0.1")
    assert len(line["token"]) >= 32
    own_server.wait_until_ready()
    assert own_server.end() == 0
    assert own_server.process.stdout.read() == b""


def test_it_answers_before_it_is_ready(start_server):
    for _ in range(3):  # where others keep this process waiting, it may have become ready meanwhile
        status = start_server().ask("GET", "/v1/status").json
        assert status["protocol"] == 1
        assert status["failure"] is None
        if not status["ready"]:
            return
    pytest.fail("it was always ready at the first answer: it answers no sooner")


def test_it_ends_with_its_standard_input_and_leaves_nothing(own_server):
    own_server.ask("GET", "/v1/hello")
    assert folders_of(own_server)
    assert own_server.end() == 0
    assert not folders_of(own_server)


def test_it_ends_in_the_middle_of_a_job(own_server, portrait):
    own_server.wait_until_ready()
    job = own_server.ask("POST", "/v1/jobs/portrait?refine=5000", portrait).json["job"]  # takes minutes
    while own_server.ask("GET", f"/v1/jobs/{job}").json["state"] == "waiting":
        time.sleep(0.02)
    assert own_server.end() == 0
    assert not folders_of(own_server)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_the_next_one_clears_up_after_one_that_was_killed(own_server, start_server):
    own_server.ask("GET", "/v1/hello")
    (folder,) = folders_of(own_server)
    own_server.process.kill()
    own_server.process.wait()
    assert folder.exists()
    other = start_server()
    other.ask("GET", "/v1/status")
    assert not folder.exists()
    (living,) = folders_of(other)
    start_server().ask("GET", "/v1/status")
    assert living.exists()


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_a_termination_signal_ends_it(own_server):
    own_server.ask("GET", "/v1/hello")
    own_server.process.send_signal(signal.SIGTERM)
    own_server.process.wait(60)
    assert not folders_of(own_server)


def test_standalone_it_outlives_its_standard_input(start_server):
    server = start_server("--standalone", stdin=subprocess.DEVNULL)
    time.sleep(1.5)
    assert server.ask("GET", "/v1/status").status == 200


def test_a_token_of_one_s_own_is_not_told(start_server):
    token = "a token that is long enough"
    server = start_server("--token-env", "EMO_TEST_TOKEN", env={"EMO_TEST_TOKEN": token})
    assert server.token is None
    server.token = token
    assert server.ask("GET", "/v1/status").status == 200


def run(*options, **env):
    command = [sys.executable, "-m", "emo_avatar", "serve", *options]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, env=os.environ | env
    )


def test_other_computers_only_get_in_with_a_token():
    refused = run("--host", "0.0.0.0")
    assert refused.returncode == 2
    assert "--token-env" in refused.stderr
    assert "16 characters" in run("--host", "0.0.0.0", "--token-env", "EMO_SHORT", EMO_SHORT="short").stderr
    assert "Traceback" not in refused.stderr


def test_a_port_that_is_taken_is_told_in_a_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = run("--port", str(taken.getsockname()[1]))
    assert refused.returncode == 2
    assert "cannot listen" in refused.stderr
    assert refused.stdout == ""


def test_a_connection_is_kept_alive(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.connect()
    own_socket = connection.sock
    for _ in range(3):
        connection.request("GET", "/v1/status", headers={"Authorization": f"Bearer {server.token}"})
        response = connection.getresponse()
        assert json.loads(response.read())["ready"]
        assert connection.sock is own_socket
    connection.close()


@pytest.mark.parametrize("garbage", [b"\x00\xff" * 100, b"GET / HTTP/9\r\n\r\n", b"GET /v1/hello", b"{}\n", b""])
def test_garbage_on_the_line_leaves_it_standing(server, garbage):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as line:
        line.sendall(garbage)
        line.shutdown(socket.SHUT_WR)
        line.recv(1000)
    assert server.ask("GET", "/v1/hello").status == 200


def test_an_upload_that_breaks_off_leaves_nothing(server):
    (folder,) = folders_of(server)
    before = set(folder.iterdir())  # some of which may still be going
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as line:
        head = f"POST /v1/jobs/import HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.token}\r\n"
        line.sendall(head.encode() + b"Content-Length: 100000\r\n\r\n" + bytes(5000))
        wait_until(lambda: set(folder.iterdir()) - before)
    wait_until(lambda: not set(folder.iterdir()) - before)


linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of a running process are Linux's")


@contextlib.contextmanager
def limited(process, kind, amount):
    """A limit of a process, until the block ends."""
    import resource

    before = resource.prlimit(process.pid, kind)
    resource.prlimit(process.pid, kind, (amount, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, kind, before)


@linux
def test_a_full_disk_is_told_and_survived(own_server, avatar_file):
    import resource

    own_server.wait_until_ready()
    path = f"/v1/avatars/{hashlib.sha256(avatar_file).hexdigest()}"
    with limited(own_server.process, resource.RLIMIT_FSIZE, 20_000):
        answer = own_server.ask("PUT", path, avatar_file)
        assert (answer.status, answer.code) == (507, "no_space")
        job = own_server.run_job("/v1/jobs/import", bytes(10_000))
        assert job["state"] == "failed"
    assert own_server.ask("PUT", path, avatar_file).status == 200


@linux
def test_a_lack_of_memory_is_told_and_survived(own_server):
    import resource

    own_server.wait_until_ready()
    view = {"viewmat": np.eye(4, dtype=np.float32), "K": np.eye(3, dtype=np.float32)}
    document = {"width": 4096, "height": 4096, "avatars": []}
    size = int(Path(f"/proc/{own_server.process.pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    with limited(own_server.process, resource.RLIMIT_AS, size + (50 << 20)):
        answer = own_server.send("/v1/render", view, document)
        assert (answer.status, answer.code) == (507, "no_memory")
        assert own_server.ask("GET", "/v1/status").status == 200
    assert own_server.send("/v1/render", view, document).status == 200


def test_many_clients_are_served_at_once(server, avatar):
    """Several Blender windows, each with its own connection and pose."""
    answers = []

    def window(number):
        arrays = {"weights": np.full((20, 6), number / 10, np.float32)}
        arrays |= {"expression": np.zeros((20, 100), np.float32), "jaw_pose": np.zeros((20, 3), np.float32)}
        for _ in range(3):
            answers.append((number, server.send("/v1/emotions", arrays, {"fps": 24, "avatar": avatar["id"]})))

    threads = [threading.Thread(target=window, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for _, answer in answers} == {200}
    for number in range(8):
        first, *others = [answer.arrays["expression"] for n, answer in answers if n == number]
        assert all(np.array_equal(first, other) for other in others)
    assert not answers[0][1].arrays["expression"][0].any() or answers[0][0] > 0


@pytest.mark.parametrize(("path", "limit_mb"), [("/v1/render", 1), ("/v1/jobs/portrait", 64)])
def test_a_body_that_is_announced_too_large_is_not_even_read(server, path, limit_mb):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as line:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.token}\r\n"
        line.sendall(head.encode() + f"Content-Length: {(limit_mb << 20) + 1}\r\n\r\n".encode())
        answer = line.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_body_that_grows_too_large_is_stopped(server):
    def growing():
        for _ in range(40):
            yield bytes(1 << 16)

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", "/v1/render", growing(), {"Authorization": f"Bearer {server.token}"})
    response = connection.getresponse()
    assert response.status == 413
    assert json.loads(response.read())["error"]["code"] == "too_large"
    connection.close()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_backend_that_will_never_be_ready_says_why(start_server, portrait):
    server = start_server("--device", "cuda")
    wait_until(lambda: server.ask("GET", "/v1/status").json["failure"])
    status = server.ask("GET", "/v1/status").json
    assert not status["ready"]
    assert "no CUDA device" in status["failure"]["sentence"]
    assert server.ask("GET", f"/v1/avatars/{'0' * 64}").json["error"] == status["failure"]
    assert server.run_job("/v1/jobs/portrait", portrait)["error"] == status["failure"]


def test_it_can_be_bound_to_another_loopback(start_server):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = start_server("--host", "::1")
    connection = http.client.HTTPConnection("::1", server.port, timeout=60)
    connection.request("GET", "/v1/status", headers={"Authorization": f"Bearer {server.token}"})
    assert connection.getresponse().status == 200
    connection.close()
