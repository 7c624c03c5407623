"""How an engine behaves under load: simulated clients, each asking again when its answer is complete.

    chat    conversations of four short turns behind one system prompt, interactive, with a moment of thought in between
    doc     pieces of a document behind one instruction, short summaries, background, one after the other
    mixed   both, every second client a document; before it the chats run alone for a quarter of the time, so that what
            background costs them can be seen

Prompts are made up: random tokens, different for every client, but what conversations share in life they share here.
Time to first token is from asking to reading, inter-token latency between two tokens as the client reads them. Answers
that are not complete at the end are cancelled; what came of them counts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Literal, get_args

from pocketseek.errors import UsageError
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.token_stream import TokenStream
from pocketseek.types import Priority, Request, SamplingParams

Profile = Literal["chat", "doc", "mixed"]
CURVE_PERCENTS = tuple(range(0, 101, 5))
_CHAT_SYSTEM, _CHAT_TURN, _CHAT_ANSWER, _CHAT_TURNS, _CHAT_PAUSE_S = 128, (32, 128), 48, 4, (0.1, 0.6)
_DOC_SYSTEM, _DOC_PROMPT, _DOC_ANSWER = 64, (512, 1024), 64
LONGEST_REQUEST_TOKENS = max(
    _CHAT_SYSTEM + _CHAT_TURNS * (_CHAT_TURN[1] + _CHAT_ANSWER), _DOC_SYSTEM + _DOC_PROMPT[1] + _DOC_ANSWER
)
_MAX_CLIENTS = 1000
_PROGRESS_S = 0.5


@dataclass(frozen=True)
class Latency:
    """curve_s: the time below which 0, 5, 10 ... 100 % of the samples lie (CURVE_PERCENTS)."""

    count: int
    p50_s: float
    p95_s: float
    p99_s: float
    curve_s: tuple[float, ...]


@dataclass(frozen=True)
class ClassReport:
    """One class of requests. requests: complete ones. A latency is None where there was no sample."""

    requests: int
    first_token: Latency | None
    between_tokens: Latency | None


@dataclass(frozen=True)
class LoadReport:
    """Rates are those of the whole engine. tokens_per_pass: prompt tokens read and tokens written.

    cached_prompt_tokens: those that need not be read; drafted_tokens: guesses that were checked, accepted_tokens: those
    that were right. preemptions: how often a request had to give way; swapped_out: how often its pages went to disk.
    interactive_alone is measured by the mixed profile only, and not part of the other figures.
    """

    profile: Profile
    concurrency: int
    seconds: float
    tokens_per_s: float
    prompt_tokens_per_s: float
    tokens_per_pass: float
    passes_per_s: float
    wakeups: int
    cached_prompt_tokens: int
    drafted_tokens: int
    accepted_tokens: int
    preemptions: int
    swapped_out: int
    peak_pages: int
    num_pages: int
    interactive: ClassReport
    background: ClassReport
    interactive_alone: ClassReport | None


@dataclass
class _Samples:
    """Of one class; list.append is atomic, and nobody reads before the clients have ended."""

    first_s: list[float] = field(default_factory=list)
    between_s: list[float] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def report(self) -> ClassReport:
        return ClassReport(len(self.ended), _latency(self.first_s), _latency(self.between_s))


def bench_load(
    open_engine: Callable[[], Engine],
    *,
    concurrency: int,
    profile: Profile = "mixed",
    seconds: float = 20.0,
    progress: Callable[[int, int], None] | None = None,
) -> LoadReport:
    """Measure. progress(done, total) counts whole seconds. Raises UsageError for figures that make no sense."""
    if profile not in get_args(Profile):
        raise UsageError(f"there is no profile {profile!r:.40}; use one of {', '.join(get_args(Profile))}")
    if not 1 <= concurrency <= _MAX_CLIENTS:
        raise UsageError(f"{concurrency} clients cannot be simulated; use 1 to {_MAX_CLIENTS}")
    if profile == "mixed" and concurrency < 2:
        raise UsageError("the profile mixed needs two clients or more; use --concurrency 2")
    if not 0 < seconds <= 86_400:
        raise UsageError(f"{seconds:g} seconds make no measurement; use more than 0, at most 86400")
    num_docs = {"chat": 0, "doc": concurrency, "mixed": concurrency // 2}[profile]
    alone_s = seconds / 4 if profile == "mixed" else 0.0

    def show(elapsed_s: float) -> None:
        if progress is not None:
            progress(int(elapsed_s), int(alone_s + seconds))

    with open_engine() as engine:
        show(0.0)
        _Load(engine, 1, 0, 0.0, first_client=_MAX_CLIENTS).run()  # one answer, to warm up
        alone = None
        if profile == "mixed":
            alone = _Load(engine, concurrency - num_docs, 0, alone_s, first_client=2 * _MAX_CLIENTS)
            alone.run(show)
        load = _Load(engine, concurrency - num_docs, num_docs, seconds)
        return _measure(engine, profile, concurrency, load, alone, lambda elapsed_s: show(alone_s + elapsed_s))


def _measure(
    engine: Engine,
    profile: Profile,
    concurrency: int,
    load: _Load,
    alone: _Load | None,
    show: Callable[[float], None],
) -> LoadReport:
    before = engine.statistics()
    start_s = time.perf_counter()
    load.run(show)
    elapsed_s = time.perf_counter() - start_s
    after = engine.statistics()

    def counted(name: str) -> int:
        return int(getattr(after.load, name) - getattr(before.load, name))

    num_tokens, num_prompt_tokens = counted("num_tokens"), counted("num_prompt_tokens")
    num_passes = counted("num_passes")
    return LoadReport(
        profile=profile,
        concurrency=concurrency,
        seconds=elapsed_s,
        tokens_per_s=num_tokens / elapsed_s,
        prompt_tokens_per_s=num_prompt_tokens / elapsed_s,
        tokens_per_pass=(num_tokens + num_prompt_tokens) / max(1, num_passes),
        passes_per_s=num_passes / elapsed_s,
        wakeups=after.num_wakeups - before.num_wakeups,
        cached_prompt_tokens=counted("num_cached_prompt_tokens"),
        drafted_tokens=counted("num_drafted"),
        accepted_tokens=counted("num_accepted"),
        preemptions=counted("num_preemptions"),
        swapped_out=counted("num_swapped_out"),
        peak_pages=after.load.num_peak_pages,
        num_pages=after.load.num_pages,
        interactive=load.interactive.report(),
        background=load.background.report(),
        interactive_alone=alone.interactive.report() if alone is not None else None,
    )


class _Load:
    """The clients of one phase. Every client has a thread; it ends with the answer, or when the time is over."""

    def __init__(self, engine: Engine, num_chats: int, num_docs: int, seconds: float, *, first_client: int = 0) -> None:
        """seconds 0: one answer for each client."""
        self.interactive, self.background = _Samples(), _Samples()
        self._engine = engine
        self._chats = range(first_client, first_client + num_chats)
        self._docs = range(first_client + num_chats, first_client + num_chats + num_docs)
        self._seconds = seconds
        self._over = threading.Event()
        self._open: set[TokenStream] = set()
        self._lock = threading.Lock()  # of _open

    def run(self, show: Callable[[float], None] = lambda elapsed_s: None) -> None:
        with ThreadPoolExecutor(len(self._chats) + len(self._docs)) as threads:
            running = [threads.submit(self._chat, number) for number in self._chats]
            running += [threads.submit(self._doc, number) for number in self._docs]
            try:
                self._wait(show)
            finally:
                self._end()
            for client in running:
                client.result()

    def _end(self) -> None:
        """Answers that are not complete are cancelled, unless one each was wanted."""
        with self._lock:
            self._over.set()
            for stream in self._open if self._seconds else ():
                stream.close()

    def _wait(self, show: Callable[[float], None]) -> None:
        end_s = time.perf_counter() + self._seconds
        while (left_s := end_s - time.perf_counter()) > 0 and not self._over.wait(min(left_s, _PROGRESS_S)):
            show(self._seconds - left_s)

    def _chat(self, number: int) -> None:
        random = Random(number)
        conversation: list[int] = []
        num_turns = 0
        while True:
            if num_turns % _CHAT_TURNS == 0:
                conversation = self._tokens(Random(_CHAT_SYSTEM), _CHAT_SYSTEM)
            conversation += self._tokens(random, random.randint(*_CHAT_TURN))
            conversation += self._ask(conversation, _CHAT_ANSWER, "interactive", number, self.interactive)
            num_turns += 1
            if self._over.wait(random.uniform(*_CHAT_PAUSE_S)):
                return

    def _doc(self, number: int) -> None:
        random = Random(number)
        while not self._over.is_set():
            prompt = self._tokens(Random(_DOC_SYSTEM), _DOC_SYSTEM) + self._tokens(random, random.randint(*_DOC_PROMPT))
            self._ask(prompt, _DOC_ANSWER, "background", number, self.background)

    def _tokens(self, random: Random, count: int) -> list[int]:
        return [random.randrange(self._engine.tokenizer.vocab_size) for _ in range(count)]

    def _ask(
        self, prompt: Sequence[int], max_tokens: int, priority: Priority, number: int, samples: _Samples
    ) -> list[int]:
        """The answer, as far as it came."""
        longest = max(1, self._engine.context_length - max_tokens)
        sampling = SamplingParams(temperature=0)
        request = Request(
            tuple(prompt[:longest]), max_tokens, sampling, logprobs=False, priority=priority, client=str(number)
        )
        answer: list[int] = []
        last_s = time.perf_counter()
        into = samples.first_s
        with self._opened(request) as stream:
            for event in stream:
                now_s = time.perf_counter()
                if event.token_id is not None:
                    answer.append(event.token_id)
                    into.append(now_s - last_s)
                    into, last_s = samples.between_s, now_s
                if event.finish_reason in ("stop", "length"):
                    samples.ended.append(request.client)
        return answer

    @contextmanager
    def _opened(self, request: Request) -> Iterator[TokenStream]:
        stream = self._engine.stream(request)
        with stream:
            with self._lock:
                self._open.add(stream)
                if self._over.is_set() and self._seconds:
                    stream.close()
            try:
                yield stream
            finally:
                with self._lock:
                    self._open.remove(stream)


def _latency(samples_s: Sequence[float]) -> Latency | None:
    if not samples_s:
        return None
    in_order = sorted(samples_s)

    def quantile(percent: int) -> float:
        return in_order[min(len(in_order) - 1, len(in_order) * percent // 100)]

    curve_s = tuple(map(quantile, CURVE_PERCENTS))
    return Latency(len(in_order), quantile(50), quantile(95), quantile(99), curve_s)
