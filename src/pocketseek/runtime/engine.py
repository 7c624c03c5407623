"""The front door: many requests at once, from any thread, on one model.

Three nested generators: `stream` yields tokens, `stream_text` pieces of text, `generate` waits for the whole answer.
Apps use the middle one. The same seed gives the same text whatever else the engine is doing. Requests start at the
call, not at the first read, and end early when their stream is closed, dropped or left by an exception.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from pocketseek.errors import UnsupportedError
from pocketseek.govern.governor import Governor
from pocketseek.govern.ladder import SpeedChoice
from pocketseek.govern.thermal_governor import ThermalGovernor, ThermalStatus
from pocketseek.runtime.adapters import AdapterSource
from pocketseek.runtime.admission import check_prompt, choices_of
from pocketseek.runtime.answer import Answer, text_stream_of
from pocketseek.runtime.applied_limits import MemoryFollowing
from pocketseek.runtime.assembly import assemble
from pocketseek.runtime.closing import Closeable
from pocketseek.runtime.counts import EngineStatistics, PageDemand
from pocketseek.runtime.embedding import Embedding, PendingEmbedding
from pocketseek.runtime.frequency_caps import FrequencyCaps
from pocketseek.runtime.guests import Guests
from pocketseek.runtime.onnx.providers import ProviderChoice
from pocketseek.runtime.policy import Policy
from pocketseek.runtime.prefix.store import PrefixStore
from pocketseek.runtime.prompt import (
    EncodedPrompt,
    Prompt,
    check_text_length,
    encode_prompt,
    is_chat,
    starts_in_reasoning,
)
from pocketseek.runtime.text_answer import TextAnswer
from pocketseek.runtime.token_details import TokenDetails
from pocketseek.runtime.token_stream import TokenStream
from pocketseek.runtime.work import Executor
from pocketseek.runtime.worker import Worker
from pocketseek.text.chat_template import ChatTemplate
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import Constraint, Request, SamplingParams, Service, ToolForm

DEFAULT_MAX_TOKENS = 512
DEFAULT_SAMPLING = SamplingParams()
DEFAULT_SERVICE = Service()


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
        max_pages: int | None = None,
        recommended_sampling: SamplingParams = DEFAULT_SAMPLING,
        prefix_cache: bool = True,
        prefix_store: PrefixStore | None = None,
        swap_folder: Path | None = None,
        speculation: bool = True,
        resources: Iterable[Closeable] = (),
        policy: Policy | None = None,
        following: MemoryFollowing | None = None,
        clocks: FrequencyCaps | None = None,
        gives_states: bool = True,
        adapters: AdapterSource | None = None,
    ) -> None:
        """num_pages: pages of KV memory, shared by all; max_pages: as in `Limits`, until the governor was asked.
        following: by default the governor is asked before passes only. clocks: what `Limits.frequency_share` acts on;
        whoever made them restores them (as one of `resources`). gives_states: whether the executor has what embeddings
        are made of. adapters: of requests that name one. The text settings are the tokenizer's.

        recommended_sampling: of answers that ask for no other. prefix_cache: do not compute again what is still in the
        KV memory; prefix_store: nor what an earlier engine left on disk. swap_folder: where pages of requests that give
        way may go (None: they are computed again). speculation: let passes check guesses of what comes next, which
        changes how fast an answer comes and never the answer. policy: by default one that knows no costs.
        """
        parts = assemble(
            executor,
            tokenizer,
            num_pages=num_pages,
            max_pages=max_pages,
            prefix_cache=prefix_cache,
            prefix_store=prefix_store,
            swap_folder=swap_folder,
            speculation=speculation,
            policy=policy,
            adapters=adapters,
        )
        self.tokenizer = tokenizer
        self.recommended_sampling = recommended_sampling
        self.adapter = ""  # of requests that do not say
        self._original: Engine | None = None
        self.speed_choice: SpeedChoice | None = None  # what `load(min_speed=)` expected and chose
        self.provider_source: Callable[[], ProviderChoice] | None = None  # of ONNX Runtime, if that computes
        self._template = template
        self._scheduler = parts.scheduler
        self._vocab_size = executor.vocab_size
        self._gives_states = gives_states
        self._prefix_store = prefix_store
        self._swap = parts.swap
        closeables = (*((parts.swap,) if parts.swap is not None else ()), *resources)
        self._worker = Worker(parts.scheduler, executor, governor, closeables, parts.archive, following, clocks)
        self._governor = governor
        self.guests = following.guests if following is not None else Guests()
        """Room beside it, for what else works in this process."""
        # Also runs at interpreter exit, while the worker can still finish its pass in peace.
        self._finalizer = weakref.finalize(self, self._worker.close)

    @property
    def is_closed(self) -> bool:
        """Closed, or stopped by a failure: open the model again."""
        return self._worker.is_closed

    @property
    def provider_choice(self) -> ProviderChoice | None:
        """Who computes in ONNX Runtime, which may change while it does; None: the native core computes."""
        return None if self.provider_source is None else self.provider_source()

    @property
    def context_length(self) -> int:
        """Tokens that a request may have, answer included: the model's context, or what KV memory holds at its best."""
        return self._scheduler.context_length

    @property
    def tool_form(self) -> ToolForm:
        """How this model writes tool calls."""
        return self._template.tool_form

    def stream(self, request: Request) -> TokenStream:
        """Start a request; its tokens come out of the returned iterator.

        Raises UsageError or ContextLengthError before anything runs, EngineClosedError if the engine is closed. The
        iterator raises EngineClosedError if the engine stops meanwhile, ModelOutputError if the model computes NaN,
        StorageError or IntegrityError if the weights cannot be read, MemoryLimitError if other programs leave no memory
        for the prompt for half a minute.
        """
        return self._worker.submit([self._adapted(request)], owner=self)[0]

    def stream_choices(self, request: Request, count: int) -> list[TokenStream]:
        """Start `count` answers to one prompt, which is read once and whose K and V they share.

        Choice i is what a request with the seed + i gives alone (without a seed, all are drawn). Raises like `stream`.
        """
        return self._worker.submit(choices_of(self._adapted(request), count), owner=self)

    def with_adapter(self, name: str) -> Engine:
        """The same engine (closing one closes both) for requests with this adapter of the model; empty: without.

        The adapter is opened by the first request, which raises what that does; see `AdapterSource.take`.
        """
        view = copy(self)
        view.adapter, view._original = name, self  # which closes itself once nobody refers to it
        return view

    def _adapted(self, request: Request) -> Request:
        return request if request.adapter is not None else replace(request, adapter=self.adapter)

    def stream_text(
        self,
        prompt: Prompt | EncodedPrompt,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        sampling: SamplingParams | None = None,
        stop: Sequence[str] = (),
        service: Service = DEFAULT_SERVICE,
        logprobs: int | None = None,
        constraint: Constraint | None = None,
    ) -> TextAnswer:
        """Start an answer to a raw text, token ids or a conversation; its pieces come out of the returned iterator.

        sampling: by default what the model recommends. stop: the answer ends before the first of these strings.
        max_tokens is clipped to what the context leaves. service: how soon, for whom, until when. logprobs: report
        the tokens with their log-probabilities and those of so many alternatives, 0 to 20; None: without. constraint:
        what the answer must look like, after the reasoning (needs the extra `constrain`).
        The last event has a finish_reason. Raises like `stream`, and TemplateError.
        """
        (answer,) = self.stream_text_choices(
            prompt,
            1,
            max_tokens=max_tokens,
            sampling=sampling,
            stop=stop,
            service=service,
            logprobs=logprobs,
            constraint=constraint,
        )
        return answer

    def stream_text_choices(
        self,
        prompt: Prompt | EncodedPrompt,
        count: int,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        sampling: SamplingParams | None = None,
        stop: Sequence[str] = (),
        service: Service = DEFAULT_SERVICE,
        logprobs: int | None = None,
        constraint: Constraint | None = None,
        announce: Callable[[], None] | None = None,
    ) -> list[TextAnswer]:
        """`count` answers to one prompt, seeded as in `stream_choices`; otherwise as `stream_text`.

        announce: called by the engine, which it must not hold up, whenever there is something to `poll`.
        """
        encoded = prompt if isinstance(prompt, EncodedPrompt) else self.encode(prompt)
        texts = [text_stream_of(encoded, stop, self.tokenizer, self._template) for _ in range(count)]
        details = [None if logprobs is None else TokenDetails(self.tokenizer, text) for text in texts]
        request = Request(
            encoded.token_ids,
            max_tokens,
            sampling or self.recommended_sampling,
            self.tokenizer.settings.eos_ids,
            logprobs=logprobs is not None,
            top_logprobs=0 if logprobs is None else logprobs,
            priority=service.priority,
            client=service.client,
            deadline_s=service.deadline_s,
            constraint=constraint,
            keep_on_disk=service.keep_on_disk,
            kept_for=service.kept_for,
            adapter=self.adapter,
        )
        requests = [request] if count == 1 else choices_of(request, count)
        streams = self._worker.submit(requests, owner=self, announce=announce)
        parts = zip(streams, texts, details, strict=True)
        return [TextAnswer(*part, polled=announce is not None) for part in parts]

    def generate(
        self,
        prompt: Prompt,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        sampling: SamplingParams | None = None,
        stop: Sequence[str] = (),
        service: Service = DEFAULT_SERVICE,
        logprobs: int | None = None,
        constraint: Constraint | None = None,
    ) -> Answer:
        """The whole answer at once; arguments and errors as in `stream_text`."""
        (answer,) = self.generate_choices(
            prompt,
            1,
            max_tokens=max_tokens,
            sampling=sampling,
            stop=stop,
            service=service,
            logprobs=logprobs,
            constraint=constraint,
        )
        return answer

    def generate_choices(
        self,
        prompt: Prompt,
        count: int,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        sampling: SamplingParams | None = None,
        stop: Sequence[str] = (),
        service: Service = DEFAULT_SERVICE,
        logprobs: int | None = None,
        constraint: Constraint | None = None,
    ) -> list[Answer]:
        """Several answers to one prompt, computed together: see `stream_choices` and `stream_text`."""
        encoded = self.encode(prompt)
        answers = self.stream_text_choices(
            encoded,
            count,
            max_tokens=max_tokens,
            sampling=sampling,
            stop=stop,
            service=service,
            logprobs=logprobs,
            constraint=constraint,
        )
        return [Answer.of(len(encoded.token_ids), list(events)) for events in answers]

    def score(self, token_ids: Sequence[int]) -> list[float]:
        """Natural log-probabilities of every token after the first, given those before it."""
        request = Request(encode_prompt(token_ids, self.tokenizer, self._template), max_tokens=0, score_prompt=True)
        *_, last = self.stream(request)
        return list(last.prompt_logprobs or ())

    def embed(self, prompt: str | Sequence[int] | EncodedPrompt) -> Embedding:
        """float32 (hidden_size,): the mean of the text's last hidden states, not scaled; see runtime/pooling.py.

        Errors as in `stream`.
        """
        return self.start_embedding(prompt).wait()

    def start_embedding(
        self,
        prompt: str | Sequence[int] | EncodedPrompt,
        *,
        service: Service = DEFAULT_SERVICE,
        announce: Callable[[], None] | None = None,
    ) -> PendingEmbedding:
        """As `embed`, to be polled or closed: several that are started one after the other share passes.

        announce: as in `stream_text_choices`. Raises UnsupportedError if this model makes none.
        """
        if not self._gives_states:
            raise UnsupportedError(
                "a model that runs with ONNX Runtime makes no embeddings here; use --engine native with its package"
            )
        encoded = prompt if isinstance(prompt, EncodedPrompt) else self.encode(prompt)
        request = Request(
            encoded.token_ids,
            max_tokens=0,
            embed_prompt=True,
            priority=service.priority,
            client=service.client,
            deadline_s=service.deadline_s,
            adapter=self.adapter,
        )
        (tokens,) = self._worker.submit([request], owner=self, announce=announce)
        return PendingEmbedding(len(encoded.token_ids), tokens)

    def encode_prompt(self, prompt: Prompt) -> tuple[int, ...]:
        """The ids that `stream_text` would run, e.g. to see whether a conversation still fits the context."""
        return encode_prompt(prompt, self.tokenizer, self._template)

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """A prompt that may be given in place of the original, so that nobody encodes it twice.

        Raises ContextLengthError at once for a text that is far too long.
        """
        check_text_length(prompt, self.tokenizer, self.context_length)
        token_ids = self.encode_prompt(prompt)
        check_prompt(token_ids, self._vocab_size)  # before anybody decodes them
        return EncodedPrompt(token_ids, is_chat(prompt), starts_in_reasoning(token_ids, self.tokenizer))

    def statistics(self) -> EngineStatistics:
        """Totals and present load; while requests run, the figures may be a pass apart."""
        worker = self._worker
        return EngineStatistics(
            self._scheduler.counts(),
            executor_s=worker.executor_s,
            outside_s=worker.total_s - worker.executor_s,
            rested_s=worker.rested_s,
            thermal=self.thermal_status(),
            num_wakeups=worker.num_wakeups,
            num_retried_passes=worker.num_retried_passes,
            num_failed_passes=worker.num_failed_passes,
            num_store_failures=self._prefix_store.num_failures if self._prefix_store else 0,
            num_swap_failures=self._swap.num_failures if self._swap else 0,
        )

    def thermal_status(self) -> ThermalStatus | None:
        """What was decided last about heat; None if nobody watches it. Cheap, from any thread."""
        return self._governor.status if isinstance(self._governor, ThermalGovernor) else None

    def busy_source(self) -> Callable[[], float]:
        """Seconds spent on passes in all, for a governor; it does not hold the engine."""
        worker = self._worker
        return lambda: worker.total_s

    def demand_source(self) -> Callable[[], PageDemand]:
        """How much KV memory is in use and wanted, for a governor; cheap, from any thread; does not hold the engine."""
        return self._scheduler.page_demand

    def apply_limits(self) -> None:
        """Have the governor asked soon, even if nothing is running: idle engines give memory back, too."""
        self._worker.apply_limits()

    def limits_source(self) -> Callable[[Callable[[], None]], bool]:
        """The same, and to be told when that is done; False if the engine is closed. It does not hold the engine."""
        return self._worker.apply_limits

    def close(self) -> None:
        """Stop after the running pass and free the memory. Waiting requests get EngineClosedError. May be repeated."""
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
