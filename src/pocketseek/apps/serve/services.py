"""What the server's parts are given instead of globals: made once, before the first request."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import Request

from pocketseek.apps.model_pool import ModelPool


@dataclass(frozen=True)
class ServeOptions:
    """How the server behaves; the defaults are those of `pocketseek serve`.

    allowed_hosts: names besides localhost under which it may be addressed. allowed_origins: web pages of other
    addresses that may call it. require_token: also on this machine. max_requests: that run or wait, of all clients.
    write_timeout_s: how long a client may leave what was sent to it unread. header_timeout_s, body_timeout_s: how long
    a request may take to arrive. shutdown_s: how long running answers may take after the server was asked to stop.
    """

    host: str = "127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    require_token: bool = False
    max_requests: int = 256
    max_body_bytes: int = 8_000_000
    max_header_bytes: int = 32_768
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    write_timeout_s: float = 30.0
    shutdown_s: float = 30.0
    log_prompts: bool = False


@dataclass(frozen=True)
class Services:
    """All that a request may need."""

    models: ModelPool
    options: ServeOptions = field(default_factory=ServeOptions)


def services_of(request: Request) -> Services:
    services = request.app.state.services
    assert isinstance(services, Services)  # as `create_app` put it there
    return services
