"""How fast a package is pulled from a web server on this machine, next to copying and hashing it.

    python benchmarks/pull_speed.py demo [--connections 1 2 4 8] [--repeats 3]

The server is a process of its own that sends files with sendfile(2) and knows ranges. On loopback nothing waits for a
network, so this shows what pulling itself costs: receiving, hashing twice (segments and whole), writing and syncing.
Prints a table and ends in one JSON line. The page cache is warm for reading; every pull is synced to the disk.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pocketseek.apps.repository.open_source import Link
from pocketseek.apps.repository.pull import pull
from pocketseek.package.manifest import read_manifest
from pocketseek.package.store import ModelStore
from pocketseek.settings import NetworkSettings, read_settings


def serve(folder: Path, listener: socket.socket) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            file = folder / self.path.lstrip("/")
            if not file.is_file():
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            asked = self.headers["Range"]
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            size = file.stat().st_size
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(size - start))
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.end_headers()
            self.wfile.flush()
            with file.open("rb") as opened:
                self.connection.sendfile(opened, start)

    server = ThreadingHTTPServer(listener.getsockname()[:2], Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.serve_forever()


def copied_and_hashed(package: Path, target: Path) -> None:
    for path in (path for path in package.rglob("*") if path.is_file()):
        copy = target / path.relative_to(package)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        hashlib.sha256(copy.read_bytes()).hexdigest()


def seconds(work: Callable[[Path], object], repeats: int) -> list[float]:
    took = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(dir=read_settings().home) as folder:
            started_s = time.perf_counter()
            work(Path(folder))
            took.append(time.perf_counter() - started_s)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    package = ModelStore(read_settings().models_dir).resolve(arguments.model)
    num_bytes = read_manifest(package).num_bytes
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = multiprocessing.get_context("fork").Process(target=serve, args=(package, listener), daemon=True)
        server.start()
        times = {"copy and hash": seconds(lambda folder: copied_and_hashed(package, folder), arguments.repeats)}
        for number in arguments.connections:
            link = Link(NetworkSettings(), number)

            def pull_into(folder: Path, link: Link = link) -> None:
                pull(address, link, models_dir=folder, downloads_dir=folder)

            times[f"pull, {number} connections"] = seconds(pull_into, arguments.repeats)
        server.terminate()
    print(f"{num_bytes / 1e6:.1f} MB, median (lowest to highest) of {arguments.repeats}")
    for name, took in times.items():
        rate = num_bytes / 1e6 / statistics.median(took)
        print(f"{name:24} {statistics.median(took):7.2f} s ({min(took):.2f} to {max(took):.2f}) {rate:8.0f} MB/s")
    print(json.dumps({"num_bytes": num_bytes, "seconds": times}))


if __name__ == "__main__":
    main()
