"""One measured run: so many made-up prompts at once, greedy answers of a fixed length, and what it took.

Nothing is averaged here and nothing is warmed up: whoever repeats runs decides which of them count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pocketseek.device.reading import parse_int, read_fields
from pocketseek.errors import UsageError
from pocketseek.runtime.engine import Engine
from pocketseek.types import Request, SamplingParams

RequestMaker = Callable[[Engine, int, int, int], Request]
"""(engine, number, tokens of the prompt, tokens of the answer): different for every number."""
_OWN_IO = Path("/proc/self/io")
_PROMPT_STEP = 7919  # a prime: the made-up prompts walk through the vocabulary


@dataclass(frozen=True)
class Run:
    """first_token_s, answer_s: from asking to the first token, and to the last one of the last sequence."""

    first_token_s: float
    answer_s: float
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    passes_per_token: float
    storage_bytes_per_token: float | None


@dataclass(frozen=True)
class _Counts:
    """Of the engine and of this process, at one moment."""

    num_tokens: int
    num_passes: int
    storage_bytes: int | None


def first_token(engine: Engine) -> None:
    for _ in engine.stream(made_up_request(engine, 0, 8, 1)):
        pass


def check_fits(engine: Engine, num_tokens: int) -> None:
    if num_tokens > engine.context_length:
        raise UsageError(
            f"{num_tokens} tokens do not fit the context of {engine.context_length} that model and memory allow; "
            "ask for fewer or allow more memory"
        )


def run_once(
    engine: Engine,
    number: int,
    prompt_tokens: int,
    new_tokens: int,
    concurrency: int,
    make_request: RequestMaker | None = None,
) -> Run:
    """All prompts are asked at once; decoding is timed from when the last sequence has its first token."""
    make = make_request or made_up_request
    requests = [make(engine, number * concurrency + i, prompt_tokens, new_tokens) for i in range(concurrency)]
    before = _counts(engine)
    start_s = time.perf_counter()
    streams = [engine.stream(request) for request in requests]
    next(streams[0])
    first_s = time.perf_counter()
    for stream in streams[1:]:
        next(stream)
    read_s = time.perf_counter()
    # Earlier sequences wrote while later ones were still reading, so the engine has to say how far they are. A single
    # one has written its first token, no more, however late this thread was woken.
    read = _counts(engine)
    num_written = read.num_tokens - before.num_tokens if concurrency > 1 else 1
    for stream in streams:
        for _ in stream:
            pass
    end_s = time.perf_counter()
    num_left = concurrency * new_tokens - num_written
    if num_left == 0:
        raise UsageError("the answers are too short to be timed; ask for more new tokens")
    passes_per_token, storage_bytes_per_token = _per_token(read, _counts(engine))
    return Run(
        first_s - start_s,
        end_s - start_s,
        concurrency * prompt_tokens / (read_s - start_s),
        num_left / (end_s - read_s),
        passes_per_token,
        storage_bytes_per_token,
    )


def _counts(engine: Engine) -> _Counts:
    load = engine.statistics().load
    return _Counts(load.num_tokens, load.num_passes, parse_int(read_fields(_OWN_IO).get("read_bytes", "")))


def _per_token(start: _Counts, end: _Counts) -> tuple[float, float | None]:
    """(passes, bytes from storage). Both counts are the engine's own, so it does not matter when this thread was woken
    to take the first; if everything was written by then, a token took a pass."""
    num_tokens = end.num_tokens - start.num_tokens
    if num_tokens == 0:
        return 1.0, None
    passes = (end.num_passes - start.num_passes) / num_tokens
    if start.storage_bytes is None or end.storage_bytes is None:
        return passes, None
    return passes, (end.storage_bytes - start.storage_bytes) / num_tokens


def made_up_request(engine: Engine, number: int, prompt_tokens: int, new_tokens: int) -> Request:
    prompt = _made_up_prompt(number, prompt_tokens, engine.tokenizer.vocab_size)
    return Request(prompt, new_tokens, SamplingParams(temperature=0), logprobs=False)


def sampled_requests(text: str | None) -> RequestMaker:
    """Answers are sampled at temperature 1, with the number for a seed: greedy ones run in circles sooner or later, and
    what they ask of a model with them. text: prompts are pieces of it, one behind the other, from the beginning again
    where it ends; None: made up. Raises UsageError for a text without a token.
    """
    token_ids: list[int] = []

    def make(engine: Engine, number: int, prompt_tokens: int, new_tokens: int) -> Request:
        if text is not None and not token_ids:
            token_ids.extend(engine.tokenizer.encode(text, add_special=False, parse_special=False))
            if not token_ids:
                raise UsageError("the text is empty; use one with some words in it")
        prompt = (
            tuple(token_ids[(number * prompt_tokens + index) % len(token_ids)] for index in range(prompt_tokens))
            if text is not None
            else _made_up_prompt(number, prompt_tokens, engine.tokenizer.vocab_size)
        )
        return Request(prompt, new_tokens, SamplingParams(temperature=1.0, seed=number), logprobs=False)

    return make


def _made_up_prompt(number: int, num_tokens: int, vocab_size: int) -> tuple[int, ...]:
    """Different for every number, so that no cache of prompts can help."""
    return tuple((number + 1 + index * _PROMPT_STEP) % vocab_size for index in range(num_tokens))
