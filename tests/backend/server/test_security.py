import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from emo_avatar.server.security import guarded, host_name, is_loopback

TOKEN = "a token that nobody guesses"
app = Starlette(routes=[Route(path, lambda request: PlainTextResponse("in")) for path in ("/v1/hello", "/v1/status")])


def ask(bound_to, host, path="/v1/status", token=TOKEN):
    """Status and headers of an answer."""
    headers = [(b"host", host.encode("latin-1")), (b"authorization", f"Bearer {token}".encode("latin-1"))]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers}
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(guarded(app, TOKEN, bound_to)(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"])


@pytest.mark.parametrize(
    ("bound_to", "host", "welcome"),
    [
        ("127.0.0.1", "127.0.0.1:5000", True),
        ("127.0.0.1", "LOCALHOST:5000", True),
        ("127.0.0.1", "localhost.", True),
        ("127.0.0.1", "[::1]:5000", True),
        ("127.0.0.1", "192.168.1.2", False),
        ("127.0.0.1", "evil.example", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "127.0.0.1@evil.example", False),
        ("127.0.0.1", "", False),
        ("0.0.0.0", "192.168.1.2:80", True),
        ("0.0.0.0", socket.gethostname(), True),
        ("0.0.0.0", "evil.example", False),
        ("render.local", "render.local:443", True),
        ("render.local", "evil.example", False),
    ],
)
def test_hosts(bound_to, host, welcome):
    assert ask(bound_to, host)[0] == (200 if welcome else 403)


@pytest.mark.parametrize("token", ["", TOKEN[:-1], TOKEN + "x", "é", TOKEN.upper()])
def test_only_the_token_opens(token):
    status, headers = ask("127.0.0.1", "localhost", token=token)
    assert (status, headers[b"www-authenticate"]) == (401, b"Bearer")
    assert ask("127.0.0.1", "localhost", "/v1/hello", token)[0] == 200


@given(st.text(st.characters(codec="latin-1"), max_size=40))
def test_no_host_header_breaks_the_parser(header):
    name = host_name(header)
    assert "[" not in name
    assert name == name.lower()


def test_what_is_loopback():
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "render.local", "")))
