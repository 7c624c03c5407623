"""What an answer says, tied to what the document says: each [n] becomes a place and a quote that is really there.

    answer sentence "... [2]"  ->  passage 2  ->  the sentence of it that shares most words  ->  read again from the
    document at that place, compared  ->  Citation, or dropped

The model chooses which passage it means; the quote is never the model's, so it cannot be made up. A mark is dropped if
there is no such passage, if the passage shares no word with the sentence, or if the quote is not at its place. An
answer without any marks is tied to the passages that share most of its words, if they share enough, and says so
(is_marked).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from pocketseek.apps.doc.document import BLOCK_GAP, Place
from pocketseek.apps.doc.passages import Span, num_words, sentence_spans
from pocketseek.apps.doc.retrieve import Found
from pocketseek.apps.doc.terms import wanted_terms

_MARK = re.compile(r"[\[【［]\s*(\d{1,3}(?:\s*[,，、]\s*\d{1,3})*)\s*[\]】］]")
_MARKS_AFTER_END = re.compile(rf"([.!?。！？]+)((?:\s*{_MARK.pattern})+)")
_MAX_QUOTE_CHARS = 400
_LEAST_SHARE = 0.5  # of the words of a sentence that has no mark
_LEADERS = re.compile(r"\.(?:\s?\.){3}|…{2}|·{4}|_{4}")  # of a contents list, or of a form
_DIGITS = re.compile(r"[\d_]+")
_LEAST_NUMBERED_WORDS = 2.0
_LEAST_SENTENCE_WORDS = 4.0
_WORTH_ADDING = 2  # words that a second sentence must have and the first has not

ReadText = Callable[[int, int, int], str]
"""(document, start, stop) -> what stands there."""


@dataclass(frozen=True)
class Citation:
    """quote is text[start:stop] of the document, white space folded. number: of the passage, as in the answer."""

    number: int
    document_id: int
    title: str
    path: str
    place: Place
    heading: tuple[str, ...]
    start: int
    stop: int
    quote: str
    is_marked: bool = True


@dataclass(frozen=True)
class Cited:
    """dropped: marks of the answer that led to nothing."""

    citations: tuple[Citation, ...]
    dropped: tuple[int, ...] = ()


def cite(answer: str, passages: Sequence[Found], read_text: ReadText, place_at: Callable[[int, int], Place]) -> Cited:
    """passages: as they were numbered for the model, from 1. place_at: (document, position)."""
    citations: dict[tuple[int, int], Citation] = {}
    dropped: list[int] = []
    found_marks = False
    for sentence, numbers in _sentences(answer):
        found_marks = found_marks or bool(numbers)
        for number in numbers:
            citation = _citation(sentence, number, passages, read_text, place_at)
            if citation is None:
                dropped.append(number)
            else:
                citations.setdefault((citation.document_id, citation.start), citation)
    if not found_marks:
        return Cited(cite_unmarked(answer, passages, read_text, place_at))
    return Cited(tuple(citations.values()), tuple(dict.fromkeys(dropped)))


def cite_unmarked(
    answer: str, passages: Sequence[Found], read_text: ReadText, place_at: Callable[[int, int], Place]
) -> tuple[Citation, ...]:
    """For each sentence of the answer the passage that shares most of its words, if it shares enough."""
    citations: dict[tuple[int, int], Citation] = {}
    for citation in _unmarked(answer, passages, read_text, place_at):
        citations.setdefault((citation.document_id, citation.start), citation)
    return tuple(citations.values())


def fold(text: str) -> str:
    """Without differences of white space."""
    return " ".join(text.split())


def _sentences(answer: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Each with the numbers that it marks, those after its full stop included."""
    moved = _MARKS_AFTER_END.sub(r"\2\1", answer)
    for start, stop in sentence_spans(moved):
        sentence = moved[start:stop]
        numbers = [int(number) for mark in _MARK.finditer(sentence) for number in re.findall(r"\d+", mark[1])]
        yield _MARK.sub(" ", sentence), tuple(dict.fromkeys(numbers))


def _citation(
    sentence: str,
    number: int,
    passages: Sequence[Found],
    read_text: ReadText,
    place_at: Callable[[int, int], Place],
) -> Citation | None:
    if not 1 <= number <= len(passages):
        return None
    passage = passages[number - 1]
    span = _best_quote(frozenset(wanted_terms(sentence)), passage.text)
    if span is None:
        return None
    start, stop = passage.start + span.start, passage.start + span.stop
    quote = fold(passage.text[span.start : span.stop])
    if fold(read_text(passage.document.id, start, stop)) != quote:
        return None
    return Citation(
        number,
        passage.document.id,
        passage.document.title,
        passage.document.path,
        place_at(passage.document.id, start),
        passage.heading,
        start,
        stop,
        quote,
    )


def _best_quote(wanted: frozenset[str], text: str) -> Span | None:
    """The sentence that has most of the words (of equals the shortest), with the next one if that has others. What is
    no sentence, such as a line of a contents list, counts for half."""
    spans = [_cut(span) for span in _numbered_sentences(text)]
    shared = [wanted & frozenset(wanted_terms(text[span.start : span.stop])) for span in spans]
    worth = [
        len(terms) if _is_sentence(text[span.start : span.stop]) else len(terms) / 2
        for terms, span in zip(shared, spans, strict=True)
    ]
    best = max(range(len(spans)), key=lambda n: (worth[n], spans[n].start - spans[n].stop), default=None)
    if best is None or not shared[best]:
        return None
    if best + 1 < len(spans) and len(shared[best + 1] - shared[best]) >= _WORTH_ADDING:
        return _cut(Span(spans[best].start, spans[best + 1].stop))
    return spans[best]


def _numbered_sentences(text: str) -> Iterator[Span]:
    """Sentences, none over the end of a paragraph; the number of one ("12.2.", "第三条。") goes with it."""
    begin = 0
    for paragraph in text.split(BLOCK_GAP):
        scrap: int | None = None
        stop = begin
        for span in sentence_spans(paragraph):
            start = begin + span.start if scrap is None else scrap
            stop = begin + span.stop
            scrap = start if _is_scrap(text[start:stop]) else None
            if scrap is None:
                yield Span(start, stop)
        if scrap is not None:
            yield Span(scrap, stop)
        begin += len(paragraph) + len(BLOCK_GAP)


def _is_scrap(text: str) -> bool:
    return num_words(_DIGITS.sub(" ", text)) < _LEAST_NUMBERED_WORDS


def _is_sentence(text: str) -> bool:
    words = num_words(_DIGITS.sub(" ", text))
    return words >= _LEAST_SENTENCE_WORDS and not _LEADERS.search(text)


def _unmarked(
    answer: str, passages: Sequence[Found], read_text: ReadText, place_at: Callable[[int, int], Place]
) -> Iterator[Citation]:
    terms_of_passages = [frozenset(wanted_terms(passage.text)) for passage in passages]
    for sentence, _ in _sentences(answer):
        terms = frozenset(wanted_terms(sentence))
        shares = [len(terms & there) / max(len(terms), 1) for there in terms_of_passages]
        best = max(range(len(shares)), key=shares.__getitem__, default=None)
        if best is None or shares[best] < _LEAST_SHARE:
            continue
        citation = _citation(sentence, best + 1, passages, read_text, place_at)
        if citation is not None:
            yield replace(citation, is_marked=False)


def _cut(span: Span) -> Span:
    return Span(span.start, min(span.stop, span.start + _MAX_QUOTE_CHARS))
