"""The front door: many requests at once, from any thread, on one model.

Three nested generators: `stream` yields tokens, `stream_text` pieces of text, `generate` waits for the whole answer.
Apps use the middle one. The same seed gives the same text whatever else the engine is doing. Requests start at the
call, not at the first read, and end early when their stream is closed, dropped or left by an exception.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pocketseek.errors import UsageError
from pocketseek.govern.governor import Governor
from pocketseek.runtime.kv_pool import KvPool
from pocketseek.runtime.policy import Policy
from pocketseek.runtime.prompt import Prompt, encode_prompt, is_chat, starts_in_reasoning
from pocketseek.runtime.scheduler import Scheduler, SchedulerCounts
from pocketseek.runtime.work import Executor
from pocketseek.runtime.worker import Closeable, TokenStream, Worker
from pocketseek.text.chat_template import DEFAULT_STOP, DEFAULT_TEMPLATE, ChatTemplate
from pocketseek.text.text_stream import TextStream
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import FinishReason, Request, SamplingParams, TextEvent

DEFAULT_MAX_TOKENS = 512
DEFAULT_SAMPLING = SamplingParams()


@dataclass(frozen=True)
class Answer:
    """A finished answer. finish_reason: "stop" (end token or stop string) or "length" (max_tokens or the context)."""

    text: str
    reasoning: str
    num_prompt_tokens: int
    num_tokens: int
    finish_reason: FinishReason


@dataclass(frozen=True)
class EngineStatistics:
    """Since the engine was opened. executor_s: time inside passes; outside_s: planning, sampling, accounting.

    num_wakeups: how often it began to compute after it had slept.
    """

    load: SchedulerCounts
    executor_s: float
    outside_s: float
    num_wakeups: int


class Engine:
    """One model, ready to answer. Takes its parts ready-made; `pocketseek.load` assembles them from a package.

    Threads: every method may be called from any thread. The executor is used by the engine's worker alone, which also
    closes it, and then `resources` in order, when the engine is closed or no longer referenced.
    """

    def __init__(
        self,
        executor: Executor,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        governor: Governor,
        *,
        num_pages: int,
        recommended_sampling: SamplingParams = DEFAULT_SAMPLING,
        resources: Iterable[Closeable] = (),
        policy: Policy | None = None,
    ) -> None:
        """num_pages: pages of KV memory, shared by all requests. The text settings are the tokenizer's.

        recommended_sampling: used for answers that ask for no other. policy: by default one that knows no costs yet.
        """
        executor.reserve_pages(num_pages)
        scheduler = Scheduler(
            KvPool(num_pages), vocab_size=executor.vocab_size, context_length=executor.context_length, policy=policy
        )
        self.tokenizer = tokenizer
        self.recommended_sampling = recommended_sampling
        self.context_length = scheduler.context_length
        self._template = template
        self._scheduler = scheduler
        self._worker = Worker(scheduler, executor, governor, resources)
        # Also runs at interpreter exit, while the worker can still finish its pass in peace.
        self._finalizer = weakref.finalize(self, self._worker.close)

    def stream(self, request: Request) -> TokenStream:
        """Start a request; its tokens come out of the returned iterator.

        Raises UsageError or ContextLengthError before anything runs, EngineClosedError if the engine is closed. The
        iterator raises EngineClosedError if the engine stops meanwhile, ModelOutputError if the model computes NaN.
        """
        return self._worker.submit(request, owner=self)

    def stream_text(
        self,
        prompt: Prompt,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        sampling: SamplingParams | None = None,
        stop: Sequence[str] = (),
    ) -> Iterator[TextEvent]:
        """Start an answer to a raw text, token ids or a conversation; its pieces come out of the returned iterator.

        sampling: by default what the model recommends. stop: the answer ends before the first of these strings.
        max_tokens is clipped to what the context leaves.
        The last event has a finish_reason. Raises like `stream`, and TemplateError.
        """
        return self._stream_ids(self.encode_prompt(prompt), is_chat(prompt), max_tokens, sampling, stop)

    def generate(
        self,
        prompt: Prompt,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        sampling: SamplingParams | None = None,
        stop: Sequence[str] = (),
    ) -> Answer:
        """The whole answer at once; arguments and errors as in `stream_text`."""
        prompt_ids = self.encode_prompt(prompt)
        events = list(self._stream_ids(prompt_ids, is_chat(prompt), max_tokens, sampling, stop))
        last = events[-1]
        return Answer(
            text="".join(event.text for event in events),
            reasoning="".join(event.reasoning for event in events),
            num_prompt_tokens=len(prompt_ids),
            num_tokens=last.num_tokens,
            finish_reason=last.finish_reason or "stop",
        )

    def score(self, token_ids: Sequence[int]) -> list[float]:
        """Natural log-probabilities of every token after the first, given those before it."""
        request = Request(encode_prompt(token_ids, self.tokenizer, self._template), max_tokens=0, score_prompt=True)
        *_, last = self.stream(request)
        return list(last.prompt_logprobs or ())

    def encode_prompt(self, prompt: Prompt) -> tuple[int, ...]:
        """The ids that `stream_text` would run, e.g. to see whether a conversation still fits the context."""
        return encode_prompt(prompt, self.tokenizer, self._template)

    def statistics(self) -> EngineStatistics:
        """Totals and present load; while requests run, the figures may be a pass apart."""
        worker = self._worker
        outside_s = worker.total_s - worker.executor_s
        return EngineStatistics(self._scheduler.counts(), worker.executor_s, outside_s, worker.num_wakeups)

    def close(self) -> None:
        """Stop after the running pass and free the memory. Waiting requests get EngineClosedError. May be repeated."""
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stream_ids(
        self,
        prompt_ids: tuple[int, ...],
        chat: bool,
        max_tokens: int,
        sampling: SamplingParams | None,
        stop: Sequence[str],
    ) -> Iterator[TextEvent]:
        settings = self.tokenizer.settings
        # A model without a template of its own knows no end of turn; it would go on and play the user, too.
        template_stop = DEFAULT_STOP if chat and self._template.source == DEFAULT_TEMPLATE else ()
        text_stream = TextStream(
            self.tokenizer,
            stop=(*_checked_stop(stop), *template_stop),
            reasoning_start=settings.reasoning_start,
            reasoning_end=settings.reasoning_end,
            starts_in_reasoning=starts_in_reasoning(prompt_ids, self.tokenizer),
            continues_text=not chat,
        )
        sampling = sampling or self.recommended_sampling
        tokens = self.stream(Request(prompt_ids, max_tokens, sampling, settings.eos_ids, logprobs=False))
        return _text_events(tokens, text_stream)


def _text_events(tokens: TokenStream, text_stream: TextStream) -> Iterator[TextEvent]:
    """Pieces as soon as they are certain; silent while a character or a possible stop string is incomplete."""
    num_tokens = 0
    with tokens:
        for event in tokens:
            text = reasoning = ""
            if event.token_id is not None:
                num_tokens += 1
                text, reasoning = text_stream.push(event.token_id)
            if event.finish_reason is not None:
                late_text, late_reasoning = text_stream.flush()
                text, reasoning = text + late_text, reasoning + late_reasoning
            if text_stream.stopped:
                yield TextEvent(text, reasoning, num_tokens, "stop")
                return
            if text or reasoning or event.finish_reason is not None:
                yield TextEvent(text, reasoning, num_tokens, event.finish_reason)


def _checked_stop(stop: Sequence[str]) -> tuple[str, ...]:
    strings = (stop,) if isinstance(stop, str) else tuple(stop)
    for text in strings:
        if not isinstance(text, str) or not text:
            raise UsageError(f"{text!r:.40} is no stop string; use texts of one character or more")
    return strings
