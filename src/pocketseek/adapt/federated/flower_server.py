"""The server that devices connect to: Flower's Fleet API over TLS, and the rounds, in one process.

Flower's own SuperLink serves its Control API on the same port, where whoever reaches the port may start a run, which is
code that the server executes, and devices fetch the code that they run from it. Neither is here: this server offers the
Fleet routes alone, starts its one run itself, and sends numbers and a plan. Devices are known by their ECDSA keys; a
request that is not signed by one of them is refused, a body that is too large is not read.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from logging import WARNING
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, SUPERLINK_NODE_ID, Status
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.task_pb2 import TaskStatus
from flwr.server.superlink.linkstate import InMemoryLinkState, LinkStateFactory
from flwr.supercore import log
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID, NodeStatus, TaskType
from flwr.supercore.error import http_error_translator
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store import NoObjectInStoreError, ObjectStore, ObjectStoreFactory
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.translation import ProtobufTranslationMiddleware
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid.inmemory_grid import InMemoryGrid
from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware
from flwr.superlink.routers.fleet.router import router as fleet_router
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware

from pocketseek.adapt.federated.keys import ServerKeys, read_client_keys
from pocketseek.errors import FormatError, StorageError

MOST_BODY_BYTES = 32 << 20  # Flower sends arrays in parts of 20 MiB
_START_S = 30.0


class Fleet:
    """What is known about devices and messages. In memory: what has to survive is the federation's own state."""

    def __init__(self, keys_dir: Path | None) -> None:
        """keys_dir: with the keys of devices that may take part; None: any device may, for tests on one machine."""
        self._keys_dir = keys_dir
        self._names: dict[int, str] = {}
        self.factory = LinkStateFactory(FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), _OneStore())
        state = self.factory.state()
        assert isinstance(state, InMemoryLinkState)
        self.state = state
        self.run_id = state.create_run(
            "pocketseek/federated", "1", "", {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
        )
        (run,) = state.get_run_info(run_ids=[self.run_id])
        assert run.primary_task_id is not None
        state.task_store[run.primary_task_id].status.CopyFrom(TaskStatus(status=Status.RUNNING))
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = (
            run.primary_task_id,
            self.run_id,
            SUPERLINK_NODE_ID,
        )
        self.grid = FleetGrid(self)
        self.grid.set_run(run)
        self.take_up_keys()

    def take_up_keys(self) -> None:
        """Devices whose keys are new may connect from now on, those whose keys are gone may not any more. Raises
        FormatError for a file that is no key, and then nothing has changed."""
        if self._keys_dir is None:
            return
        state = self.state
        known = {one.public_key: one.node_id for one in state.nodes.values() if one.status != NodeStatus.UNREGISTERED}
        found = {public_key_to_bytes(key): name for name, key in read_client_keys(self._keys_dir).items()}
        for data in known.keys() - found.keys():
            node = state.nodes[known[data]]
            node.online_until = node.online_until or 0.0  # one that never came has none, which Flower stumbles over
            state.delete_node(NOOP_FLWR_AID, node.node_id)
            del state.node_public_key_to_node_id[data]  # it may come back
        for data in found.keys() - known.keys():
            number = state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, data, 0, name=found[data])
            self._names[number] = found[data]

    def name_of(self, node: int) -> str:
        return self._names.get(node) or f"node-{node}"


class _AtomicStore(InMemoryObjectStore):
    """Devices that say the same share what they say; Flower's store may lose it when one is done with it while another
    announces it, since it locks each part of a tree for itself."""

    def preregister(self, run_id: int, object_tree: ObjectTree) -> list[str]:
        with self.lock_store:
            return list(super().preregister(run_id, object_tree))

    def delete(self, object_id: str) -> None:
        with self.lock_store:
            super().delete(object_id)


class _OneStore(ObjectStoreFactory):
    def __init__(self) -> None:
        super().__init__()
        self._store = _AtomicStore()

    def store(self) -> ObjectStore:
        return self._store


class FleetGrid(InMemoryGrid):
    """Flower's grid in memory, for devices that fetch and bring the parts of messages through the Fleet API."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet.factory)
        self._fleet = fleet

    def get_node_ids(self) -> list[int]:
        try:
            self._fleet.take_up_keys()
        except FormatError as error:  # perhaps half a file, which is being copied: not the end of a federation
            log(WARNING, str(error))
        return sorted(super().get_node_ids())

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        run_id, state, ids = self._fleet.run_id, self._fleet.state, []
        for message in messages:
            with no_object_id_recompute():
                message.metadata.__dict__["_message_id"] = message.object_id
                session = state.start_session(run_id)
                objects = get_all_nested_objects(message)
                stored, missing = state.store_message_and_object_tree(
                    remove_content_from_message(message), get_object_tree(message), session
                )
                for object_id in missing:
                    state.store_object(run_id, session, object_id, objects[object_id].deflate())
            if stored:
                ids.append(message.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Replies that are there with all their parts."""
        complete = {one for one in message_ids if self._is_complete(one)}
        replies = self.state.get_message_res(message_ids=complete, run_id=self._fleet.run_id) if complete else []
        self.state.delete_messages(message_ins_ids={reply.metadata.reply_to_message_id for reply in replies})
        return [self._inflated(reply) for reply in replies]

    def _is_complete(self, message_id: str) -> bool:
        """True too of a message that has no reply: the state may know that there will be none."""
        state = self._fleet.state
        reply_id = state.message_ins_id_to_message_res_id.get(message_id)
        if reply_id is None:
            return True
        try:
            tree = state.object_store.get_object_tree(reply_id)
        except NoObjectInStoreError:
            return False
        return all(state.object_store.get(one.object_id) for one in iterate_object_tree(tree))

    def _inflated(self, reply: Message) -> Message:
        if reply.has_error() and not reply.metadata.message_id:
            return reply
        store = self._fleet.state.object_store
        try:
            tree = store.get_object_tree(reply.metadata.message_id)
        except NoObjectInStoreError:
            return reply
        contents = {one.object_id: store.get(one.object_id) or b"" for one in iterate_object_tree(tree)}
        store.delete(reply.metadata.message_id)
        message = inflate_object_from_contents(reply.metadata.message_id, contents)
        assert isinstance(message, Message)
        message.metadata.__dict__["_message_id"] = reply.metadata.message_id
        return message


def fleet_app(fleet: Fleet, *, only_known: bool) -> FastAPI:
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=[
            Middleware(_BodyLimit),
            Middleware(BaseHTTPMiddleware, dispatch=http_error_translator),
            Middleware(ProtobufTranslationMiddleware),
            Middleware(NodeAuthMiddleware),
        ],
    )
    app.state.linkstate_factory = fleet.factory
    app.state.enable_supernode_auth = only_known
    app.state.fleet_event_log_plugin = None
    app.include_router(fleet_router)
    return app


@contextmanager
def served(fleet: Fleet, host: str, port: int, keys: ServerKeys | None) -> Iterator[int]:
    """The port that it listens on. keys None: without TLS, and for any device: on this machine only."""
    config = uvicorn.Config(
        fleet_app(fleet, only_known=keys is not None),
        host=host,
        port=port,
        log_level="error",
        access_log=False,
        server_header=False,
        limit_concurrency=1024,
        ssl_certfile=None if keys is None else str(keys.certificate),
        ssl_keyfile=None if keys is None else str(keys.private_key),
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="fleet", daemon=True)
    thread.start()
    waited = threading.Event()
    for _ in range(int(_START_S * 20)):
        if server.started or not thread.is_alive():
            break
        waited.wait(0.05)
    if not server.started:
        raise StorageError(f"the server cannot listen on {host}:{port}; choose another --host or --port")
    try:
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(timeout=10)


Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class _BodyLimit:
    """Refuses bodies by the length that they announce, and those that announce none."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            length = dict(scope["headers"]).get(b"content-length", b"")
            if not length.isdigit() or len(length) > 12 or int(length) > MOST_BODY_BYTES:
                await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
                await send({"type": "http.response.body", "body": b""})
                return
        await self._app(scope, receive, send)
