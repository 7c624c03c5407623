"""Time of one pass over the weights against the number of tokens in it, on random weights of a given shape.

    python benchmarks/pass_time.py [--shape 1.5b|demo] [--format q4s] [--threads 2] [--set avx512] [--context 0]

Prints a table (median and shortest ms; of the shortest: tokens/s, weight GB/s, multiply-adds/s, and their shares of
what the machine reads and multiplies at most, measured before and after in the same run) and ends in a JSON line. The
limits are the best of many short runs, so they are set against the best pass. Matrices and attention, one sequence;
logits for the last row only. f16 and f32 weights are set against the f32 peak. With one thread the times are processor
time, which other work on the machine disturbs little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kernels.random_model import RandomModel
from machine_limits import BUFFER_MB, as_json

from pocketseek.formats import FORMATS, tensor_bytes
from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.contract import RowSpan
from pocketseek.kernels.kv_memory import PAGE_TOKENS, KvMemory
from pocketseek.kernels.measure import measure_limits, measure_read_bandwidth
from pocketseek.types import ModelConfig

SHAPES = {
    "1.5b": ModelConfig("qwen2", 28, 1536, 8960, 12, 2, 128, 151936, 8192, 1e-6, 10000.0, qkv_bias=True),
    "demo": ModelConfig("llama", 30, 576, 1536, 9, 3, 64, 49152, 8192, 1e-5, 10000.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="1.5b")
    parser.add_argument("--format", default="q4s")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", default=None)
    parser.add_argument("--context", type=int, default=0, help="tokens already in the KV pages")
    parser.add_argument("--rows", type=int, nargs="*", default=[1, 2, 4, 8, 16, 64, 256])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()

    config = SHAPES[args.shape]
    kernels = choose_kernels(args.set).open(config, args.threads)
    model = RandomModel(args.format, config)
    table, layers = kernels.load_matrix(model.head), [kernels.load_layer(layer) for layer in model.layers]
    num_pages = -(-(args.context + max(args.rows)) // PAGE_TOKENS)
    memory = KvMemory(config, num_pages)
    for page in range(num_pages):
        memory.page(page)[:] = 0
    matrices = [t for layer in model.layers for t in layer.values() if len(t.shape) == 2] + [model.head]
    weight_bytes = sum(tensor_bytes(t.format, t.shape) for t in matrices)
    macs_per_token = sum(t.shape[0] * t.shape[1] for t in matrices[:-1])
    head_macs = model.head.shape[0] * model.head.shape[1]

    logits = np.empty((1, config.vocab_size), np.float32)
    clock = time.process_time if args.threads == 1 else time.perf_counter

    def run(rows: int) -> float:
        start = clock()
        spans = [RowSpan(args.context, rows, tuple(range(num_pages)))]
        state = kernels.begin(spans, model.inv_freq, memory)
        hidden = np.empty((rows, config.hidden_size), np.float32)
        kernels.embed(table, np.zeros(rows, np.int32), hidden)
        kernels.layers(layers, 0, state, hidden)
        kernels.head(model.head_norm, table, hidden, np.array([rows - 1], np.int32), logits)
        return clock() - start

    buffer_bytes = BUFFER_MB * 1024 * 1024
    limits = measure_limits(kernels.name, args.threads, buffer_bytes=buffer_bytes)
    run(1)
    times = {rows: [run(rows) for _ in range(args.repeats)] for rows in args.rows}
    bandwidth_after = measure_read_bandwidth(kernels.name, args.threads, buffer_bytes=buffer_bytes)
    limits = replace(limits, read_bandwidth_bytes_per_s=max(limits.read_bandwidth_bytes_per_s, bandwidth_after))
    quantised = FORMATS[args.format].quantised
    peak = limits.int8_multiply_adds_per_s if quantised else limits.f32_multiply_adds_per_s

    print(
        f"{args.shape} {args.format} on {kernels.name}, {args.threads} threads, {weight_bytes / 1e9:.2f} GB of weights"
    )
    print(
        f"limits: {limits.read_bandwidth_bytes_per_s / 1e9:.1f} GB/s, "
        f"{peak / 1e9:.0f} G {'int8' if quantised else 'f32'} multiply-adds/s"
    )
    print(
        f"{'rows':>5} {'median':>8} {'best ms':>8} {'tokens/s':>9} {'GB/s':>6} {'share':>6} {'G m-a/s':>8} {'share':>6}"
    )
    results = []
    for rows, seconds in times.items():
        best = min(seconds)
        bandwidth, rate = weight_bytes / best, (macs_per_token * rows + head_macs) / best
        result = {
            "rows": rows,
            "ms": round(statistics.median(seconds) * 1e3, 2),
            "best_ms": round(best * 1e3, 2),
            "tokens_per_s": round(rows / best, 1),
            "share_of_read_bandwidth": round(bandwidth / limits.read_bandwidth_bytes_per_s, 4),
            "share_of_peak": round(rate / peak, 4),
        }
        results.append(result)
        print(
            f"{rows:>5} {result['ms']:>8.1f} {result['best_ms']:>8.1f} {result['tokens_per_s']:>9.1f} "
            f"{bandwidth / 1e9:>6.1f} {result['share_of_read_bandwidth']:>6.1%} "
            f"{rate / 1e9:>8.0f} {result['share_of_peak']:>6.1%}"
        )
    print(
        json.dumps(
            {"benchmark": "pass_time", "shape": args.shape, "format": args.format, "limits": as_json(limits)}
            | {"results": results}
        )
    )


if __name__ == "__main__":
    main()
