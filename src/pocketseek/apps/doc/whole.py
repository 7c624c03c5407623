"""A question answered by reading everything: one document, or each of a collection.

    document   -> summarize() with the question as its focus -> its answer
    collection -> the answers of its documents, read as one document -> the answer

The quotes are sentences of the chunks whose notes went into the answer, tied to it by the words they share, as the
model sees notes and no numbers to mark. Answers go to the keeper as those of a summary do, and the model answers at
temperature 0 for the same reason.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pocketseek.apps.doc.answer import language_of
from pocketseek.apps.doc.ask import Reply
from pocketseek.apps.doc.citations import cite_unmarked
from pocketseek.apps.doc.coverage import Coverage
from pocketseek.apps.doc.document import Block, Document, Place
from pocketseek.apps.doc.document_rows import DocumentInfo
from pocketseek.apps.doc.kept_answers import Keeper
from pocketseek.apps.doc.not_there import says_not_there
from pocketseek.apps.doc.passages import passages_of
from pocketseek.apps.doc.retrieve import Found
from pocketseek.apps.doc.store import DocumentStore
from pocketseek.apps.doc.summarize import SummaryEngine, summarize
from pocketseek.apps.doc.summary_events import Summary, SummaryEvent, SummaryOptions
from pocketseek.apps.doc.summary_prompts import NOTHING_FOUND
from pocketseek.apps.doc.written_answer import Note
from pocketseek.errors import ModelOutputError


@dataclass(frozen=True)
class Reading:
    """The next document begins. number: from 1."""

    title: str
    number: int
    total: int


@dataclass(frozen=True)
class ReadWhole:
    """What one document says. coverage None: the model wrote nothing about it (problem says what happened)."""

    document: DocumentInfo
    answer: str
    is_there: bool
    coverage: Coverage | None
    problem: str = ""


@dataclass(frozen=True)
class WholeAnswer:
    """The last event. is_cut: the answer did not end by itself."""

    reply: Reply
    documents: tuple[ReadWhole, ...]
    is_cut: bool


WholeEvent = Reading | SummaryEvent | WholeAnswer


class ForgetfulKeeper:
    """A `Keeper` that keeps nothing."""

    def find(self, key: str) -> Note | None:
        return None

    def keep(self, key: str, note: Note) -> None:
        pass


def options_for(question: str) -> SummaryOptions:
    """How the documents are read: in the language of the question."""
    return SummaryOptions(focus=" ".join(question.split()), language=language_of(question))


def answer_whole(
    store: DocumentStore, infos: Sequence[DocumentInfo], engine: SummaryEngine, question: str, keeper: Keeper
) -> Generator[WholeEvent, None, None]:
    """The last event is the WholeAnswer. infos: not empty. Raises what `summarize` raises, of several documents only
    if it is not about the model's answer to one of them."""
    options = options_for(question)
    read: list[ReadWhole] = []
    sources: list[Found] = []
    is_cut = False
    for number, info in enumerate(infos, 1):
        yield Reading(info.title, number, len(infos))
        document = store.document(info.id)
        try:
            summary = yield from _last(summarize(document, engine, options, keeper))
        except ModelOutputError as error:
            if len(infos) == 1:
                raise
            read.append(ReadWhole(info, "", False, None, str(error)))
            continue
        one = _read(info, summary)
        read.append(one)
        is_cut = summary.coverage.summary_outcome == "cut"
        if one.is_there:
            sources += _sources(info, document, summary.coverage)
    answering = [one for one in read if one.is_there]
    answer = answering[0].answer if answering else read[0].answer or NOTHING_FOUND[language_of(question)]
    if len(answering) > 1:
        merged = yield from _last(summarize(_of_answers(answering), engine, options, keeper))
        answer, is_cut = merged.text, merged.coverage.summary_outcome == "cut"
    yield WholeAnswer(_reply(store, answer, sources), tuple(read), is_cut)


def _last(events: Generator[SummaryEvent, None, None]) -> Generator[WholeEvent, None, Summary]:
    for event in events:
        if isinstance(event, Summary):
            return event
        yield event
    raise AssertionError("a summary ends with a Summary")


def _read(info: DocumentInfo, summary: Summary) -> ReadWhole:
    is_there = any(_is_useful(summary.coverage)) and not says_not_there(summary.text)
    return ReadWhole(info, summary.text, is_there, summary.coverage)


def _is_useful(coverage: Coverage) -> list[bool]:
    """Of each chunk, whether it went into the answer."""
    lost = {number for merge in coverage.lost for number in range(merge.first, merge.last + 1)}
    return [
        part.is_covered and not part.says_nothing and number not in lost for number, part in enumerate(coverage.parts)
    ]


def _sources(info: DocumentInfo, document: Document, coverage: Coverage) -> Iterator[Found]:
    """The passages that begin in chunks which went into the answer."""
    useful = _is_useful(coverage)
    starts = [part.chunk.start for part in coverage.parts]
    bounds = [(start, stop) for (start, stop), is_used in zip(pairwise([*starts, len(document.text)]), useful,
              strict=True) if is_used]  # fmt: skip
    for passage in passages_of(document):
        if any(start <= passage.start < stop for start, stop in bounds):
            text = document.text[passage.start : passage.stop]
            place = document.place_at(passage.start)
            yield Found(info, passage.start, passage.stop, passage.heading, text, place, 0.0, 1.0)


def _of_answers(answering: Sequence[ReadWhole]) -> Document:
    """What the documents say, as a document with a chapter for each."""
    blocks: list[Block] = []
    for number, one in enumerate(answering, 1):
        place = Place(None, number, 1)
        blocks.append(Block("heading", " ".join(one.document.title.split()) or str(number), place, level=1))
        paragraphs = filter(None, (text.strip() for text in one.answer.split("\n")))
        blocks += (Block("paragraph", text, place) for text in paragraphs)
    return Document("", "text/plain", tuple(blocks))


def _reply(store: DocumentStore, answer: str, sources: Sequence[Found]) -> Reply:
    if not sources or says_not_there(answer):
        return Reply(answer, is_there=False)
    cited = cite_unmarked(answer, sources, store.index.text, store.place_at)
    numbered = tuple(replace(one, number=number) for number, one in enumerate(cited, 1))
    return Reply(answer, True, numbered)
