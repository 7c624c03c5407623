"""Leaving, waiting and ending: nothing is held longer than somebody wants it."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from api_server import Served, chat_body, raw_chat, serving
from fakes import EOS_ID, fake_logits

from pocketseek.apps.serve.server import bind
from pocketseek.apps.serve.services import ServeOptions
from pocketseek.errors import StorageError
from pocketseek.runtime.work import Work


class Gate:
    """Holds the engine before each pass until it is opened, or lets so many through."""

    def __init__(self) -> None:
        self.passes = threading.Semaphore(0)
        self.num_asked = 0
        self.is_open = False

    def __call__(self, work: Work) -> None:
        self.num_asked += 1
        if not self.is_open:
            assert self.passes.acquire(timeout=30)

    def let(self, count: int) -> None:
        for _ in range(count):
            self.passes.release()

    def open(self) -> None:
        self.is_open = True
        self.let(2)


def endless(tokens, vocab_size):
    row = fake_logits(tokens, vocab_size)
    row[EOS_ID] = -50.0
    return row


def begin(served: Served, **fields: object) -> socket.socket:
    connection = served.open_socket()
    connection.sendall(raw_chat(chat_body(**fields)))
    return connection


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_costs_one_more_pass_at_most(tmp_path: Path, stream: bool) -> None:
    gate = Gate()
    with serving(tmp_path, logits=endless, before_run=gate) as served:
        connection = begin(served, stream=stream, max_tokens=500)
        gate.let(5)
        served.wait_until(lambda: gate.num_asked == 6, "five passes are over and the sixth is held")
        connection.close()
        served.wait_until(lambda: served.services.admission.num_here == 0, "its place is free")
        gate.open()
        served.wait_until(lambda: served.engine.statistics().load.num_running == 0, "its request has ended")
        assert len(served.executor.works) <= 7


def test_a_client_that_leaves_while_it_waits_never_runs(tmp_path: Path) -> None:
    gate = Gate()
    with serving(tmp_path, logits=endless, before_run=gate, num_pages=2) as served:
        first = begin(served, max_tokens=20, stream=True)
        served.wait_until(lambda: gate.num_asked == 1, "the first runs")
        second = begin(served, max_tokens=20)
        served.wait_until(lambda: served.services.admission.num_here == 2, "the second waits")
        second.close()
        served.wait_until(lambda: served.services.admission.num_here == 1, "the second is gone")
        gate.open()
        first.recv(100)
        first.close()


def test_too_many_are_told_when_to_come_again(tmp_path: Path) -> None:
    gate = Gate()
    with (
        serving(tmp_path, before_run=gate, options=ServeOptions(max_requests=1)) as served,
        begin(served, stream=True) as connection,
    ):
        served.wait_until(lambda: served.services.admission.num_here == 1, "the first is in")
        reply = served.chat()
        assert reply.status_code == 429
        assert int(reply.headers["retry-after"]) >= 1
        gate.open()
        connection.recv(100)


def test_two_hundred_connections_with_eight_running_all_succeed(tmp_path: Path) -> None:
    with serving(tmp_path, logits=endless, num_pages=16) as served:  # two pages each at the end

        def ask(number: int) -> int:
            reply = served.chat(f"{number}", max_tokens=4, seed=number)
            return reply.json()["usage"]["completion_tokens"] if reply.status_code == 200 else -reply.status_code

        served.client = type(served.client)(base_url=served.url, timeout=60, limits=_many())
        with ThreadPoolExecutor(200) as clients:
            counts = list(clients.map(ask, range(200)))
        assert counts == [4] * 200
        assert served.services.admission.num_here == 0


def _many():
    import httpx

    return httpx.Limits(max_connections=200, max_keepalive_connections=200)


def test_asked_to_stop_running_answers_end_well(tmp_path: Path) -> None:
    gate = Gate()
    with (
        serving(tmp_path, logits=endless, before_run=gate) as served,
        begin(served, stream=True, max_tokens=5) as connection,
    ):
        gate.let(2)
        served.wait_until(lambda: gate.num_asked == 3, "it runs")
        served.server.stop()
        gate.open()
        served.thread.join(30)
        assert read_all(connection).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_an_answer_that_takes_too_long_ends_with_an_error_event(tmp_path: Path) -> None:
    gate = Gate()
    with (
        serving(tmp_path, logits=endless, before_run=gate, options=ServeOptions(shutdown_s=0.2)) as served,
        begin(served, stream=True, max_tokens=900) as connection,
    ):
        gate.let(2)
        served.wait_until(lambda: gate.num_asked == 3, "it runs")
        served.server.stop()
        served.wait_until(lambda: served.services.models.loaded_engines() == {}, "its time is over")
        gate.let(1)
        reply = read_all(connection)
        last = [line for line in reply.splitlines() if line.startswith(b"data: ")][-1]
        assert json.loads(last[6:])["error"]["type"] == "server_error"
        served.thread.join(30)


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    import signal

    gate = Gate()
    with (
        serving(tmp_path, logits=endless, before_run=gate) as served,
        begin(served, stream=True, max_tokens=900) as connection,
    ):
        gate.let(2)
        served.wait_until(lambda: gate.num_asked == 3, "it runs")
        served.server.handle_exit(signal.SIGINT, None)
        served.server.handle_exit(signal.SIGINT, None)
        served.wait_until(lambda: served.services.models.loaded_engines() == {}, "the models are closed")
        gate.let(1)
        served.thread.join(30)
        assert not served.thread.is_alive()
        connection.recv(10)


def test_a_port_that_is_taken_is_an_error_with_a_remedy() -> None:
    with bind("127.0.0.1", 0) as first, pytest.raises(StorageError, match="--port"):
        bind("127.0.0.1", first.getsockname()[1])


def read_all(connection: socket.socket) -> bytes:
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data
