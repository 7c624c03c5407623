"""Time to the first token of a prompt that was computed before, against the first time.

    python benchmarks/prefix_reuse.py [--model demo|PACKAGE] [--tokens 2000] [--threads 2] [--repeats 5]

    cold       the prompt is new to the engine and to the disk
    memory     the same prompt again in the same engine
    restart    the same prompt in the next engine, which has read nothing yet; opening the model is not counted

Each round has a prompt of its own and an empty store in a temporary directory. Before the cold prompt the engine reads
another one of the same length, so that no page of memory is touched for the first time. After a restart that is not so:
the engine has answered one short prompt. The file system's cache is warm, as after a restart of the app; it is not
after a restart of the phone. The answers must be equal. Times are medians over rounds; ends in a JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import pocketseek
from pocketseek.runtime.engine import Engine
from pocketseek.types import Request, SamplingParams

WAYS = ("cold", "memory", "restart")


def prompt(number: int, num_tokens: int, vocab_size: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(number).integers(0, vocab_size, num_tokens).tolist())


def timed(engine: Engine, prompt_ids: tuple[int, ...]) -> tuple[float, list[int | None], int]:
    """Seconds to the first token, some tokens, and how many of the prompt's were cached."""
    start_s = time.perf_counter()
    stream = engine.stream(Request(prompt_ids, 16, SamplingParams(temperature=0), logprobs=False))
    events = [next(stream)]
    first_s = time.perf_counter() - start_s
    events += stream
    return first_s, [event.token_id for event in events], events[0].num_cached_prompt_tokens


def one_round(model: str, threads: int, num_tokens: int, number: int, store: Path) -> dict[str, float]:
    with pocketseek.load(model, num_threads=threads, prefix_store=store) as engine:
        vocab_size = engine.tokenizer.vocab_size
        wanted = prompt(2 * number, num_tokens, vocab_size)
        timed(engine, prompt(2 * number + 1, num_tokens, vocab_size))
        cold_s, expected, num_cached = timed(engine, wanted)
        assert num_cached == 0
        memory_s, tokens, num_cached = timed(engine, wanted)
        assert (tokens, num_cached) == (expected, (num_tokens - 1) // 64 * 64)
        start_s = time.perf_counter()
    close_s = time.perf_counter() - start_s
    stored_bytes = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    with pocketseek.load(model, num_threads=threads, prefix_store=store) as engine:
        timed(engine, (1, 2, 3))
        restart_s, tokens, num_cached = timed(engine, wanted)
        assert (tokens, num_cached) == (expected, (num_tokens - 1) // 64 * 64)
    return {"cold": cold_s, "memory": memory_s, "restart": restart_s, "close": close_s, "stored_mb": stored_bytes / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    rounds = []
    for number in range(args.repeats):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(one_round(args.model, args.threads, args.tokens, number, Path(folder)))
    medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    shares = {way: statistics.median(one[way] / one["cold"] for one in rounds) for way in WAYS}
    print(f"{args.model}, {args.tokens} tokens, {args.threads} threads, {args.repeats} rounds: time to first token")
    for way in WAYS:
        low, high = min(one[way] for one in rounds), max(one[way] for one in rounds)
        print(f"{way:10}{medians[way] * 1e3:>9.1f} ms {shares[way]:>7.1%}   ({low * 1e3:.1f} to {high * 1e3:.1f})")
    print(f"closing the engine, which writes {medians['stored_mb']:.0f} MB: {medians['close'] * 1e3:.0f} ms")
    print(
        json.dumps(
            {"benchmark": "prefix_reuse", "model": args.model, "tokens": args.tokens, **medians, "shares": shares}
        )
    )


if __name__ == "__main__":
    main()
