"""How many passes and wake-ups background requests need when they are merged, against serving each on arrival.

    python benchmarks/coalescing.py [--model demo|PACKAGE] [--requests 100] [--seconds 10] [--threads 2] [--seed 1]

The same requests at the same moments, once as background (merged: see Limits.coalesce_s) and once as interactive
(served at once). A wake-up is a pass after a sleep. The texts must be equal. Ends in a JSON line.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from random import Random

import pocketseek
from pocketseek.runtime.token_stream import TokenStream
from pocketseek.types import Priority, Request, SamplingParams, Service


@dataclass(frozen=True)
class Served:
    """mean_wait_s: from asking to the end of the answer."""

    passes: int
    wakeups: int
    tokens_per_pass: float
    executor_s: float
    mean_wait_s: float


def arrivals(seed: int, count: int, seconds: float, vocab_size: int) -> list[tuple[float, Request]]:
    random = Random(seed)
    requests = []
    for at_s in sorted(random.uniform(0, seconds) for _ in range(count)):
        prompt = tuple(random.randrange(vocab_size) for _ in range(random.randint(16, 96)))
        requests.append((at_s, Request(prompt, random.randint(4, 16), SamplingParams(temperature=0), logprobs=False)))
    return requests


def read(stream: TokenStream, asked_s: float) -> tuple[list[int | None], float]:
    text = [event.token_id for event in stream]
    return text, time.perf_counter() - asked_s


def serve(
    model: str, threads: int, args: argparse.Namespace, priority: Priority
) -> tuple[Served, list[list[int | None]]]:
    with pocketseek.load(model, num_threads=threads, prefix_store_bytes=0) as engine:
        wanted = arrivals(args.seed, args.requests, args.seconds, engine.tokenizer.vocab_size)
        engine.generate("warm up", max_tokens=4, service=Service(priority="background"))
        before = engine.statistics()
        start_s = time.perf_counter()
        with ThreadPoolExecutor(len(wanted)) as threads:
            answers = []
            for at_s, request in wanted:
                time.sleep(max(0.0, start_s + at_s - time.perf_counter()))
                stream = engine.stream(replace(request, priority=priority))
                answers.append(threads.submit(read, stream, time.perf_counter()))
            texts, waits_s = zip(*(answer.result() for answer in answers), strict=True)
        after = engine.statistics()
    num_passes = after.load.num_passes - before.load.num_passes
    num_tokens = sum(len(request.prompt_ids) for _, request in wanted) + sum(map(len, texts))
    served = Served(
        passes=num_passes,
        wakeups=after.num_wakeups - before.num_wakeups,
        tokens_per_pass=num_tokens / num_passes,
        executor_s=after.executor_s - before.executor_s,
        mean_wait_s=sum(waits_s) / len(waits_s),
    )
    return served, list(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    at_once, texts = serve(args.model, args.threads, args, "interactive")
    merged, merged_texts = serve(args.model, args.threads, args, "background")
    if merged_texts != texts:
        raise SystemExit("the answers differ between merged and served on arrival: a bug")
    print(f"{args.model}, {args.requests} requests over {args.seconds:g} s, {args.threads} threads")
    for name, served in (("on arrival", at_once), ("merged", merged)):
        print(
            f"{name:12}{served.passes:>6} passes {served.wakeups:>5} wake-ups {served.tokens_per_pass:>7.1f} tokens "
            f"per pass {served.executor_s:>7.2f} s of computing {served.mean_wait_s:>6.2f} s to the end of an answer"
        )
    shares = {"passes": merged.passes / at_once.passes, "wakeups": merged.wakeups / max(1, at_once.wakeups)}
    print(f"merged needs {shares['passes']:.0%} of the passes and {shares['wakeups']:.0%} of the wake-ups")
    print(
        json.dumps(
            {"benchmark": "coalescing", "model": args.model, "on_arrival": asdict(at_once), "merged": asdict(merged)}
        )
    )


if __name__ == "__main__":
    main()
