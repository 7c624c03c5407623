"""A document cut into passages: what is found by a question, and what is quoted from.

    # Chapter > ## Section        a heading begins a passage, and is kept above all that follow it in its section
    s1 s2 s3 | s3 s4 s5 | s5 s6   sentences up to about 200 words; the last one is repeated in the next passage

Sizes are in words; a Chinese character counts as two thirds of one. A sentence longer than a passage is cut. Every
character of the document that is not white space is in at least one passage or, of headings, above one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from pocketseek.apps.doc.document import Block, Document, Paragraph
from pocketseek.apps.doc.sentences import sentence_ends

VERSION = 2  # 1: sentences ended with their page

_FULL_WORDS = 200.0
_LONGEST_SENTENCE_WORDS = 120.0  # a longer one is cut, so that no passage passes 320
_LONGEST_OVERLAP_WORDS = 40.0

_LINE_END = re.compile(r"\n")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]|[^\W_]+")
_PAIRED_WORDS = 2 / 3


class Span(NamedTuple):
    start: int
    stop: int


@dataclass(frozen=True)
class Passage:
    """text[start:stop] of the document. heading: the titles above it, the highest first, its own included."""

    start: int
    stop: int
    heading: tuple[str, ...]


def passages_of(document: Document) -> list[Passage]:
    found: list[Passage] = []
    paragraphs = document.paragraphs
    for heading, first, last in _sections([paragraph.block for paragraph in paragraphs]):
        spans = _sentences_of(document.text, paragraphs[first:last])
        found += (Passage(span.start, span.stop, heading) for span in _filled(document.text, spans))
    return found


def sentence_spans(text: str, *, by_line: bool = False) -> list[Span]:
    """Where its sentences are, in order, without the space around them. by_line: its lines, as of a table."""
    ends = (match.end() for match in _LINE_END.finditer(text)) if by_line else sentence_ends(text)
    spans = (_trimmed(text, start, stop) for start, stop in pairwise([0, *ends, len(text)]))
    return [span for span in spans if span.start < span.stop]


def num_words(text: str) -> float:
    return sum(1.0 if len(word) > 1 or word < "\u3040" else _PAIRED_WORDS for word in _WORD.findall(text))


def _sections(blocks: Sequence[Block]) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """(headings, first block, block after the last); headings with nothing between them begin one section."""
    path: list[tuple[int, str]] = []
    first = 0
    for number, block in enumerate(blocks):
        if block.kind != "heading":
            continue
        if number > first and blocks[number - 1].kind != "heading":
            yield tuple(title for _, title in path), first, number
            first = number
        path = [(level, title) for level, title in path if level < block.level]
        path.append((block.level, " ".join(block.text.split())))
    if first < len(blocks):
        yield tuple(title for _, title in path), first, len(blocks)


def _sentences_of(text: str, section: Sequence[Paragraph]) -> list[Span]:
    """Of a section, without its headings, unless it has nothing else."""
    spans: list[Span] = []
    for paragraph in [one for one in section if one.block.kind != "heading"] or section:
        start, own = paragraph.start, text[paragraph.start : paragraph.stop]
        for span in sentence_spans(own, by_line=paragraph.block.kind in ("table", "code")):
            spans += (Span(start + piece.start, start + piece.stop) for piece in _short_pieces(own, span))
    return spans


def _short_pieces(text: str, span: Span) -> Iterator[Span]:
    """A sentence, or parts of one that is too long."""
    if span.stop - span.start <= _LONGEST_SENTENCE_WORDS:  # as many characters are never more words
        yield span
        return
    words, start, words_end = 0.0, span.start, span.start
    for match in _WORD.finditer(text, span.start, span.stop):
        words += num_words(match[0])
        if words > _LONGEST_SENTENCE_WORDS or match.end() - start > 12 * _LONGEST_SENTENCE_WORDS:
            if words_end > start:
                yield _trimmed(text, start, match.start())
            start, words = match.start(), num_words(match[0])
        words_end = match.end()
    yield _trimmed(text, start, span.stop)


def _filled(text: str, spans: Sequence[Span]) -> Iterator[Span]:
    """Runs of sentences, each as long as it may be, that share one sentence with the one before."""
    sizes = [num_words(text[span.start : span.stop]) for span in spans]
    begin, size = 0, 0.0
    for number in range(len(spans)):
        if size + sizes[number] > _FULL_WORDS and number > begin:
            yield Span(spans[begin].start, spans[number - 1].stop)
            repeats = sizes[number - 1] <= _LONGEST_OVERLAP_WORDS and number - 1 > begin
            begin, size = (number - 1, sizes[number - 1]) if repeats else (number, 0.0)
        size += sizes[number]
    if begin < len(spans):
        yield Span(spans[begin].start, spans[-1].stop)


def _trimmed(text: str, start: int, stop: int) -> Span:
    while start < stop and text[start].isspace():
        start += 1
    while stop > start and text[stop - 1].isspace():
        stop -= 1
    return Span(start, stop)
