"""Where the time of one decode step of the engine goes outside the kernels.

    python benchmarks/pass_profile.py [--model 1.5b|demo|PACKAGE ...] [--context 128] [--sampling sampled|peaked|greedy]

A real engine (`pocketseek.load`) answers one request; its parts are wrapped with clocks, which cost a microsecond each.
A row is the shortest processor time of the worker's thread in that part among all decode steps, without the parts
listed below it that it calls: whatever else runs on the machine can only lengthen it. On a busy machine use
`--threads 1`: with more, the worker spins while it waits for threads that do not get a core.

    plan, commit, sampling, deliver      the worker's thread, between two passes
    executor                             Python around the native calls of a pass (embedding, layers, head)
    between passes                       the worker's loop, from the end of a pass to the next plan
    native                               inside the native calls

`overhead` is everything but native, as a share of the whole step. Text events are made by another thread while the
next pass runs, so they are listed apart and not counted. Random weights give nearly flat logits, the worst case of
sampling; `--sampling peaked` makes them as steep as a real model's. Ends in a JSON line.
Models come from benchmarks/models_on_disk.py (`--cache`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models_on_disk import DEFAULT_CACHE, gguf_for, package_for

import pocketseek
from pocketseek.runtime.engine import Engine
from pocketseek.types import Request, SamplingParams

SAMPLING = {
    "sampled": SamplingParams(temperature=0.6, top_p=0.95, seed=1),  # what DeepSeek recommends for its R1 models
    "peaked": SamplingParams(
        temperature=0.1, top_p=0.95, seed=1
    ),  # for random weights: steep like a real model's logits
    "top-k": SamplingParams(temperature=0.7, top_k=40, top_p=0.9, seed=1),
    "greedy": SamplingParams(temperature=0.0),
}
PARTS = ("plan", "commit", "sampling", "deliver", "executor", "between passes", "native")


class Clock:
    """Adds up the time of wrapped methods by name, their own time without that of wrapped methods inside them."""

    def __init__(self) -> None:
        self.step: defaultdict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def wrap(self, owner: Any, method: str, name: str) -> None:
        setattr(owner, method, self.timed(getattr(owner, method), name))

    def timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                elapsed = time.thread_time() - start
                self.step[name] += elapsed - self._inner.pop()
                self._inner[-1] += elapsed

        return timed


class Counted:
    """Stands for the native core and times its calls: the core's own attributes cannot be replaced."""

    def __init__(self, core: Any, clock: Clock) -> None:
        self._core = core
        for name in ("embed", "layers", "head"):
            setattr(self, name, clock.timed(getattr(core, name), "native"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


def profile(
    engine: Engine, prompt_ids: tuple[int, ...], tokens: int, sampling: SamplingParams, logprobs: bool
) -> dict[str, float]:
    """Shortest seconds per decode step by part, and their sum."""
    clock, steps = Clock(), []
    worker = engine._worker
    executor, scheduler = worker._executor, worker._scheduler
    kernels = executor._kernels
    kernels._core = Counted(kernels._core, clock)
    clock.wrap(scheduler, "plan", "plan")
    clock.wrap(scheduler, "commit", "commit")
    clock.wrap(executor, "run", "executor")
    clock.wrap(worker, "_deliver", "deliver")
    submit = scheduler.submit

    def submit_timed(sequence: Any) -> None:
        clock.wrap(sequence, "choose", "sampling")
        submit(sequence)

    scheduler.submit = submit_timed
    started = [0.0]
    run_pass = worker._pass

    def timed_pass() -> None:
        now = time.thread_time()
        whole, started[0] = now - started[0], now
        accounted = sum(clock.step.values())
        steps.append({**clock.step, "between passes": whole - accounted})
        clock.step.clear()
        run_pass()

    worker._pass = timed_pass
    list(engine.stream(Request(prompt_ids, tokens, sampling, logprobs=logprobs)))
    decode = steps[3:]  # nothing, the prompt, and the first decode step, which warms up
    shortest = {name: min(step.get(name, 0.0) for step in decode) for name in PARTS}
    return {**shortest, "step": sum(shortest.values())}


def text_event_s(engine: Engine, ids: list[int]) -> float:
    """Processor seconds per token of turning ids into text, measured alone."""
    from pocketseek.text.text_stream import TextStream

    stream = TextStream(engine.tokenizer, reasoning_end=engine.tokenizer.settings.reasoning_end)
    start = time.thread_time()
    for token in ids:
        stream.push(token)
    return (time.thread_time() - start) / len(ids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="*", default=["1.5b", "demo"])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sampling", choices=SAMPLING, nargs="*", default=["sampled", "greedy"])
    parser.add_argument("--logprobs", action="store_true", help="ask for log-probabilities, which text streams do not")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    args = parser.parse_args()
    results = []
    for model in args.model:
        package = Path(model) if Path(model).is_dir() else package_for(gguf_for(model, args.cache), args.cache)
        for name in args.sampling:
            with pocketseek.load(
                str(package), num_threads=args.threads, prefix_cache=False, speculation=False
            ) as engine:
                prompt_ids = tuple(1000 + i % 40000 for i in range(args.context))
                parts = profile(engine, prompt_ids, args.tokens, SAMPLING[name], args.logprobs)
                text_s = text_event_s(engine, [1000 + i for i in range(200)])
            overhead = 1 - parts["native"] / parts["step"]
            print(f"\n{package.name}, {name}, {args.context} tokens before, {args.threads} threads")
            for part in (*PARTS, "step"):
                print(f"{part:16}{parts[part] * 1e6:>10.0f} us {parts[part] / parts['step']:>7.2%}")
            print(f"{'overhead':16}{parts['step'] * overhead * 1e6:>10.0f} us {overhead:>7.2%}")
            print(f"{'text (apart)':16}{text_s * 1e6:>10.1f} us")
            results.append(
                {"model": package.name, "sampling": name, "overhead": overhead, "text_us": text_s * 1e6}
                | {f"{part.replace(' ', '_')}_us": parts[part] * 1e6 for part in (*PARTS, "step")}
            )
    print(json.dumps({"benchmark": "pass_profile", "threads": args.threads, "results": results}))


if __name__ == "__main__":
    main()
