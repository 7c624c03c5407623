"""An answer out of uploaded documents: from the passages that retrieval finds, or after reading all of one.

    passages   question -> retrieval -> numbered passages -> the model's answer -> citations that were checked
    whole      notes on every chunk with the question in mind, merged; the same for a summary, without a question

Each is an EventBridge of TextEvents, and of Progress where all is read; `outcome` says what there is besides when it
has ended. Nothing of a question is kept, also not in the prefix cache on disk; the notes on chunks are, with the file,
so that a second run goes on with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pocketseek.apps.doc.answer import NOT_IN_DOCUMENT, language_of
from pocketseek.apps.doc.ask import Reply, look_for, prompt_for, reply_of
from pocketseek.apps.doc.background import MAX_REASONING_TOKENS
from pocketseek.apps.doc.citations import Citation
from pocketseek.apps.doc.coverage import Coverage, facts_together
from pocketseek.apps.doc.document_rows import DocumentInfo
from pocketseek.apps.doc.exchanges import Exchange
from pocketseek.apps.doc.passage_index import Scope
from pocketseek.apps.doc.retrieve import Found
from pocketseek.apps.doc.summary_events import Progress, Summary, SummaryOptions, seconds_left
from pocketseek.apps.doc.whole import WholeAnswer
from pocketseek.apps.doc.written_answer import WrittenAnswer
from pocketseek.apps.serve.bridge import EventBridge, Polled
from pocketseek.apps.serve.kept_files import FileStore, KeptFile
from pocketseek.apps.serve.replies import RefusedError
from pocketseek.apps.serve.summary_stream import SummaryStream
from pocketseek.apps.serve.whole_reading import WholeReading
from pocketseek.errors import UsageError
from pocketseek.runtime.engine import Engine
from pocketseek.types import SamplingParams, Service, TextEvent

MAX_DOCUMENTS = 64
DEFAULT_MAX_TOKENS = 512

DocumentMode = Literal["passages", "whole", "summary"]


def careful(recommended: SamplingParams) -> SamplingParams:
    """What is not asked otherwise: the likeliest words, as `doc ask` takes them."""
    return replace(recommended, temperature=0.0)


@dataclass(frozen=True)
class DocumentTask:
    """file_ids: of the store. earlier: what the question follows. model, model_identity: who answers.

    max_tokens: reasoning included; None: DEFAULT_MAX_TOKENS, and MAX_REASONING_TOKENS besides. summary: of the mode
    that takes no question.
    """

    store: FileStore
    file_ids: tuple[str, ...]
    mode: DocumentMode
    question: str
    earlier: tuple[Exchange, ...]
    model: str
    model_identity: Callable[[str], str]
    sampling: SamplingParams
    service: Service
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    summary: SummaryOptions = field(default_factory=SummaryOptions)


@dataclass(frozen=True)
class Source:
    """A citation, and the file that it is from."""

    file_id: str
    citation: Citation

    def value(self) -> dict[str, object]:
        one = self.citation
        return {
            "number": one.number,
            "file_id": self.file_id,
            "document": one.title,
            "page": one.place.page,
            "chapter": one.place.chapter,
            "paragraph": one.place.paragraph,
            "heading": list(one.heading),
            "quote": one.quote,
            "start": one.start,
            "stop": one.stop,
            "marked": one.is_marked,
        }


@dataclass(frozen=True)
class Outcome:
    """is_there: the answer is in the documents, as far as retrieval and model see it. coverages: of the documents that
    were read as a whole."""

    is_there: bool
    sources: tuple[Source, ...] = ()
    dropped: tuple[int, ...] = ()
    coverages: tuple[Coverage, ...] = ()

    def facts(self) -> dict[str, object]:
        """What a reply has besides the text."""
        facts: dict[str, object] = {
            "citations": [source.value() for source in self.sources],
            "dropped_citations": list(self.dropped),
            "not_in_document": not self.is_there,
        }
        if self.coverages:
            facts["coverage"] = facts_together(self.coverages)
        return facts


@dataclass
class _Read:
    """What the documents of a task are."""

    infos: list[DocumentInfo] = field(default_factory=list)
    file_of: dict[int, KeptFile] = field(default_factory=dict)


class DocumentAnswer(EventBridge[TextEvent | Progress]):
    """See the module. num_prompt_tokens is known once it has started."""

    def __init__(self, engine: Engine, task: DocumentTask) -> None:
        self._engine = engine
        self._task = task
        self._read = _Read()
        self._passages: tuple[Found, ...] = ()
        self._whole: SummaryStream | None = None
        self.num_prompt_tokens = 0
        super().__init__(self._ask)

    async def outcome(self, text: str) -> Outcome:
        """text: the whole answer, once it has ended."""
        if self._whole is not None:
            return self._outcome_of_whole(self._whole.result)
        reply = await asyncio.to_thread(reply_of, self._task.store.documents, self._passages, text)
        return Outcome(reply.is_there, self._sources(reply), reply.dropped)

    def _outcome_of_whole(self, result: Summary | WholeAnswer | None) -> Outcome:
        if isinstance(result, WholeAnswer):
            coverages = tuple(one.coverage for one in result.documents if one.coverage is not None)
            return Outcome(result.reply.is_there, self._sources(result.reply), coverages=coverages)
        return Outcome(is_there=True, coverages=() if result is None else (result.coverage,))

    def _sources(self, reply: Reply) -> tuple[Source, ...]:
        return tuple(Source(self._read.file_of[one.document_id].id, one) for one in reply.citations)

    def _ask(self, announce: Callable[[], None]) -> Sequence[Polled[TextEvent | Progress]]:
        self._read = _read(self._task)
        if self._task.mode == "passages":
            return self._from_passages(announce)
        self._whole = self._from_whole(announce)
        return [self._whole]

    def _from_passages(self, announce: Callable[[], None]) -> Sequence[Polled[TextEvent | Progress]]:
        task, engine = self._task, self._engine
        scope = Scope(document_ids=tuple(info.id for info in self._read.infos))
        looked = look_for(task.store.documents, scope, task.question, task.earlier)
        if not looked.found:
            announce()
            return [_Said(NOT_IN_DOCUMENT[language_of(looked.question)])]
        max_tokens = DEFAULT_MAX_TOKENS + MAX_REASONING_TOKENS if task.max_tokens is None else task.max_tokens
        prompt = prompt_for(engine, looked, max_tokens=max_tokens)
        self._passages = prompt.passages
        encoded = engine.encode(list(prompt.messages))
        self.num_prompt_tokens = len(encoded.token_ids)
        answers = engine.stream_text_choices(
            encoded,
            1,
            max_tokens=max_tokens,
            sampling=task.sampling,
            stop=task.stop,
            service=replace(task.service, keep_on_disk=False),
            announce=announce,
        )
        most = DEFAULT_MAX_TOKENS if task.max_tokens is None else task.max_tokens
        return [_Ending(answer, WrittenAnswer(most)) for answer in answers]

    def _from_whole(self, announce: Callable[[], None]) -> SummaryStream:
        task, infos = self._task, self._read.infos
        reading = WholeReading(self._engine, task.store, task.model, task.model_identity(task.model), announce)
        files = [self._read.file_of[info.id] for info in infos]
        if task.mode == "summary" and len(infos) > 1:
            raise UsageError("one document at a time is summarised; name one")
        self.num_prompt_tokens = sum(
            reading.count_tokens(task.store.documents.document(info.id).text) for info in infos
        )
        if task.mode == "summary":
            return reading.summary(files[0], infos[0], task.summary)
        return reading.answer(files, infos, task.question)


class _Ending:
    """An answer that ends when it goes round in circles, or has as many tokens as it may, its reasoning not counted."""

    def __init__(self, answer: Polled[TextEvent], written: WrittenAnswer) -> None:
        self._answer = answer
        self._written = written
        self._is_over = False

    @property
    def has_ended(self) -> bool:
        return self._is_over or self._answer.has_ended

    def poll(self) -> TextEvent | None:
        event = None if self._is_over else self._answer.poll()
        if event is None or self._written.add(event) or event.finish_reason is not None:
            return event
        self._is_over = True
        self._answer.close()
        return replace(event, finish_reason="length")

    def close(self) -> None:
        self._answer.close()


class _Said:
    """An answer without a model."""

    def __init__(self, text: str) -> None:
        self._event: TextEvent | None = TextEvent(text, finish_reason="stop")

    @property
    def has_ended(self) -> bool:
        return self._event is None

    def poll(self) -> TextEvent | None:
        event, self._event = self._event, None
        return event

    def close(self) -> None:
        self._event = None


def _read(task: DocumentTask) -> _Read:
    """Raises NotFoundError; RefusedError for files that are not read yet (409), or cannot be (422)."""
    if not 1 <= len(task.file_ids) <= MAX_DOCUMENTS:
        raise UsageError(f"{len(task.file_ids)} documents; name 1 to {MAX_DOCUMENTS}")
    read = _Read()
    for file_id in task.file_ids:
        file = task.store.get(file_id)
        if file.status == "error":
            raise RefusedError(422, f"{file.name} could not be read: {file.problem}", code="file_error")
        info = task.store.document(file)
        if info is None or file.status == "uploaded":
            message = f"{file.name} is still being read; ask again in a moment"
            raise RefusedError(409, message, code="file_not_ready", headers={"Retry-After": "2"})
        if info.id not in read.file_of:
            read.infos.append(info)
            read.file_of[info.id] = file
    return read


def progress_value(progress: Progress, elapsed_s: float) -> dict[str, object]:
    left_s = seconds_left(progress.share, elapsed_s)
    return {
        "phase": progress.phase,
        "done": progress.done,
        "total": progress.total,
        "share": round(progress.share, 3),
        "seconds_left": None if left_s is None else round(left_s),
    }
