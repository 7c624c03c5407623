"""What HTTP adds: time to first token and time per token through the API minus the engine's own, in one process.

    python benchmarks/http_overhead.py [--model demo] [--repeats 15] [--connections 200] [--running 8]

The same prompts are asked in turn directly and through a server on 127.0.0.1, after a warm-up; medians. The client is a
process of its own, as clients are. By default all cores compute, and what wakes up has to wait for one of them: with
--threads one fewer than there are cores it is seen what HTTP itself takes. Then many connections at once ask for a
short answer while --running of them are answered at a time: failures, percentiles of the whole time, and what the
process's memory grew by. Ends in one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import pocketseek
from pocketseek.apps.access_tokens import TokenStore
from pocketseek.apps.model_pool import ModelPool, ServedModel
from pocketseek.apps.serve.server import ApiServer, bind
from pocketseek.apps.serve.services import Services
from pocketseek.device.memory import process_memory
from pocketseek.types import Message, SamplingParams

PAUSE_S = 0.1  # so that both begin with idle cores
PROMPT = "Tell me a long story about a lighthouse."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--running", type=int, default=8, help="answers written at the same time")
    parser.add_argument("--threads", type=int, default=None)
    arguments = parser.parse_args()
    engine = pocketseek.load(
        arguments.model,
        num_threads=arguments.threads,
        max_sequences=arguments.running,
        speculation=False,
        prefix_store_bytes=0,
    )
    with TemporaryDirectory() as folder, engine:
        pool = ModelPool([ServedModel("model", Path("model"))], lambda model, memory_bytes: engine)
        server = ApiServer(Services(pool, TokenStore(Path(folder) / "tokens.json")))
        listener = bind("127.0.0.1", 0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        port = listener.getsockname()[1]
        figures = overhead(engine, port, arguments.repeats, arguments.tokens)
        figures |= asyncio.run(crowd(port, arguments.connections))
        server.stop()
        thread.join()
    for name, value in figures.items():
        print(f"{name:<32} {value:10.3f}")
    print(json.dumps({"benchmark": "http_overhead", "model": arguments.model, "threads": arguments.threads} | figures))


def overhead(engine: pocketseek.Engine, port: int, repeats: int, num_tokens: int) -> dict[str, float]:
    """Milliseconds. *_outside: without the time inside passes, whose length on a shared machine varies by more than
    HTTP takes."""
    runs: dict[str, list[tuple[float, float]]] = {"engine_first": [], "http_first": [], "engine": [], "http": []}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as client:

        def ask(kind: str, number: int, count: int) -> None:
            time.sleep(PAUSE_S)
            before_s = engine.statistics().executor_s
            if kind.startswith("http"):
                first_ms, token_ms = client.submit(ask_server, port, number, count).result()
            else:
                first_ms, token_ms = ask_engine(engine, number, count)
            passes_ms = (engine.statistics().executor_s - before_s) * 1e3
            total_ms = first_ms + token_ms * (count - 1)
            runs[kind].append((first_ms if count == 1 else token_ms, (total_ms - passes_ms) / count))

        for number in range(repeats + 2):
            for kind in runs:
                ask(kind, number, 1 if kind.endswith("first") else num_tokens)
    total, outside = (
        {kind: statistics.median(times[part] for times in values[2:]) for kind, values in runs.items()}
        for part in (0, 1)
    )
    return {
        "engine_first_token_ms": total["engine_first"],
        "http_first_token_ms": total["http_first"],
        "added_first_token_outside_ms": outside["http_first"] - outside["engine_first"],
        "engine_token_ms": total["engine"],
        "http_token_ms": total["http"],
        "added_token_outside_ms": outside["http"] - outside["engine"],
    }


def ask_engine(engine: pocketseek.Engine, number: int, num_tokens: int) -> tuple[float, float]:
    start_s = time.perf_counter()
    question = [Message("user", f"{number}. {PROMPT}")]
    events = engine.stream_text(question, max_tokens=num_tokens, sampling=SamplingParams(temperature=0.0))
    return times_of(start_s, [time.perf_counter() for event in events if event.text or event.reasoning])


def ask_server(port: int, number: int, num_tokens: int) -> tuple[float, float]:
    messages = [{"role": "user", "content": f"{number}. {PROMPT} "}]  # another end: nothing is in the cache
    body = {"messages": messages, "max_tokens": num_tokens, "temperature": 0, "stream": True}
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv(4096)  # connected and warm, as a client that keeps its connection
        start_s = time.perf_counter()
        connection.sendall(request(body))
        arrivals = []
        data = b""
        while b"[DONE]" not in data:
            data = connection.recv(65536)
            arrivals += [time.perf_counter()] * data.count(b'"delta":{"content"')
        return times_of(start_s, arrivals)


def times_of(start_s: float, arrivals: list[float]) -> tuple[float, float]:
    """Milliseconds to the first, and between the rest."""
    return (arrivals[0] - start_s) * 1e3, (arrivals[-1] - arrivals[0]) / max(1, len(arrivals) - 1) * 1e3


def request(body: object) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


async def crowd(port: int, num_connections: int) -> dict[str, float]:
    before = process_memory()
    peaks = [before.rss_bytes or 0]
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            peaks.append(process_memory().rss_bytes or 0)
            await asyncio.sleep(0.05)

    watching = asyncio.ensure_future(watch())
    start_s = time.perf_counter()
    times = await asyncio.gather(*(one_of_many(port, number) for number in range(num_connections)))
    done.set()
    await watching
    good = sorted(seconds for seconds, ok in times if ok)
    return {
        "crowd_connections": float(num_connections),
        "crowd_failed": float(num_connections - len(good)),
        "crowd_s": time.perf_counter() - start_s,
        "crowd_p50_s": good[len(good) // 2],
        "crowd_p99_s": good[min(len(good) - 1, int(len(good) * 0.99))],
        "crowd_memory_growth_mb": (max(peaks) - peaks[0]) / 1e6,
    }


async def one_of_many(port: int, number: int) -> tuple[float, bool]:
    start_s = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    messages = [{"role": "user", "content": f"Say the number {number}."}]
    writer.write(
        request({"messages": messages, "max_tokens": 16, "temperature": 0, "stream": True, "user": str(number)})
    )
    data = b""
    while piece := await reader.read(65536):
        data += piece
        if b"[DONE]" in data:
            break
    writer.close()
    return time.perf_counter() - start_s, b"[DONE]" in data


if __name__ == "__main__":
    main()
