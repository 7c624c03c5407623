"""A federation on the demo model as it is run for real: the commands, TLS, keys, SecAgg+, a process for each device.

    python benchmarks/federated_tls.py FOLDER [--devices 4] [--rounds 3] [--steps 5] [--noise 0]

FOLDER has devices/*.txt and held-out.jsonl as benchmarks/federated.py prepares them (its first run makes them); the
first so many devices take part, and perplexity is of the held-out text of the same ones. The model is `demo` of
POCKETSEEK_HOME. Needs the environment of `adapt federate setup` (or POCKETSEEK_FEDERATED_PYTHON), and torch here.
Devices reach the server through a relay of this script, which counts bytes: TLS, HTTP and asking for work included.
Tells seconds and bytes of each round, and perplexity before and after; ends in one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from pocketseek.adapt.data_file import read_data
from pocketseek.adapt.train import opened_run, tokens_of
from pocketseek.adapt.train_settings import TrainSettings
from pocketseek.adapt.train_tensors import initial_tensors
from pocketseek.package.manifest import read_manifest
from pocketseek.package.reader import Package
from pocketseek.settings import read_settings

RANK, RATE, BATCH, CONTEXT, CLIP_NORM = 4, 1e-3, 2, 128, 4.0
COMMAND = [sys.executable, "-m", "pocketseek", "adapt", "federate"]
LOCAL = "127.0.0.1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--devices", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--noise", type=float, default=0.0)
    arguments = parser.parse_args()
    work = arguments.folder.absolute() / "tls"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    texts = sorted((arguments.folder / "devices").glob("*.txt"))[: arguments.devices]
    held_out = (arguments.folder / "held-out.jsonl").read_text("utf-8").splitlines()[: arguments.devices]
    (work / "held-out.jsonl").write_text("".join(f"{line}\n" for line in held_out), "utf-8")
    before = base_perplexity(work / "held-out.jsonl")
    print(f"before: perplexity {before:.2f}", flush=True)
    names = [path.stem for path in texts]
    make_keys(work, names)
    rounds = federate(work, texts, arguments)
    report = [event for event in rounds if event["event"] == "round"]
    for one in report:
        print(
            f"round {one['number']}: {one['outcome']}, {one['num_learnt']} of {one['num_asked']} devices, "
            f"{one['seconds']:.0f} s, down {one['down_bytes'] / 1e6:.1f} MB, up {one['up_bytes'] / 1e6:.1f} MB "
            f"a device, perplexity {one['perplexity']:.2f}, norm {one['norm']:.3f}, {one['privacy']}",
            flush=True,
        )
    facts = {"devices": len(texts), "steps": arguments.steps, "tokens_per_step": BATCH * CONTEXT, "rank": RANK}
    print(json.dumps({**facts, "noise": arguments.noise, "perplexity_before": before, "rounds": report}))


def base_perplexity(held_out: Path) -> float:
    path = read_settings().models_dir / "demo"
    settings = TrainSettings(rank=RANK, steps=1, context=CONTEXT, num_threads=2)
    start = initial_tensors(read_manifest(path).model, RANK, settings.targets, 0)
    with Package.open(path) as package:
        sequences = tokens_of(package, read_data(held_out).examples, settings).sequences
        with opened_run(package, sequences, settings, start=start) as opened:
            return opened.run.validate(sequences).perplexity


def make_keys(work: Path, names: list[str]) -> None:
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    subprocess.run([*COMMAND, "keygen", str(work / "server"), "--host", LOCAL], **quiet)
    for name in names:
        keys = work / f"keys-{name}"
        subprocess.run([*COMMAND, "keygen", str(keys), "--device", name], **quiet)
        shutil.copy(keys / f"{name}.pub", work / "server" / "devices")
        shutil.copy(work / "server" / "ca.pem", keys)


def federate(work: Path, texts: list[Path], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Events of the server (a round's with seconds and bytes a device)."""
    with socket.socket() as free:
        free.bind((LOCAL, 0))
        port = free.getsockname()[1]
    relay = Relay(port)
    log = read_settings().federations_dir / "tls" / "rounds.log"
    shutil.rmtree(log.parent, ignore_errors=True)
    plan = {
        "--rounds": arguments.rounds,
        "--min-clients": len(texts),
        "--local-steps": arguments.steps,
        "--noise": arguments.noise,
        "--rank": RANK,
        "--lr": RATE,
        "--batch": BATCH,
        "--context": CONTEXT,
        "--clip-norm": CLIP_NORM,
        "--name": "tls",
    }
    where = ["--keys", str(work / "server"), "--port", str(port), "--validation", str(work / "held-out.jsonl")]
    options = [str(part) for pair in plan.items() for part in pair]
    server = subprocess.Popen(
        [*COMMAND, "server", "demo", *where, *options, "--fresh"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "POCKETSEEK_LANG": "en"},
    )
    assert server.stderr is not None
    devices: list[subprocess.Popen[bytes]] = []
    events: list[dict[str, Any]] = []
    last_s, last = time.monotonic(), Counter[str]()
    try:
        for line in server.stderr:
            print(f"    {line.rstrip()}", file=sys.stderr, flush=True)
            if line.startswith("listening"):
                devices = [take_part(work, path, relay.port) for path in texts]
            if line.startswith("waiting") or not line.startswith("round "):
                continue
            now_s, now = time.monotonic(), Counter(relay.num_bytes)
            ended = read_log(log)[-1]
            began_s = max(last_s, time.monotonic() - (time.time() - ended["began"]))
            bytes_each = {f"{way}_bytes": (now[way] - last[way]) / len(texts) for way in ("up", "down")}
            events.append({"event": "round", **ended, **bytes_each, "seconds": now_s - began_s})
            last_s, last = now_s, now
        if server.wait():
            raise SystemExit(f"the server ended with {server.returncode}")
    finally:
        for device in devices:
            device.terminate()
            device.wait()
        relay.close()
    return events


def read_log(log: Path) -> list[dict[str, Any]]:
    """Rounds that have ended."""
    found, began = [], 0.0
    for line in map(json.loads, log.read_text("utf-8").splitlines()):
        if line["event"] == "round-began":
            began = float(line["time"])
        if line["event"] == "round-ended":
            privacy = f"epsilon {line['epsilon_known']}"
            whole = {"number": line["round"], "num_learnt": line["learnt"], "num_asked": line["asked"]}
            norms = {"norm": float(line["norm"]), "perplexity": float(line["perplexity"])}
            found.append({**whole, **norms, "outcome": line["outcome"], "privacy": privacy, "began": began})
    return found


def take_part(work: Path, text: Path, port: int) -> subprocess.Popen[bytes]:
    keys = ["--keys", str(work / f"keys-{text.stem}"), "--server", f"{LOCAL}:{port}", "--no-idle"]
    return subprocess.Popen(
        [*COMMAND, "client", "demo", "--data", str(text), *keys],
        stderr=(work / f"{text.stem}.log").open("wb"),
        env={**os.environ, "POCKETSEEK_THREADS": "1"},
    )


class Relay:
    """From a port of its own to the server's; counts the bytes of both ways."""

    def __init__(self, server_port: int) -> None:
        self.num_bytes: Counter[str] = Counter()
        self._server_port = server_port
        self._listener = socket.create_server((LOCAL, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection((LOCAL, self._server_port))
                except OSError:  # the server has ended
                    near.close()
                    continue
                for way, source, sink in (("up", near, far), ("down", far, near)):
                    threading.Thread(target=self._pass_on, args=(way, source, sink), daemon=True).start()

    def _pass_on(self, way: str, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self.num_bytes[way] += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()


if __name__ == "__main__":
    main()
