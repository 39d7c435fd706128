"""Who may speak to the backend: the token, the Host header against DNS rebinding, and the protocol's version."""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from emo_avatar.server import PROTOCOL
from emo_avatar.server.refusals import Refusal
from emo_avatar.server.uploads import drain

OPEN_PATHS = ("/v1/hello", "/docs", "/openapi.json")


class Guard:
    """Lets a request through to the routes, or answers it itself."""

    def __init__(self, app: ASGIApp, token: str, hosts: Iterable[str], any_address: bool) -> None:
        """``hosts`` are names and addresses in lower case; ``any_address`` admits every numeric address."""
        self._app, self._token = app, token.encode()
        self._hosts, self._any_address = frozenset(hosts), any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        refusal = self._refusal(headers, path)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        await drain(receive)
        await JSONResponse(refusal.body, refusal.status, _challenge(refusal))(scope, receive, send)

    def _refusal(self, headers: Headers, path: str) -> Refusal | None:
        if not self._knows(headers.get("host", "")):
            return Refusal(
                "host", "The backend is not asked under its own name; use the address that it was started with."
            )
        if path in OPEN_PATHS or path.startswith("/docs/"):
            return None
        version = re.match(r"/v(\d+)/", path)
        if version and int(version[1][:6]) != PROTOCOL:
            sentence = f"This backend speaks protocol {PROTOCOL}; set it up again so that it fits the extension."
            return Refusal("unknown_protocol", sentence)
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token):
            return Refusal("token", "The token is missing or is not this backend's; check it in the preferences.")
        return None

    def _knows(self, host: str) -> bool:
        name = host_name(host)
        return name in self._hosts or (self._any_address and _is_address(name))


def guarded(app: ASGIApp, token: str, bound_to: str) -> Guard:
    """The app behind a guard that knows the names of a backend which is bound to ``bound_to``."""
    hosts = {"localhost", "127.0.0.1", "::1", bound_to.lower()}
    loopback = is_loopback(bound_to)
    if not loopback:
        hosts |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    # A numeric address needs no name server, which rebinding works by.
    return Guard(app, token, hosts, any_address=not loopback)


def host_name(header: str) -> str:
    """The name or address in a Host header, in lower case, without port and brackets."""
    match = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::\d*)?", header.strip())
    return (match[1] or match[2] or "").lower().rstrip(".") if match else ""


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach a server that is bound to ``host``."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _challenge(refusal: Refusal) -> dict[str, str]:
    return {"WWW-Authenticate": "Bearer"} if refusal.code == "token" else {}
