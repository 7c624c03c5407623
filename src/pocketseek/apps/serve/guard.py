"""What every request passes before anybody looks at it: size, address, origin, token.

- **Size** of headers and path: 431.
- **Host.** A page of a stranger may have a name that points at 127.0.0.1 (DNS rebinding); the browser then sends that
  name. Only localhost, addresses in numbers, and names that were allowed are served: 421.
- **Origin.** Browsers say from which page a request comes. Another page than our own is refused (403), with and without
  preflight, unless it was allowed; then it gets the CORS headers it needs, and the API (/v1/), but not the chats that
  are kept here. Programs send no origin.
- **Token.** See access.py. A WebSocket comes with a ticket instead (voice/tickets.py), which its handler looks at.

An address in numbers is no name, so nobody can make it point elsewhere.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pocketseek.apps.serve.access import PROTECTED, identify
from pocketseek.apps.serve.replies import RefusedError, error_reply
from pocketseek.apps.serve.services import Services

_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^:\[\]/]+?)\.?)(?::[0-9]*)?")
_HEADER_NAMES = re.compile(r"[A-Za-z0-9-]{1,64}(?: ?, ?[A-Za-z0-9-]{1,64}){0,63}")
_FOR_OTHER_PAGES = ("/v1/", "/health", "/openapi.json")
_MOST_HEADERS = 100
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Max-Age": "600",
}


class Guard:
    """Around the whole application."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services
        options = services.options
        self._hosts = {"localhost", *(host.lower() for host in options.allowed_hosts)}
        self._origins = {origin.lower().rstrip("/") for origin in options.allowed_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = ""
        try:
            self._check_size(scope)
            self._check_host(headers)
            origin = self._foreign_origin(headers, scope["path"])
            if origin and scope.get("method") == "OPTIONS":
                await Response(status_code=204, headers=_preflight(headers, origin))(scope, receive, send)
                return
            if _is_protected(scope["path"]) and scope["type"] == "http":
                needed = self._services.options.require_token
                scope.setdefault("state", {})["caller"] = identify(headers, self._services.tokens, required=needed)
        except RefusedError as error:
            if error.status == 401 and "authorization" in headers:
                self._services.refusals.see()
            reply = error_reply(error.status, error.message, code=error.code, headers=error.headers)
            await reply(scope, receive, _allowing(send, origin) if origin else send)
            return
        await self._app(scope, receive, _allowing(send, origin) if origin else send)

    def _check_size(self, scope: Scope) -> None:
        """Also of what came in one piece, which h11 does not mind."""
        num_bytes = sum(len(name) + len(value) for name, value in scope["headers"])
        num_bytes += len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if num_bytes > self._services.options.max_header_bytes or len(scope["headers"]) > _MOST_HEADERS:
            raise RefusedError(431, "the headers are too large; send fewer", code="headers_too_large")

    def _check_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        name = host_name(hosts[0]) if len(hosts) == 1 else ""
        if name not in self._hosts and not _is_address(name):
            message = f"{name[:80]!r} is not this server's name; use its address, or allow the name with --allow-host"
            raise RefusedError(421, message, code="wrong_host")

    def _foreign_origin(self, headers: Headers, path: str) -> str:
        """Another origin that was allowed; "" for none or our own. Raises RefusedError for others."""
        origin = headers.get("origin", "").lower()
        if not origin and headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            origin = "another site"
        if not origin or origin.partition("://")[2] == headers.get("host", "").lower():
            return ""
        if origin in self._origins and path.startswith(_FOR_OTHER_PAGES):
            return origin
        message = f"pages of {origin[:80]!r} may not use this server; allow them with --allow-origin"
        raise RefusedError(403, message, code="wrong_origin")


def host_name(host: str) -> str:
    """Without the port, brackets and a dot at the end; "" if it is no name at all."""
    match = _HOST.fullmatch(host.lower())
    return (match["address"] or match["name"]) if match else ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_protected(path: str) -> bool:
    return path.startswith(PROTECTED)


def _preflight(headers: Headers, origin: str) -> dict[str, str]:
    """Whatever headers the page asks for: clients send many of their own, and none of them grants anything."""
    wanted = headers.get("access-control-request-headers", "")
    allowed = wanted if _HEADER_NAMES.fullmatch(wanted) else "Authorization, Content-Type"
    return {**_PREFLIGHT, "Access-Control-Allow-Headers": allowed, **_cors(origin)}


def _cors(origin: str) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "Retry-After",
        "Vary": "Origin",
    }


def _allowing(send: Send, origin: str) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_cors(origin))
        await send(message)

    return with_headers
