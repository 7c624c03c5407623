"""The summary of a whole document, however long: notes on every chunk, merged until they fit, then the summary.

    document -> chunks -> a note on each (map) -> merged notes, as many levels as needed (reduce) -> summary

Notes and merges of a level run as background requests side by side (background.py); the summary is streamed. A document
of one chunk is summarised from its text. Every answer goes to the keeper as soon as it is there, under a key made of
what was asked, and is taken from it next time: who is stopped at any moment goes on where he was. The model answers at
temperature 0, so the same document, model and options give the same summary.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pocketseek.apps.doc import summary_prompts as prompts
from pocketseek.apps.doc.background import MAX_REASONING_TOKENS, SAMPLING, UNKEPT, Task, TaskEngine
from pocketseek.apps.doc.chunk import Chunk, chunks
from pocketseek.apps.doc.coverage import Coverage, LostMerge, Part
from pocketseek.apps.doc.document import Document
from pocketseek.apps.doc.formats.outline import Chapter, heading_paths, outline
from pocketseek.apps.doc.kept_answers import Keeper, KeptAnswers
from pocketseek.apps.doc.summary_events import Planned, Progress, Summary, SummaryEvent, SummaryOptions, SummaryText
from pocketseek.apps.doc.summary_prompts import Language
from pocketseek.apps.doc.summary_sizes import sizes_for
from pocketseek.apps.doc.written_answer import Note, WrittenAnswer
from pocketseek.errors import ContextLengthError, FormatError, ModelOutputError
from pocketseek.types import Message, SamplingParams, Service, TextEvent

_GAP_TOKENS = 4  # between two notes


class CountsTokens(Protocol):
    """What is needed of a Tokenizer."""

    def encode(self, text: str, /, *, add_special: bool, parse_special: bool) -> list[int]: ...


class SummaryEngine(TaskEngine, Protocol):
    """What is needed of an Engine."""

    @property
    def tokenizer(self) -> CountsTokens: ...

    def stream_text(
        self, prompt: Sequence[Message], /, *, max_tokens: int, sampling: SamplingParams, service: Service
    ) -> Iterator[TextEvent]: ...


def summarize(
    document: Document, engine: SummaryEngine, options: SummaryOptions, keeper: Keeper
) -> Generator[SummaryEvent, None, None]:
    """What happens on the way to a summary; the last event is the Summary. Closing the iterator stops the work.

    Raises FormatError if the document has no text, UsageError if the chunks have no room for it, ContextLengthError if
    the model's context is too short for any notes, ModelOutputError if the model had nothing to say, and what the
    engine and the keeper raise.
    """
    if not document.blocks:
        raise FormatError(f"{document.title} has no text to summarise; if its pages are pictures, --ocr reads them")
    return _Summarizer(document, engine, options, keeper).run()


@dataclass(frozen=True)
class _Notes:
    """A text for the chunks first to last."""

    first: int
    last: int
    text: str


class _Summarizer:
    """One run."""

    def __init__(self, document: Document, engine: SummaryEngine, options: SummaryOptions, keeper: Keeper) -> None:
        self._document = document
        self._engine = engine
        self._options = options
        self._answers = KeptAnswers(engine, keeper)
        self._language: Language = options.language or prompts.language_of(document.text)
        self._sizes = sizes_for(engine, options)
        self._paths = heading_paths(document)
        self._coverage = Coverage((), document.remarks)

    def run(self) -> Generator[SummaryEvent, None, None]:
        parts = self._parts()
        whole = [_Notes(0, 0, self._document.text)]
        if len(parts) == 1 and not self._options.outline and self._fit(whole):
            yield Planned(1, 0, parts[0].num_tokens)
            yield from self._ending(parts, whole, is_text=True)
            return
        tasks = [self._note_task(part.chunk) for part in parts]
        yield self._planned(parts, tasks)
        answers = yield from self._answers.run("notes", tasks)
        parts = [self._noted(part, note) for part, note in zip(parts, answers, strict=True)]
        notes = yield from self._merged(self._useful(parts))
        yield from self._ending(parts, notes)

    # -- map --------------------------------------------------------------------------------------------------------

    def _parts(self) -> list[Part]:
        found = chunks(
            self._document,
            self._count_tokens,
            max_tokens=self._sizes.chunk,
            overlap_tokens=self._options.overlap_tokens,
            count_prompt=lambda chunk: self._count_prompt(self._note_task(chunk)),
        )
        text, place_at = self._document.text, self._document.place_at
        return [Part(one, place_at(one.start), self._count_tokens(text[one.start : one.stop])) for one in found]

    def _note_task(self, chunk: Chunk) -> Task:
        text = self._document.text[chunk.context_start : chunk.stop]
        path = self._paths[self._document.block_index_at(chunk.start)]
        words, focus = self._sizes.note_words, self._options.focus
        return Task(prompts.note_prompt(self._language, words, focus, path, text), self._sizes.note)

    def _planned(self, parts: Sequence[Part], tasks: Sequence[Task]) -> Planned:
        num_missing = self._answers.num_missing(tasks)
        notes_tokens = len(tasks) * self._sizes.note // 2  # half of what they may have, as a guess
        num_merges = 0 if notes_tokens < self._sizes.summarised else -(-notes_tokens // self._sizes.merged)
        self._answers.num_to_do = num_missing + num_merges + 1
        return Planned(len(tasks), len(tasks) - num_missing, sum(part.num_tokens for part in parts))

    def _noted(self, part: Part, note: Note) -> Part:
        is_nothing = bool(self._options.focus) and prompts.says_nothing(self._language, note.text)
        return replace(part, note=note, says_nothing=is_nothing)

    def _useful(self, parts: Sequence[Part]) -> list[_Notes]:
        """The notes that go on; none if nothing in the document is about the focus."""
        if not any(part.is_covered for part in parts):
            raise ModelOutputError(
                f"the model has written no note on any of the {len(parts)} chunks; try another model or --language"
            )
        return [
            _Notes(number, number, part.note.text)
            for number, part in enumerate(parts)
            if part.note is not None and part.is_covered and not part.says_nothing
        ]

    # -- reduce -----------------------------------------------------------------------------------------------------

    def _merged(self, notes: list[_Notes]) -> Generator[Progress, None, list[_Notes]]:
        """Few enough for one summary."""
        while not self._fit(notes) and len(notes) > 1:
            groups = self._groups(notes)
            if len(groups) == len(notes):
                raise ContextLengthError(
                    f"the context of {self._engine.context_length} tokens is too short to merge notes; "
                    "use another model, or give --memory more"
                )
            notes = yield from self._merge_groups(groups)
        return notes

    def _merge_groups(self, groups: Sequence[list[_Notes]]) -> Generator[Progress, None, list[_Notes]]:
        tasks = [self._merge_task(group) for group in groups if len(group) > 1]
        answers = iter((yield from self._answers.run("merge", tasks)))
        merged: list[_Notes] = []
        lost: list[LostMerge] = []
        num_cut = 0
        for group in groups:
            if len(group) == 1:
                merged += group
                continue
            note, first, last = next(answers), group[0].first, group[-1].last
            num_cut += note.outcome == "cut"
            if note.is_usable:
                merged.append(_Notes(first, last, note.text))
            else:
                lost.append(LostMerge(first, last, note))
        if not merged:
            raise ModelOutputError("the model has not merged its notes; try another model or --language")
        so_far = self._coverage
        self._coverage = replace(
            so_far,
            num_levels=so_far.num_levels + 1,
            num_cut_merges=so_far.num_cut_merges + num_cut,
            lost=(*so_far.lost, *lost),
        )
        return merged

    def _groups(self, notes: Sequence[_Notes]) -> list[list[_Notes]]:
        """Neighbours that fit a prompt together."""
        groups: list[list[_Notes]] = []
        empty, room = self._count_prompt(self._merge_task([])), 0
        for note in notes:
            num_tokens = self._count_note(note)
            if not groups or num_tokens > room:
                groups.append([])
                room = self._sizes.merged - empty
            groups[-1].append(note)
            room -= num_tokens
        return groups

    def _merge_task(self, notes: Sequence[_Notes]) -> Task:
        texts = [note.text for note in notes]
        words, focus = self._sizes.note_words, self._options.focus
        return Task(prompts.merge_prompt(self._language, words, focus, texts), self._sizes.note)

    # -- the summary ------------------------------------------------------------------------------------------------

    def _fit(self, notes: Sequence[_Notes]) -> bool:
        """Whether a summary can be written from them."""
        empty = self._count_prompt(self._summary_task([]))
        return empty + sum(map(self._count_note, notes)) <= self._sizes.summarised

    def _summary_task(self, notes: Sequence[_Notes], *, is_text: bool = False) -> Task:
        texts, options, title = [note.text for note in notes], self._options, self._document.title
        prompt = prompts.summary_prompt(self._language, options.num_words, options.focus, title, texts, is_text=is_text)
        return Task(prompt, self._sizes.summary)

    def _ending(
        self, parts: Sequence[Part], notes: Sequence[_Notes], *, is_text: bool = False
    ) -> Generator[SummaryEvent, None, None]:
        yield self._answers.progress("summary", 0, 1)
        if notes:
            note = yield from self._streamed(self._summary_task(notes, is_text=is_text))
        else:
            note = Note(prompts.NOTHING_FOUND[self._language], "complete")
            yield SummaryText(note.text)
        coverage = replace(self._coverage, parts=tuple(parts), summary_outcome=note.outcome)
        yield Summary(note.text, self._language, coverage, self._outline(parts), self._answers.num_done)

    def _streamed(self, task: Task) -> Generator[SummaryEvent, None, Note]:
        note = self._answers.find(task)
        if note is not None:
            yield SummaryText(note.text)
            return note
        note = yield from self._written(task)
        if not note.text:
            raise ModelOutputError("the model has written no summary; try another model or --language")
        self._answers.keep(task, note)
        return note

    def _written(self, task: Task) -> Generator[SummaryEvent, None, Note]:
        room = self._engine.context_length - self._count_prompt(task)
        max_tokens = max(1, min(task.max_tokens + MAX_REASONING_TOKENS, room))
        written, has_begun = WrittenAnswer(task.max_tokens), False
        answer = self._engine.stream_text(task.prompt, max_tokens=max_tokens, sampling=SAMPLING, service=UNKEPT)
        for event in answer:
            goes_on = written.add(event)
            if text := event.text if has_begun else event.text.lstrip():
                has_begun = True
                yield SummaryText(text)
            if not goes_on:
                break
        return written.note()

    def _outline(self, parts: Sequence[Part]) -> tuple[Chapter, ...]:
        if not self._options.outline:
            return ()
        notes = [part.note.text if part.note is not None and part.is_covered else "" for part in parts]
        return tuple(outline(self._document, [part.chunk.start for part in parts], notes))

    # -- counting ---------------------------------------------------------------------------------------------------

    def _count_note(self, note: _Notes) -> int:
        return self._count_tokens(note.text) + _GAP_TOKENS

    def _count_tokens(self, text: str) -> int:
        return len(self._engine.tokenizer.encode(text, add_special=False, parse_special=False))

    def _count_prompt(self, task: Task) -> int:
        return len(self._engine.encode(task.prompt).token_ids)
