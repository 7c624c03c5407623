"""Where a server can be reached: its address told to a person, as a QR code too, or to a program."""

from __future__ import annotations

import ipaddress
import socket
import sys
from typing import TYPE_CHECKING

from pocketseek.cli.console import print_json, print_text
from pocketseek.cli.messages import Words
from pocketseek.cli.serve import serve_messages

if TYPE_CHECKING:
    from pocketseek.apps.model_pool import ModelPool
    from pocketseek.apps.serve.services import ServeOptions

_NOWHERE = "192.0.2.1"  # an address for documentation; nothing is sent to it


def announce(options: ServeOptions, port: int, pool: ModelPool, words: Words, *, qr: bool, json: bool) -> str:
    """Returns the address that it told."""
    names = [model.name for model in pool.models]
    url = url_of(reachable_address(options.host), port)
    if json:
        print_json({"url": url, "port": port, "models": names, "require_token": options.require_token})
        sys.stdout.flush()
        return url
    print_text(words(serve_messages.READY, url=url, models=", ".join(names)))
    if options.require_token:
        print_text(words(serve_messages.TOKEN))
    if qr:
        print_text(words(serve_messages.SCAN_HERE if is_loopback(options.host) else serve_messages.SCAN))
        _print_qr_code(url)
    print_text(words(serve_messages.STOP))
    sys.stdout.flush()
    return url


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url_of(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def reachable_address(host: str) -> str:
    """Under which others find us: for "all addresses", the one that this machine would use to talk to the world."""
    if host not in ("0.0.0.0", "::"):
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_NOWHERE, 9))  # chooses a route and sends nothing
            return str(probe.getsockname()[0])
        except OSError:  # no network
            return "127.0.0.1"


def _print_qr_code(url: str) -> None:
    import segno

    segno.make(url, micro=False).terminal(out=sys.stdout, compact=True)
