"""One pass over a package with experts, all of it in memory: where the time goes, next to what the machine can do.

    python benchmarks/random_package.py LITE --shape deepseek-v2-lite --layers 4
    python benchmarks/sparse_pass.py LITE [--threads 2] [--set avx2] [--rows 1 8 256] [--context 64] [--repeats 15]

For each number of rows (one sequence, from position `--context` on, random tokens, logits of the last row) the whole
pass, and the same in steps: dense layers; attention, router and choice; experts; shared experts; the sum; head. Each
with its time, the weights that it reads (of chosen experts only) and its products' multiply-adds, both rates, and their
shares of what measure_limits finds in the same run. Times are the shortest for what was read. With one thread they are
processor time, so that on a busy machine `--threads 1` can still be trusted. Ends in a JSON line.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from machine_limits import BUFFER_MB, print_limits
from numpy.typing import NDArray

from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.contract import Floats, ModelKernels, RowSpan, TensorData
from pocketseek.kernels.kv_memory import PAGE_TOKENS, KvMemory
from pocketseek.kernels.measure import MachineLimits, measure_limits
from pocketseek.package.layer_tensors import EXPERT_MATRICES, layer_tensors
from pocketseek.package.reader import Package
from pocketseek.runtime.work import pages_for

WHOLE, STEPS = "whole pass", ("dense layers", "attend and route", "experts", "shared experts", "end", "head")


@dataclass
class Part:
    """Of one pass."""

    seconds: float = 0.0
    num_bytes: int = 0
    multiply_adds: int = 0


class Model:
    """Layers twice: whole, and without experts for the steps. All views of the package's map."""

    def __init__(self, package: Package, kernels: ModelKernels, num_pages: int, clock: Callable[[], float]) -> None:
        self.package, self.kernels, self._clock = package, kernels, clock
        self.config = package.manifest.model
        self._memory = KvMemory(self.config, num_pages)
        self._bytes = {t.name: sum(e.num_bytes for e in t.extents) for t in package.manifest.tensors}
        self._size = {t.name: int(np.prod(t.shape)) for t in package.manifest.tensors if len(t.shape) == 2}
        always = [self._always(index) for index in range(self.config.num_layers)]
        self._layers = [kernels.load_layer(tensors) for tensors in always]
        self._experts = [self._experts_of(index) for index in range(self.config.num_layers)]
        self._whole = [
            kernels.load_layer(
                tensors | {f"{e}.{name}": data for e, one in enumerate(experts) for name, data in one.items()}
            )
            for tensors, experts in zip(always, self._experts, strict=True)
        ]
        self._loaded = [[kernels.load_expert(one) for one in experts] for experts in self._experts]
        self._embed = kernels.load_matrix(self._tensor("embed.weight"))
        self._head_name = "embed.weight" if self.config.tied_embeddings else "head.weight"
        self._head = kernels.load_matrix(self._tensor(self._head_name))
        self._head_norm = self._tensor("head.norm").vector()
        self._inv_freq = self._tensor("rope.inv_freq").vector()
        for index in range(len(package.manifest.chunks)):  # all of the map is there before anything is timed
            package.chunk(index)[::4096].sum()

    def _tensor(self, name: str) -> TensorData:
        stored = self.package.tensor(name)
        return TensorData(stored.format, stored.shape, tuple((part.first_tile, part.data) for part in stored.parts))

    def _always(self, index: int) -> dict[str, TensorData]:
        return {name: self._tensor(f"layer.{index}.{name}") for name in layer_tensors(self.config, index)}

    def _experts_of(self, index: int) -> list[dict[str, TensorData]]:
        if self.config.moe is None or not self.config.has_experts(index):
            return []
        number = self.config.moe.num_experts
        return [{name: self._tensor(f"experts.{index}.{e}.{name}") for name in EXPERT_MATRICES} for e in range(number)]

    def run(self, token_ids: NDArray[np.int32], context: int) -> dict[str, Part]:
        """In steps, then whole. What was used last of the one are not the weights that the other begins with."""
        parts: dict[str, Part] = defaultdict(Part)
        count = len(token_ids)
        pages = tuple(range(pages_for(context + count)))
        rows = self.kernels.begin([RowSpan(context, count, pages)], self._inv_freq, self._memory)
        hidden = np.empty((count, self.config.hidden_size), np.float32)
        self.kernels.embed(self._embed, token_ids, hidden)
        for index in range(self.config.num_layers):
            self._layer_in_steps(parts, index, rows, hidden)
        self._timed(parts["head"], lambda: self._run_head(hidden))
        self._count(parts["head"], [self._head_name], 1)
        self.kernels.embed(self._embed, token_ids, hidden)
        whole = parts[WHOLE]
        self._timed(whole, lambda: self.kernels.layers(self._whole, 0, rows, hidden))
        self._timed(whole, lambda: self._run_head(hidden))
        whole.num_bytes = sum(parts[step].num_bytes for step in STEPS)
        whole.multiply_adds = sum(parts[step].multiply_adds for step in STEPS)
        return parts

    def _layer_in_steps(self, parts: dict[str, Part], index: int, rows: object, hidden: Floats) -> None:
        layer, kernels, count = self._layers[index], self.kernels, len(hidden)
        names = [
            f"layer.{index}.{name}" for name, shape in layer_tensors(self.config, index).items() if len(shape) == 2
        ]
        if not self._experts[index]:
            self._timed(parts["dense layers"], lambda: kernels.layers([layer], index, rows, hidden))
            self._count(parts["dense layers"], names, count)
            return
        start = self._clock()
        chosen = kernels.attend_and_route(layer, index, rows, hidden)
        parts["attend and route"].seconds += self._clock() - start
        experts, times = np.unique(chosen, return_counts=True)
        ready = {int(number): self._loaded[index][number] for number in experts}
        self._timed(parts["experts"], lambda: kernels.experts(ready))
        self._timed(parts["shared experts"], lambda: kernels.shared_experts(layer))
        self._timed(parts["end"], lambda: kernels.end_layer(hidden))
        for number, rows_of_it in zip(experts.tolist(), times.tolist(), strict=True):
            self._count(parts["experts"], [f"experts.{index}.{number}.{name}" for name in EXPERT_MATRICES], rows_of_it)
        shared = [name for name in names if ".shared_" in name]
        self._count(parts["shared experts"], shared, count)
        self._count(parts["attend and route"], [name for name in names if name not in shared], count)

    def _run_head(self, hidden: Floats) -> None:
        logits = np.empty((1, self.config.vocab_size), np.float32)
        self.kernels.head(self._head_norm, self._head, hidden, np.array([len(hidden) - 1], np.int32), logits)

    def _timed(self, part: Part, work: Callable[[], None]) -> None:
        start = self._clock()
        work()
        part.seconds += self._clock() - start

    def _count(self, part: Part, names: list[str], rows: int) -> None:
        part.num_bytes += sum(self._bytes[name] for name in names)
        part.multiply_adds += rows * sum(self._size[name] for name in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", default=None)
    parser.add_argument("--rows", type=int, nargs="*", default=[1, 8, 256])
    parser.add_argument("--context", type=int, default=PAGE_TOKENS)
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    limits = measure_limits(choose_kernels(args.set).name, args.threads, buffer_bytes=BUFFER_MB * 1024 * 1024)
    print_limits(limits)
    with Package.open(args.package) as package:
        kernels = choose_kernels(args.set).open(package.manifest.model, args.threads)
        clock = time.process_time if args.threads == 1 else time.perf_counter
        model = Model(package, kernels, pages_for(args.context + max(args.rows)), clock)
        results = [measure(model, rows, args.context, args.repeats, limits) for rows in args.rows]
    print(
        json.dumps(
            {"benchmark": "sparse_pass", "set": limits.instruction_set, "threads": args.threads, "results": results}
        )
    )


def measure(model: Model, rows: int, context: int, repeats: int, limits: MachineLimits) -> dict[str, object]:
    rng = np.random.default_rng(rows)
    tokens = [rng.integers(0, model.config.vocab_size, rows, dtype=np.int32) for _ in range(repeats)]
    runs = [model.run(ids, context) for ids in tokens]
    print(f"\n{rows} rows from position {context} on")
    print(f"{'':18}{'ms':>9}{'MB':>9}{'GB/s':>7}{'of read':>9}{'G m-a/s':>9}{'of peak':>9}")
    return {"rows": rows} | {name: _line(name, [run[name] for run in runs], limits) for name in (WHOLE, *STEPS)}


def _line(name: str, runs: list[Part], limits: MachineLimits) -> dict[str, float]:
    best = min(runs, key=lambda part: part.seconds / max(1, part.num_bytes))
    if not best.seconds:
        return {}
    bandwidth, rate = best.num_bytes / best.seconds, best.multiply_adds / best.seconds
    shares = bandwidth / limits.read_bandwidth_bytes_per_s, rate / limits.int8_multiply_adds_per_s
    print(
        f"{name:18}{best.seconds * 1e3:>9.2f}{best.num_bytes / 1e6:>9.1f}{bandwidth / 1e9:>7.1f}{shares[0]:>9.1%}"
        f"{rate / 1e9:>9.1f}{shares[1]:>9.1%}"
    )
    return {"ms": best.seconds * 1e3, "bytes": best.num_bytes, "share_read": shares[0], "share_peak": shares[1]}


if __name__ == "__main__":
    main()
