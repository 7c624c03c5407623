"""Every kernel against the limits of the machine it runs on, for each instruction set.

    python benchmarks/kernel_table.py [--set avx512 ...] [--threads 2] [--format q4p ...] [--rows 1 8 256]

A line gives the time of one call, the bytes that it has to read from memory, its multiply-adds, both rates, and what is
possible: the longer of bytes / read bandwidth and multiply-adds / peak (int8 for quantised weights, else f32), as
measured in the same run by kernels/measure.py. `%` is possible time / time. Times are the best of many short sweeps;
with one thread they are processor time, so that on a busy machine `--threads 1` can still be trusted.

    matrices     one product of the 1.5B shape as the head does it (norm, quantise, multiply), all threads. The calls
                 go round a pool of matrices (`--pool-mb`) larger than the last-level cache: weights come from memory.
    attention    a decode row of the 1.5B shape: a layer whose matrices are next to nothing, with keys and values of
                 many sequences in turn, less the same layer without context; all threads
    latents      the same of latent attention in the V2-Lite shape
    embed        random rows of a q8s table; one thread
    others       rows of the 1.5B shape in cache, one thread. Only their arithmetic is counted (an exponential as 12
                 multiply-adds), so loads, stores and divisions explain what is missing.

Ends in a JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kernels.random_model import random_matrix, random_vector
from machine_limits import as_json, print_limits

from pocketseek.formats import FORMATS, tensor_bytes
from pocketseek.kernels import _native
from pocketseek.kernels.choose import choose_kernels, supported_sets
from pocketseek.kernels.contract import LAYER_MATRICES
from pocketseek.kernels.kv_memory import PAGE_TOKENS
from pocketseek.kernels.measure import MachineLimits, measure_limits
from pocketseek.shapes import MlaShape

HIDDEN, INTERMEDIATE, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY = 1536, 8960, 12, 2, 128, 151936
SHAPES = ((INTERMEDIATE, HIDDEN), (HIDDEN, INTERMEDIATE))
SWEEP_S = 3e-3  # within a time slice: some sweep is not interrupted, even on a busy machine
MOST_S = 0.5  # all sweeps of a kernel
EXP_MULTIPLY_ADDS = 12
LATENTS, LATENT_HEADS = MlaShape(rank=512, nope_dim=128, rope_dim=64, value_dim=128), 16
TINY = 16  # width of the layer whose attention is timed
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Line:
    """One kernel's figures; bytes: from memory."""

    kernel: str
    rows: int
    bytes: int
    multiply_adds: int
    seconds: float
    possible_s: float

    def __str__(self) -> str:
        return (
            f"{self.kernel:24}{self.rows:>5}{self.seconds * 1e6:>11.1f}"
            f"{self.bytes / 1e6:>9.2f}{self.multiply_adds / 1e6:>10.2f}"
            f"{self.bytes / self.seconds / 1e9:>8.1f}{self.multiply_adds / self.seconds / 1e9:>9.1f}"
            f"{self.possible_s * 1e6:>11.1f}{self.possible_s / self.seconds:>7.0%}"
        )


HEADING = f"{'kernel':24}{'rows':>5}{'us':>11}{'MB':>9}{'M m-a':>10}{'GB/s':>8}{'G m-a/s':>9}{'possible':>11}{'%':>7}"


class Bench:
    """Times calls on one instruction set and sets them against its limits."""

    def __init__(self, limits: MachineLimits, pool_bytes: int) -> None:
        self.name = limits.instruction_set
        self._limits = limits
        self._core = _native.Core(limits.instruction_set, limits.num_threads)
        self._pool = np.ones(pool_bytes + 64, np.uint8)
        self._rng = np.random.default_rng(1)
        clock = time.process_time if limits.num_threads == 1 else time.perf_counter
        self._best_time = partial(best_time, clock=clock)

    def line(
        self, kernel: str, rows: int, num_bytes: int, multiply_adds: int, seconds: float, *, int8: bool, threads: int
    ) -> Line:
        limits, share = self._limits, threads / self._limits.num_threads
        peak = limits.int8_multiply_adds_per_s if int8 else limits.f32_multiply_adds_per_s
        possible = max(num_bytes / limits.read_bandwidth_bytes_per_s, multiply_adds / peak) / share
        return Line(kernel, rows, num_bytes, multiply_adds, seconds, possible)

    # -- matrices -------------------------------------------------------------------------------------------------

    def matrices(self, format_name: str, shapes: tuple[tuple[int, int], ...], rows: list[int]) -> Iterator[Line]:
        for outputs, inputs in shapes:
            pool = cycle(self._matrices(format_name, outputs, inputs))
            shape = _native.ModelShape(inputs, TINY, 1, 1, TINY, 1e-6, "f16")
            norm, num_bytes = np.ones(inputs, np.float32), tensor_bytes(format_name, (outputs, inputs))
            for count in rows:
                hidden = self._rows(count, inputs)
                chosen, out = np.arange(count, dtype=np.int32), np.empty((count, outputs), np.float32)
                arguments = (hidden, chosen, out)
                products = (partial(self._core.head, shape, norm, matrix, *arguments) for matrix in pool)
                seconds = self._best_time(in_turn(products))
                yield self.line(
                    f"{format_name} {outputs}x{inputs}",
                    count,
                    num_bytes,
                    count * outputs * inputs,
                    seconds,
                    int8=FORMATS[format_name].quantised,
                    threads=self._limits.num_threads,
                )

    def _matrices(self, format_name: str, outputs: int, inputs: int) -> list[_native.Matrix]:
        """Copies of one random matrix that fill the pool."""
        one = random_matrix(self._rng, format_name, outputs, inputs).parts[0][1]
        start = -self._pool.ctypes.data % 64
        count = max(1, (len(self._pool) - 64) // len(one))
        copies = self._pool[start : start + count * len(one)].reshape(count, len(one))
        copies[:] = one
        return [_native.Matrix(format_name, outputs, inputs, [(0, copy)]) for copy in copies]

    # -- attention ------------------------------------------------------------------------------------------------

    def attention(self, contexts: tuple[int, ...]) -> Iterator[Line]:
        """Keys and values of a dense model."""
        shape = _native.ModelShape(TINY, TINY, HEADS, KV_HEADS, HEAD_DIM, 1e-6, "f16")
        widths = {"q": (HEADS * HEAD_DIM, TINY), "o": (TINY, HEADS * HEAD_DIM), "k": (KV_HEADS * HEAD_DIM, TINY)}
        matrices = dict.fromkeys(LAYER_MATRICES, (TINY, TINY)) | widths | {"v": widths["k"]}
        threads = min(KV_HEADS, self._limits.num_threads)
        for context, seconds in self._attention(shape, HEAD_DIM, matrices, {}, contexts):
            num_bytes, multiply_adds = context * KV_HEADS * HEAD_DIM * 2 * 2, context * HEADS * HEAD_DIM * 2
            yield self.line(
                f"attention at {context - 1}", 1, num_bytes, multiply_adds, seconds, int8=False, threads=threads
            )

    def latents(self, contexts: tuple[int, ...]) -> Iterator[Line]:
        """Latents of the V2-Lite shape; k_b and v_b are in the time without context."""
        mla, heads = LATENTS, LATENT_HEADS
        latent = _native.LatentShape(mla.rank, mla.nope_dim, mla.rope_dim, mla.value_dim, 0, 1.0)
        head_dim = mla.nope_dim + mla.rope_dim
        shape = _native.ModelShape(TINY, TINY, heads, 1, head_dim, 1e-6, "f16", latent)
        widths = {"q": (heads * head_dim, TINY), "kv_a": (mla.latent_dim, TINY), "o": (TINY, heads * mla.value_dim)}
        widths |= {"k_b": (heads * mla.rank, mla.nope_dim), "v_b": (heads * mla.value_dim, mla.rank)}
        matrices = dict.fromkeys(("gate", "up", "down"), (TINY, TINY)) | widths
        vectors = {"kv_a_norm": np.ones(mla.rank, np.float32)}
        for context, seconds in self._attention(shape, mla.rope_dim, matrices, vectors, contexts):
            num_bytes, multiply_adds = context * mla.latent_dim * 2, context * heads * (mla.latent_dim + mla.rank)
            threads = self._limits.num_threads
            yield self.line(
                f"latents at {context - 1}", 1, num_bytes, multiply_adds, seconds, int8=False, threads=threads
            )

    def _attention(
        self,
        shape: _native.ModelShape,
        rotated: int,
        matrices: Mapping[str, tuple[int, int]],
        vectors: Mapping[str, Floats],
        contexts: tuple[int, ...],
    ) -> Iterator[tuple[int, float]]:
        """Positions that a decode row sees, and how much longer it takes than one without context."""
        norm = np.ones(TINY, np.float32)
        entries: dict[str, object] = {"attn_norm": norm, "mlp_norm": norm, **vectors}
        for name, size in matrices.items():
            matrix = random_matrix(self._rng, "q8s" if name in ("k_b", "v_b") else "q4s", *size)
            entries[name] = _native.Matrix(matrix.format, *matrix.shape, list(matrix.parts))
        layer, bare = _native.Layer(shape, entries), 0.0
        for context in (0, *contexts):
            num_pages = context // PAGE_TOKENS + 1
            each = num_pages * shape.layer_bytes
            start, count = -self._pool.ctypes.data % 64, (len(self._pool) - 64) // each
            self._pool[start : start + count * each].view(np.float16)[:] = 0.1
            first = np.uint64(self._pool.ctypes.data + start)
            pages = first + np.arange(count * num_pages, dtype=np.uint64) * np.uint64(shape.layer_bytes)
            inv_freq = np.ones(rotated // 2, np.float32)
            ids = np.arange(count * num_pages).reshape(count, num_pages)[:5000].tolist()
            batches = cycle(
                [_native.Batch([(context, 1, part)], pages, shape.layer_bytes, inv_freq, 1.0) for part in ids]
            )
            hidden = self._rows(1, TINY)
            layers = (partial(self._core.layers, shape, [layer], 0, batch, hidden) for batch in batches)
            seconds = self._best_time(in_turn(layers))
            if context:
                yield context + 1, max(seconds - bare, 1e-9)
            else:
                bare = seconds

    # -- rows -----------------------------------------------------------------------------------------------------

    def rows(self, count: int) -> Iterator[Line]:
        """Norm, quantise, SwiGLU and rope on `count` rows in cache; embedding of as many tokens."""
        name, x, wide = self.name, self._rows(count, HIDDEN), self._rows(count, INTERMEDIATE)
        weight, out, gated = random_vector(self._rng, HIDDEN).vector(), np.empty_like(x), np.empty_like(wide)

        def line(kernel: str, values: int, per_value: int, call: Callable[[], object], num_bytes: int = 0) -> Line:
            return self.line(
                kernel, count, num_bytes, count * values * per_value, self._best_time(call), int8=False, threads=1
            )

        yield line("rms_norm 1536", HIDDEN, 3, lambda: _native.rms_norm(name, x, weight, 1e-6, out))
        for group, is_wide in ((32, False), (256, True)):
            quants = np.empty((count, INTERMEDIATE), np.int8)
            scales = np.empty((count, INTERMEDIATE // group), np.float32)
            yield line(
                f"quantise 8960 by {group}",
                INTERMEDIATE,
                3,
                partial(_native.quantise, name, wide, is_wide, quants, scales),
            )
        yield line("swiglu 8960", INTERMEDIATE, EXP_MULTIPLY_ADDS + 4, lambda: _native.swiglu(name, wide, wide, gated))
        heads = self._rows(count * (HEADS + KV_HEADS), HEAD_DIM)
        angles = np.ones((len(heads), HEAD_DIM // 2), np.float32)
        turned = (HEADS + KV_HEADS) * HEAD_DIM
        yield line(
            f"rope {HEADS + KV_HEADS}x{HEAD_DIM}", turned, 2, lambda: _native.rotate(name, heads, angles, angles)
        )
        num_tables = 8
        table = random_matrix(self._rng, "q8s", VOCABULARY // num_tables, HIDDEN)
        matrix = _native.Matrix("q8s", *table.shape, list(table.parts))
        ids = self._rng.permutation(table.shape[0])[:count].astype(np.int32)
        yield line("embed q8s 1536", HIDDEN, 1, lambda: self._core.embed(matrix, ids, x), count * HIDDEN * 17 // 16)

    def _rows(self, count: int, width: int) -> Floats:
        return self._rng.normal(0, 1, (count, width)).astype(np.float32)


def best_time(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Seconds per call, from the fastest sweep."""
    deadline = time.perf_counter() + MOST_S
    calls = max(1, round(SWEEP_S / min(sweep(call, 1, clock) for _ in range(3))))
    best = sweep(call, calls, clock)
    while time.perf_counter() < deadline:
        best = min(best, sweep(call, calls, clock))
    return best


def in_turn(calls: Iterator[Callable[[], object]]) -> Callable[[], object]:
    """A call that makes the next one of `calls`, each time another."""
    return lambda: next(calls)()


def sweep(call: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(calls):
        call()
    return (clock() - start) / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs="*", default=supported_sets())
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--format", nargs="*", default=list(FORMATS), choices=FORMATS)
    parser.add_argument("--rows", type=int, nargs="*", default=[1, 2, 4, 8, 16, 256])
    parser.add_argument("--pool-mb", type=int, default=640, help="matrices and KV pages that calls go round")
    args = parser.parse_args()
    pool_bytes, sets = args.pool_mb * 1024 * 1024, []
    for name in (choose_kernels(name).name for name in args.set):
        limits = measure_limits(name, args.threads, buffer_bytes=pool_bytes)
        print()
        print_limits(limits)
        print(HEADING)
        bench, lines = Bench(limits, pool_bytes), []
        for line in all_lines(bench, args.format, args.rows):
            print(line, flush=True)
            lines.append(vars(line))
        sets.append({"limits": as_json(limits), "kernels": lines})
    print(json.dumps({"benchmark": "kernel_table", "pool_mb": args.pool_mb, "sets": sets}))


def all_lines(bench: Bench, formats: list[str], rows: list[int]) -> Iterator[Line]:
    for format_name in formats:
        yield from bench.matrices(format_name, SHAPES, rows)
    for format_name in ("q6s", "q8s"):
        yield from bench.matrices(format_name, ((VOCABULARY, HIDDEN),), [1])
    yield from bench.attention((256, 4096))
    yield from bench.latents((256, 1024, 4096))
    for count in (1, 64):
        yield from bench.rows(count)


if __name__ == "__main__":
    main()
