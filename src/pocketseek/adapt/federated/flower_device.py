"""A device's connection to a server: it asks for messages, answers them, and connects again when the line is lost.

One process with Flower's client for the Fleet API, in place of Flower's SuperNode and the programs that it starts: no
code is fetched from the server, so none of it can be run; what is done with a message is what flower_client.py says.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from flwr.app import Context, Error, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree
from flwr.supernode import fleet_http_connection

from pocketseek.adapt.federated.keys import ClientKeys
from pocketseek.errors import DownloadError

_MOST_REASON_CHARS = 200
Tell = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Server:
    """root_certificates: that its certificate is checked with; None: those that the system trusts. keys None: a key
    made for this connection, which only servers that take anybody accept; insecure: without TLS, on this machine."""

    address: str
    keys: ClientKeys | None = None
    root_certificates: Path | None = None
    insecure: bool = False


class LineLostError(Exception):
    """Flower's heartbeat was refused; it says so by an interrupt (SIGINT) to its own process."""


def take_part(
    server: Server,
    app: ClientApp,
    *,
    tell: Tell = lambda event, values: None,
    poll_s: float = 3.0,
    most_tries: int = 5,
    again_s: float = 15.0,
) -> None:
    """Until the process is told to end. Raises DownloadError if the server is out of reach most_tries times on end."""
    tries = 0
    while True:
        try:
            with _lost_by_interrupt(), _connected(server) as line:
                tries = 0
                tell("connected", {"node": str(line.node)})
                _answer_messages(line, app, tell, poll_s)
        except LineLostError:
            tell("lost", {})
        except DownloadError:
            tries += 1
            if tries >= most_tries:
                raise
            tell("unreachable", {"tries": tries})
        time.sleep(again_s)


@dataclass(frozen=True)
class _Line:
    node: int
    receive: Callable[[], Any]
    send: Callable[..., Any]
    pull_object: Callable[[int, str], bytes]
    push_object: Callable[[int, str, str, bytes], None]
    confirm: Callable[[int, str], None]


@contextmanager
def _connected(server: Server) -> Iterator[_Line]:
    """Errors of the line end it quietly, as Flower has it."""
    roots = None if server.root_certificates is None else str(server.root_certificates)
    keys = None if server.keys is None else (server.keys.private, server.keys.public)
    connection = fleet_http_connection.http_request_response(
        server.address, server.insecure, roots, keys, max_retries=2, max_wait_time=30.0
    )
    try:
        with connection as (node, receive, send, _run, _code, pull_object, push_object, confirm):
            yield _Line(node, receive, send, pull_object, push_object, confirm)
    except _UnreachableError as error:
        raise DownloadError(
            f"the server {server.address} cannot be reached or does not know this device ({error}); see that it runs, "
            "that its certificate is of the ca.pem that is here, and that this device's public key is among its keys"
        ) from error


class _UnreachableError(Exception):
    """What Flower would end the process for, within seconds and by force."""


def _raise_instead(code: int, message: str = "", *others: object, **options: object) -> NoReturn:
    raise _UnreachableError(
        " ".join(message.split()).removeprefix("Failed to initialize the connection to the SuperLink. ")
    )


fleet_http_connection.flwr_exit = _raise_instead  # Flower pins nothing else to that name; its version is pinned here


def _answer_messages(line: _Line, app: ClientApp, tell: Tell, poll_s: float) -> None:
    context = Context(run_id=0, node_id=line.node, node_config={}, state=RecordDict(), run_config={})
    while True:
        received = line.receive()
        if received is None:
            time.sleep(poll_s)
            continue
        header, tree = received
        run_id = header.metadata.run_id
        message = pull_and_inflate_object_from_tree(
            tree,
            lambda object_id, run_id=run_id: line.pull_object(run_id, object_id),
            lambda object_id, run_id=run_id: line.confirm(run_id, object_id),
            return_type=Message,
        )
        message.metadata.__dict__["_message_id"] = tree.object_id
        begun_s = time.monotonic()
        reply = _reply(app, message, context, tell)
        _bring(line, reply, run_id, time.monotonic() - begun_s)
        if not reply.has_error():
            tell("answered", {"kind": message.metadata.message_type, "seconds": time.monotonic() - begun_s})


def _reply(app: ClientApp, message: Message, context: Context, tell: Tell) -> Message:
    try:
        return app(message, context)
    except (LineLostError, KeyboardInterrupt):
        raise
    except Exception as error:  # noqa: BLE001  (a bad message must not end the device's service; the server is told)
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:_MOST_REASON_CHARS]
        tell("refused", {"reason": reason})
        return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)


def _bring(line: _Line, reply: Message, run_id: int, seconds: float) -> None:
    reply.metadata.__dict__["_message_id"] = reply.object_id
    with no_object_id_recompute():
        objects, tree = get_all_nested_objects(reply), get_object_tree(reply)
        wanted, session = line.send(remove_content_from_message(reply) if reply.has_content() else reply, tree, seconds)
        for part in iterate_object_tree(tree):  # the whole comes last: when it is there, all of it is
            if part.object_id in wanted:
                line.push_object(run_id, session, part.object_id, objects[part.object_id].deflate())


@contextmanager
def _lost_by_interrupt() -> Iterator[None]:
    def raise_it(number: int, frame: FrameType | None) -> None:
        raise LineLostError

    before = signal.signal(signal.SIGINT, raise_it)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
