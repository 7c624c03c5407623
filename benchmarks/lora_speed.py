"""What adapters cost: passes with and without, in turn, on random weights of a given shape.

    python benchmarks/lora_speed.py [--shape 1.5b|demo] [--format q4p] [--rank 16] [--threads 2] [--set avx512]
                                    [--rows 1 8 64 256] [--repeats 15]

Adapters of all seven targets in every layer. A row of the table: so many sequences of one token each, all with one
adapter, and each with another one (decoding); or one prompt chunk of so many tokens ("chunk"). The ratio is the median
over the repeats of (with / without), measured one after the other, in alternating order, since the machine may be busy;
beside it stand the shortest times. Ends in a JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kernels.random_model import RandomModel
from kernels.test_adapters import random_adapter
from pass_time import SHAPES

from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.contract import RowSpan
from pocketseek.kernels.kv_memory import PAGE_TOKENS, KvMemory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="1.5b")
    parser.add_argument("--format", default="q4p")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", default=None)
    parser.add_argument("--rows", type=int, nargs="*", default=[1, 8, 64, 256])
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()

    config = SHAPES[args.shape]
    kernels = choose_kernels(args.set).open(config, args.threads)
    model = RandomModel(args.format, config)
    table, layers = kernels.load_matrix(model.head), [kernels.load_layer(layer) for layer in model.layers]
    num_pages = max(16, -(-max(args.rows) // PAGE_TOKENS))
    memory = KvMemory(config, num_pages)
    for page in range(num_pages):
        memory.page(page)[:] = 0
    start = time.perf_counter()
    adapters = [kernels.load_adapter(random_adapter(config, args.rank, seed, size=0.02)) for seed in range(8)]
    load_s = (time.perf_counter() - start) / len(adapters)  # making them included
    clock = time.process_time if args.threads == 1 else time.perf_counter

    def spans_of(kind: str, rows: int, num_adapters: int) -> list[RowSpan]:
        if kind == "chunk":
            pages = tuple(range(-(-rows // PAGE_TOKENS)))
            return [RowSpan(0, rows, pages, adapters[0] if num_adapters else None)]
        return [
            RowSpan(0, 1, (row % num_pages,), adapters[row % num_adapters] if num_adapters else None)
            for row in range(rows)
        ]

    def run(spans: list[RowSpan]) -> float:
        rows = sum(span.num_rows for span in spans)
        wanted = rows if len(spans) > 1 else 1
        hidden = np.empty((rows, config.hidden_size), np.float32)
        logits = np.empty((wanted, config.vocab_size), np.float32)
        start = clock()
        state = kernels.begin(spans, model.inv_freq, memory)
        kernels.embed(table, np.zeros(rows, np.int32), hidden)
        kernels.layers(layers, 0, state, hidden)
        kernels.head(model.head_norm, table, hidden, np.arange(rows - wanted, rows, dtype=np.int32), logits)
        return clock() - start

    results = []
    print(f"{args.shape} {args.format}, rank {args.rank}, {kernels.name}, {args.threads} threads; ms, shortest")
    print(f"{'rows':>12} {'adapters':>9} {'without':>9} {'with':>9} {'ratio':>7} {'quartiles':>15}")
    for rows in args.rows:
        kind = "decode" if rows <= 8 else "chunk"
        for num_adapters in (1, 8) if kind == "decode" and rows > 1 else (1,):
            plain, adapted = spans_of(kind, rows, 0), spans_of(kind, rows, num_adapters)
            run(plain), run(adapted)
            pairs = []
            for index in range(args.repeats):
                if index % 2:
                    pairs.append((run(plain), run(adapted)))
                else:
                    second = run(adapted)
                    pairs.append((run(plain), second))
            ratios = sorted(one[1] / one[0] for one in pairs)
            ratio = statistics.median(ratios)
            best = [1e3 * min(one[i] for one in pairs) for i in (0, 1)]
            quartiles = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
            print(
                f"{kind + ' ' + str(rows):>12} {num_adapters:>9} {best[0]:>9.2f} {best[1]:>9.2f} {ratio:>7.3f} "
                f"{quartiles[0]:>7.3f}-{quartiles[1]:.3f}"
            )
            results.append(
                {"kind": kind, "rows": rows, "adapters": num_adapters, "without_ms": best[0], "with_ms": best[1]}
                | {"ratio": ratio}
            )
    facts = {"shape": args.shape, "format": args.format, "rank": args.rank, "set": kernels.name}
    print(json.dumps(facts | {"threads": args.threads, "load_s": load_s, "passes": results}))


if __name__ == "__main__":
    main()
