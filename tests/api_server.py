"""The real server on a free port of 127.0.0.1, in a thread, in front of the real engine on fake parts.

`Served` is what a test talks to. Its engine computes `logits`, and may be held before a pass by `before_run`.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from fakes import ASSISTANT_ID, EOS_ID, FakeExecutor, FakeTemplate, fake_engine, fake_logits

from pocketseek.apps.access_tokens import TokenStore
from pocketseek.apps.conversations import ConversationStore
from pocketseek.apps.model_pool import ModelPool, ServedModel
from pocketseek.apps.model_state import ModelState
from pocketseek.apps.model_updates import ModelUpdates
from pocketseek.apps.serve.private_files import PrivateFiles
from pocketseek.apps.serve.server import ApiServer, bind
from pocketseek.apps.serve.services import ServeOptions, Services
from pocketseek.apps.serve.voice.desk import VoiceDesk
from pocketseek.package.trust.audit import AuditLog
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.work import Logits, Work

MODEL = "fake"


@dataclass
class Served:
    """url: without a slash at the end."""

    url: str
    server: ApiServer
    services: Services
    executor: FakeExecutor
    thread: threading.Thread
    folder: Path
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.url, timeout=30)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def engine(self) -> Engine:
        return self.services.models.loaded_engines()[MODEL]

    def post(self, path: str, body: object, **keywords: object) -> httpx.Response:
        return self.client.post(path, json=body, **keywords)

    def chat(self, text: str = "Hello", **fields: object) -> httpx.Response:
        return self.post("/v1/chat/completions", {"messages": [{"role": "user", "content": text}], **fields})

    def stream(self, text: str = "Hello", **fields: object) -> list[dict[str, object]]:
        """The events of a streamed answer, without the last one."""
        with self.client.stream("POST", "/v1/chat/completions", json=chat_body(text, stream=True, **fields)) as reply:
            assert reply.status_code == 200, reply.read()
            lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line]
        return [json.loads(line) for line in lines if line != "[DONE]"]

    def open_socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def wait_until(self, is_so: Callable[[], bool], what: str) -> None:
        """Of something that happens in another thread, soon."""
        until_s = time.monotonic() + 30
        while not is_so():
            assert time.monotonic() < until_s, what
            time.sleep(0.002)


def answering(answer: bytes) -> Callable[[Sequence[int], int], Logits]:
    """Logits that make a greedy engine answer so, whatever the conversation is."""

    def logits(tokens: Sequence[int], vocab_size: int) -> Logits:
        begun = max(i for i, token in enumerate(tokens) if token == ASSISTANT_ID) + 1
        row = np.zeros(vocab_size, np.float32)
        row[[*answer, EOS_ID][min(len(tokens) - begun, len(answer))]] = 50.0
        return row

    return logits


def chat_body(text: str = "Hello", **fields: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}], **fields}


def raw_chat(body: object = None, headers: str = "") -> bytes:
    """A request as it goes over the wire."""
    data = json.dumps(body or chat_body()).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n{headers}\r\n"
    return head.encode() + data


@contextmanager
def serving(
    folder: Path,
    *,
    logits: Callable[[Sequence[int], int], Logits] = fake_logits,
    before_run: Callable[[Work], object] = lambda work: None,
    num_pages: int = 64,
    context_length: int = 1024,
    template: FakeTemplate | None = None,
    options: ServeOptions | None = None,
    tokens: TokenStore | None = None,
    open_engine: Callable[[ServedModel], Engine] | None = None,
    models: Sequence[ServedModel] = (ServedModel(MODEL, Path("nowhere")),),
    state_of: Callable[[ServedModel], ModelState | None] = lambda model: None,
    audit: AuditLog | None = None,
    voice: VoiceDesk | None = None,
    updates: ModelUpdates | None = None,
    adapters_of: Callable[[ServedModel], Sequence[ServedModel]] = lambda model: (),
) -> Iterator[Served]:
    executor = FakeExecutor(logits=logits, before_run=before_run, context_length=context_length)

    def open_model(model: ServedModel, memory_bytes: int | None) -> Engine:
        if open_engine is not None:
            return open_engine(model)
        return fake_engine(executor, num_pages=num_pages, template=template)

    folder.mkdir(parents=True, exist_ok=True)
    services = Services(
        ModelPool(models, open_model, adapters_of=adapters_of),
        tokens or TokenStore(folder / "tokens.json"),
        options or ServeOptions(),
        conversations=ConversationStore(folder / "conversations.db"),
        files=PrivateFiles(folder / "uploads"),
        state_of=state_of,
        audit=audit,
        voice=voice,
        updates=updates,
    )
    listener = bind("127.0.0.1", 0)
    server = ApiServer(services)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    served = Served(f"http://127.0.0.1:{listener.getsockname()[1]}", server, services, executor, thread, folder)
    try:
        served.wait_until(lambda: server.started, "the server does not start")
        yield served
    finally:
        served.client.close()
        server.stop()
        thread.join(60)
        listener.close()
        assert services.conversations is not None
        services.conversations.close()
        assert services.files is not None
        services.files.close()
        assert not thread.is_alive(), "the server does not end"
