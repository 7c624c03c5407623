"""What a slow core costs a pass: two threads on two cores, the second core shared with busy processes.

    python benchmarks/slow_core.py [--shape demo|1.5b] [--format q4p] [--rows 1] [--rivals 0 1 3] [--seconds 9]

For every number of busy processes three cases take turns, so that other load on the machine meets all of them: one
thread on the free core, one thread on the shared core, both. The ideal is the sum of the rates of the first two. The
table shows mean pass times in ms (and the fastest with both), and the share of tasks that the thread on the shared core
did. Without busy processes the distance to the ideal is what two cores share anyway, above all the memory.

A shared core is not slow all the time but gone for milliseconds (a slice of the scheduler), and a thread that is put
off in the middle of a piece holds the loop up for so long, however small the piece. native/selftest/pool.cpp has cores
that are slow without pauses. Ends in a JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kernels.random_model import RandomModel
from pass_time import SHAPES

from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.contract import RowSpan
from pocketseek.kernels.kv_memory import KvMemory
from pocketseek.kernels.native import NativeKernels

ROUNDS = 3


class Team:
    """Kernels whose thread i, the caller first, stays on cores[i]; and passes over them."""

    def __init__(self, model: RandomModel, cores: tuple[int, ...], rows: int) -> None:
        before = set(os.listdir("/proc/self/task"))
        kernels = choose_kernels().open(model.config, len(cores))
        assert isinstance(kernels, NativeKernels)
        self.kernels, self.cores, self.model, self.rows = kernels, cores, model, rows
        for worker in set(os.listdir("/proc/self/task")) - before:
            os.sched_setaffinity(int(worker), {cores[1]})
        self.table = kernels.load_matrix(model.head)
        self.layers = [kernels.load_layer(layer) for layer in model.layers]
        self.memory = KvMemory(model.config, -(-rows // 64))
        self.logits = np.empty((1, model.config.vocab_size), np.float32)
        self.times: list[float] = []

    def run_pass(self) -> None:
        span = RowSpan(0, self.rows, tuple(range(self.memory.num_pages)))
        state = self.kernels.begin([span], self.model.inv_freq, self.memory)
        hidden = np.empty((self.rows, self.model.config.hidden_size), np.float32)
        self.kernels.embed(self.table, np.zeros(self.rows, np.int32), hidden)
        self.kernels.layers(self.layers, 0, state, hidden)
        last = np.array([self.rows - 1], np.int32)
        self.kernels.head(self.model.head_norm, self.table, hidden, last, self.logits)

    def measure(self, seconds: float) -> None:
        os.sched_setaffinity(0, {self.cores[0]})
        self.run_pass()
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            self.run_pass()
            self.times.append(time.perf_counter() - start)


@contextlib.contextmanager
def busy_processes(number: int, core: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        for process in processes:
            os.sched_setaffinity(process.pid, {core})
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(open_team: Callable[[tuple[int, ...]], Team], cores: tuple[int, int], seconds: float) -> dict[str, float]:
    free, shared, both = (open_team(chosen) for chosen in (cores[:1], cores[1:], cores))
    for _ in range(ROUNDS):
        for team in (free, shared, both):
            team.measure(seconds / ROUNDS / 3)
    alone_ms, shared_ms, both_ms = (statistics.mean(team.times) * 1e3 for team in (free, shared, both))
    done = both.kernels.tasks_done()
    return {
        "free_ms": alone_ms,
        "shared_ms": shared_ms,
        "ideal_ms": 1 / (1 / alone_ms + 1 / shared_ms),
        "both_ms": both_ms,
        "fastest_ms": min(both.times) * 1e3,
        "shared_core_did": done[1] / sum(done),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="demo")
    parser.add_argument("--format", default="q4p")
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--rivals", type=int, nargs="*", default=[0, 1, 3])
    parser.add_argument("--seconds", type=float, default=9, help="for every number of busy processes")
    args = parser.parse_args()
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise SystemExit("two cores are needed")
    cores = (usable[0], usable[1])
    model = RandomModel(args.format, SHAPES[args.shape])
    results = []
    print(f"{args.shape} {args.format}, {args.rows} rows; cores {cores}, the second is shared; ms")
    print(f"{'rivals':>6} {'free':>8} {'shared':>8} {'ideal':>8} {'both':>8} {'fastest':>8} {'shared core did':>16}")
    for rivals in args.rivals:
        with busy_processes(rivals, cores[1]):
            result = measure(lambda chosen: Team(model, chosen, args.rows), cores, args.seconds)
        results.append({"rivals": rivals} | {name: round(value, 3) for name, value in result.items()})
        times = "".join(f"{value:>9.2f}" for value in list(result.values())[:-1])
        print(f"{rivals:>6}{times} {result['shared_core_did']:>15.0%}", flush=True)
    print(json.dumps({"benchmark": "slow_core", "shape": args.shape, "format": args.format, "results": results}))


if __name__ == "__main__":
    main()
