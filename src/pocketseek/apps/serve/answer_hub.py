"""Answers of the page, written by the server whoever looks: switching the screen off or losing the network ends none.

One answer at a time for each conversation. Its text is in the store once a second and at the end; when the server is
stopped, what there is of it is kept as an answer that was stopped. Used by the event loop alone.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace

import msgspec

from pocketseek.apps.answer_keeper import AnswerKeeper
from pocketseek.apps.conversation import Conversation, Turn
from pocketseek.apps.conversations import ConversationStore
from pocketseek.apps.doc.summary_events import Progress
from pocketseek.apps.prompt_fit import fitting_prompt
from pocketseek.apps.serve.access import Caller
from pocketseek.apps.serve.asking import Asked
from pocketseek.apps.serve.attached_files import attached_files, question_of
from pocketseek.apps.serve.bodies import SummaryBody
from pocketseek.apps.serve.bridge import EventBridge
from pocketseek.apps.serve.document_answer import DocumentAnswer, DocumentMode, DocumentTask, careful, progress_value
from pocketseek.apps.serve.limits import check_model
from pocketseek.apps.serve.questions import Question
from pocketseek.apps.serve.replies import RefusedError, describe_error
from pocketseek.apps.serve.running_answer import RunningAnswer, turn_value
from pocketseek.apps.serve.services import Services
from pocketseek.runtime.engine import Engine
from pocketseek.types import SamplingParams, Service, TextEvent

DEFAULT_MAX_TOKENS = 2048
_KEEP_S = 1.0


@dataclass(frozen=True)
class AnswerOrder:
    """What is to be answered. None: as the model recommends, DEFAULT_MAX_TOKENS, a fresh seed.

    documents: those of the conversation's files that it is about; none: all.
    change: brings the conversation into the state that is answered, in a thread; raises what the store raises.
    """

    store: ConversationStore
    conversation_id: str
    caller: Caller
    model: str
    change: Callable[[], object]
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    document_mode: DocumentMode = "passages"
    documents: tuple[str, ...] = ()
    summary: SummaryBody = field(default_factory=SummaryBody)

    def question(self, engine: Engine, conversation: Conversation) -> Question:
        sampling = self.sampling(engine.recommended_sampling)
        max_tokens = self.max_tokens or DEFAULT_MAX_TOKENS
        prompt = fitting_prompt(
            engine, conversation.system, conversation.turns[:-1], max_tokens
        )  # the last is being written
        service = Service(client=self.caller.name, kept_for=self.conversation_id)
        return Question(prompt, 1, max_tokens, sampling, (), service)

    def sampling(self, recommended: SamplingParams) -> SamplingParams:
        given = {"temperature": self.temperature, "seed": self.seed}
        return replace(recommended, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]  # each of its field's type


class AnswerHub:
    """See the module."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._answers: dict[str, RunningAnswer] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._reading: dict[str, asyncio.Task[str]] = {}

    def running(self, conversation_id: str) -> RunningAnswer | None:
        return self._answers.get(conversation_id)

    async def start(self, order: AnswerOrder) -> RunningAnswer:
        """Raises RefusedError (409 while another is written, 403, 429) and what `order.change` raises."""
        if order.conversation_id in self._answers:
            raise RefusedError(409, "an answer is still being written here; stop it or wait", code="busy")
        check_model(order.caller, order.model)
        with ExitStack() as stack:
            stack.enter_context(self._services.admission.place(order.caller))
            answer = self._answers[order.conversation_id] = RunningAnswer()
            stack.callback(self._answers.pop, order.conversation_id, None)
            keeper = await asyncio.to_thread(_begin, order)
            held = stack.pop_all()
        pieces = _Pieces(keeper)
        reading = self._reading[order.conversation_id] = asyncio.ensure_future(self._read(order, answer, pieces))
        task = asyncio.ensure_future(self._write(order, answer, pieces, reading))
        self._tasks[order.conversation_id] = task
        task.add_done_callback(lambda done: self._ended(order.conversation_id, answer, done, held))
        return answer

    async def stop(self, conversation_id: str) -> None:
        """And wait until what there is of the answer is kept. Whoever asks for it a second time only waits."""
        task, reading = self._tasks.get(conversation_id), self._reading.get(conversation_id)
        if task is not None and reading is not None:
            if not reading.cancelling():
                reading.cancel()
            await asyncio.wait({task})

    def _ended(self, conversation_id: str, answer: RunningAnswer, task: asyncio.Task[None], held: ExitStack) -> None:
        held.close()
        self._tasks.pop(conversation_id, None)
        self._reading.pop(conversation_id, None)
        error = RefusedError(503, "stopped", code="stopped") if task.cancelled() else task.exception()
        if error is not None:
            status, value = describe_error(error)
            inner = value["error"]
            assert isinstance(inner, dict)  # as describe_error makes it
            answer.end({"error": {"status": status, "message": inner["message"]}})

    async def _write(
        self, order: AnswerOrder, answer: RunningAnswer, pieces: _Pieces, reading: asyncio.Task[str]
    ) -> None:
        """Keeps what `reading` gets, to its end or until it or this is cancelled, be it before its first step."""
        reason = "error"
        try:
            reason = await reading
        except asyncio.CancelledError:
            reason = "cancelled"
        finally:
            keeping = asyncio.ensure_future(asyncio.to_thread(_finish, order, pieces, reason))
            await _until_done(keeping)
        answer.end(keeping.result())

    async def _read(self, order: AnswerOrder, answer: RunningAnswer, pieces: _Pieces) -> str:
        """The finish reason."""
        answer.enter("loading")
        async with self._services.leases.engine(order.model) as engine:
            answer.enter("reading")
            conversation = await asyncio.to_thread(order.store.get, order.conversation_id)
            self._services.metrics.count_answers(order.model, 1)
            if file_ids := attached_files(conversation):
                return await self._read_documents(order, answer, pieces, engine, conversation, file_ids)
            question = await asyncio.to_thread(order.question, engine, conversation)
            async with Asked(engine, question) as asked:
                return await _gathered(asked, answer, pieces)

    async def _read_documents(
        self,
        order: AnswerOrder,
        answer: RunningAnswer,
        pieces: _Pieces,
        engine: Engine,
        conversation: Conversation,
        file_ids: tuple[str, ...],
    ) -> str:
        services = self._services
        if services.files is None:
            raise RefusedError(422, "this server keeps no files; begin a chat without documents", code="no_files")
        question, earlier = question_of(conversation.turns)
        task = DocumentTask(
            await asyncio.to_thread(services.files.of, order.caller),
            tuple(one for one in file_ids if one in order.documents) or file_ids,
            order.document_mode,
            question,
            earlier,
            order.model,
            services.model_identity,
            order.sampling(careful(engine.recommended_sampling)),
            Service(client=order.caller.name),
            order.max_tokens,
            summary=order.summary.options(),
        )
        how = {"mode": task.mode, "documents": list(order.documents), "summary": msgspec.to_builtins(order.summary)}
        pieces.sources_json = json.dumps(how, ensure_ascii=False)  # one that is stopped can be asked again as it was
        async with DocumentAnswer(engine, task) as asked:
            reason = await _gathered(asked, answer, pieces)
            outcome = await asked.outcome(pieces.text)
        pieces.sources_json = json.dumps(outcome.facts() | how, ensure_ascii=False)
        return reason


async def _gathered(
    asked: EventBridge[TextEvent] | EventBridge[TextEvent | Progress], answer: RunningAnswer, pieces: _Pieces
) -> str:
    """The finish reason, once all of the answer has come."""
    reason, started_s = "cancelled", time.monotonic()
    async for batch in asked.batches():
        events = []
        for _, event in batch:
            if isinstance(event, Progress):
                answer.enter(event.phase, progress_value(event, time.monotonic() - started_s))
                continue
            answer.see(event)
            reason = event.finish_reason or reason
            events.append(event)
        await pieces.add(events)
    asked.raise_error()
    return reason


async def _until_done(future: asyncio.Future[dict[str, object]]) -> None:
    """Whoever stops the answer meanwhile: what is kept is kept whole."""
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({future})


class _Pieces:
    """Gathers what is written, so that the disk is asked once a second and never by the event loop."""

    def __init__(self, keeper: AnswerKeeper) -> None:
        self.sources_json = ""
        self._keeper = keeper
        self._waiting: list[TextEvent] = []
        self._kept_s = time.monotonic()
        self._lock = threading.Lock()  # a cancelled `add` leaves its thread behind

    async def add(self, events: list[TextEvent]) -> None:
        self._waiting += events
        if time.monotonic() - self._kept_s >= _KEEP_S:
            await asyncio.to_thread(self._keep)
            self._kept_s = time.monotonic()

    def finish(self, reason: str) -> Turn:
        self._keep()
        return self._keeper.finish(reason, self.sources_json)

    @property
    def text(self) -> str:
        """All of the answer so far."""
        return self._keeper.text + "".join(event.text for event in self._waiting)

    def _keep(self) -> None:
        with self._lock:
            events, self._waiting = self._waiting, []
            if events:
                text, reasoning = "".join(e.text for e in events), "".join(e.reasoning for e in events)
                self._keeper.see(TextEvent(text, reasoning, events[-1].num_tokens))


def _begin(order: AnswerOrder) -> AnswerKeeper:
    order.change()
    order.store.set_model(order.conversation_id, order.model)
    return AnswerKeeper(order.store, order.conversation_id, order.model)


def _finish(order: AnswerOrder, pieces: _Pieces, reason: str) -> dict[str, object]:
    """An answer of which nothing came is no turn, if an error was the reason: the question can be asked again."""
    turn = pieces.finish(reason)
    kept = order.store.get(order.conversation_id)
    if reason == "error" and not turn.content and not turn.reasoning:
        order.store.replace_from(order.conversation_id, len(kept.turns) - 1)
    return {"turn": turn_value(kept.turns[-1]), "title": kept.info.title}
