"""What speculation by prompt lookup gains where an answer quotes, and what it costs where it does not.

    python benchmarks/speculation.py [--model demo|PACKAGE] [--threads 2] [--rounds 5] [--task quote chat ...]

Two engines on one package, with and without speculation, answer the same requests in turn. A row is one task: the
median over the rounds of tokens per second from the first token to the last, without and with, and the median of their
ratios round by round; tokens per pass; tokens drafted and accepted. The token ids are compared every time: a difference
ends the benchmark. Ends in a JSON line.

Tasks with greedy sampling: `quote` repeats a text of the prompt, `edit` writes code of the prompt once more with
another name, `code` continues a table of constants. `chat`: questions with the model's own sampling and fixed seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from models_on_disk import DEFAULT_CACHE, gguf_for, package_for

import pocketseek
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.prompt import Prompt
from pocketseek.types import Message, Request, SamplingParams

PARAGRAPH = (
    "The lighthouse stands on a rock three miles from the harbour. It was built in 1871 by a Scottish engineer, "
    "who lived in a wooden hut on the rock for two summers while the granite was brought over in small boats. The "
    "lamp burned oil until 1934, when a cable was laid along the sea bed. Today nobody lives there; a computer in "
    "the harbour master's office switches the light on at dusk, and twice a year two painters go out to keep the "
    "salt from the iron."
)
CODE = '''def mean_temperature(samples):
    """Mean of all samples in degrees, None if there are none."""
    valid = [sample.temperature for sample in samples if sample.is_valid]
    if not valid:
        return None
    return sum(valid) / len(valid)


def max_temperature(samples):
    """Highest of all samples in degrees, None if there are none."""
    valid = [sample.temperature for sample in samples if sample.is_valid]
    if not valid:
        return None
    return max(valid)
'''
GREEDY = SamplingParams(temperature=0.0)
QUESTIONS = (
    "Why is the sky blue?",
    "Give me three ideas for a birthday present for my grandmother.",
    "What is the difference between a virus and a bacterium?",
    "Write a short poem about the sea.",
)


@dataclass(frozen=True)
class Task:
    """One or more prompts that are answered one after the other; sampling None: the model's own."""

    prompts: tuple[Prompt, ...]
    sampling: SamplingParams | None
    max_tokens: int


TASKS = {
    "quote": Task((f"{PARAGRAPH}\n\nOnce more, word for word:\n\nThe lighthouse stands",), GREEDY, 120),
    "edit": Task((f"{CODE}\n\ndef min_temperature(samples):\n",), GREEDY, 80),
    "code": Task(("KEYS = {\n" + "".join(f'    "key_{i}": Key({i}, "key {i}"),\n' for i in range(1, 6)),), GREEDY, 120),
    "chat": Task(tuple([Message("user", question)] for question in QUESTIONS), None, 160),
}


@dataclass(frozen=True)
class Answered:
    """Ids of all answers of a task, and how they were made."""

    token_ids: tuple[tuple[int, ...], ...]
    tokens_per_s: float
    num_passes: int
    num_drafted: int
    num_accepted: int


def answer(engine: Engine, task: Task) -> Answered:
    before = engine.statistics().load
    token_ids, num_timed, seconds = [], 0, 0.0
    for seed, prompt in enumerate(task.prompts):
        sampling = task.sampling or engine.recommended_sampling
        ids = engine.encode_prompt(prompt)
        request = Request(
            ids,
            task.max_tokens,
            SamplingParams(**{**vars(sampling), "seed": seed}),
            engine.tokenizer.settings.eos_ids,
            logprobs=False,
        )
        stream = engine.stream(request)
        answered = [next(stream).token_id]
        start = time.perf_counter()
        answered += [event.token_id for event in stream]
        seconds += time.perf_counter() - start
        num_timed += len(answered) - 1
        token_ids.append(tuple(token_id for token_id in answered if token_id is not None))
    after = engine.statistics().load
    return Answered(
        tuple(token_ids),
        num_timed / seconds,
        after.num_passes - before.num_passes,
        after.num_drafted - before.num_drafted,
        after.num_accepted - before.num_accepted,
    )


def measure(plain: Engine, drafting: Engine, task: Task, rounds: int) -> dict[str, float]:
    """Interleaved, who is first alternates; the first round warms up and is not counted."""
    pairs = []
    for number in range(rounds + 1):
        if number % 2:
            off, on = answer(plain, task), answer(drafting, task)
        else:
            on, off = answer(drafting, task), answer(plain, task)
        if on.token_ids != off.token_ids:
            raise SystemExit("the answers differ with and without speculation: a bug")
        pairs.append((off, on))
    off, on = pairs[-1]
    return {
        "tokens": sum(map(len, on.token_ids)),
        "off_tokens_per_s": statistics.median(off.tokens_per_s for off, _ in pairs[1:]),
        "on_tokens_per_s": statistics.median(on.tokens_per_s for _, on in pairs[1:]),
        "ratio": statistics.median(on.tokens_per_s / off.tokens_per_s for off, on in pairs[1:]),
        "lowest_ratio": min(on.tokens_per_s / off.tokens_per_s for off, on in pairs[1:]),
        "highest_ratio": max(on.tokens_per_s / off.tokens_per_s for off, on in pairs[1:]),
        "passes_off": off.num_passes,
        "passes_on": on.num_passes,
        "drafted": on.num_drafted,
        "accepted": on.num_accepted,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo", help="demo, 1.5b (random weights) or the path of a package")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--task", choices=TASKS, nargs="*", default=list(TASKS))
    parser.add_argument("--show", action="store_true", help="print the answers, to see that the model does the task")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    args = parser.parse_args()
    package = (
        Path(args.model) if Path(args.model).is_dir() else package_for(gguf_for(args.model, args.cache), args.cache)
    )
    results = {}
    with (
        pocketseek.load(package, num_threads=args.threads, speculation=False) as plain,
        pocketseek.load(package, num_threads=args.threads) as drafting,
    ):
        print(f"{package.name}, {args.threads} threads, {args.rounds} rounds")
        print(f"{'task':8}{'tokens':>7}{'off t/s':>9}{'on t/s':>9}{'ratio':>7}{'(from, to)':>14}", end="")
        print(f"{'passes':>12}{'drafted':>9}{'accepted':>9}")
        for name in args.task:
            row = results[name] = measure(plain, drafting, TASKS[name], args.rounds)
            print(
                f"{name:8}{row['tokens']:>7}{row['off_tokens_per_s']:>9.1f}{row['on_tokens_per_s']:>9.1f}"
                f"{row['ratio']:>7.2f}{row['lowest_ratio']:>8.2f}{row['highest_ratio']:>6.2f}"
                f"{row['passes_off']:>6}{row['passes_on']:>6}{row['drafted']:>9}{row['accepted']:>9}"
            )
            if args.show:
                for ids in answer(plain, TASKS[name]).token_ids:
                    print(f"--- {plain.tokenizer.decode(ids)}\n---")
    print(json.dumps({"benchmark": "speculation", "model": package.name, "threads": args.threads, "tasks": results}))


if __name__ == "__main__":
    main()
