"""A document cut into chunks that a model can read: never more tokens than allowed, and cut where a reader would.

    |<- context ->|<------------- chunk ------------->|
    context_start start                            stop     the next chunk starts at stop

Every character of the text is in exactly one [start, stop). A chunk ends, in this order of preference, before a heading
(if it is half full by then), between paragraphs (three quarters), between sentences; rows of tables and lines of code
count as sentences. A heading stays with what follows it. Only a sentence that does not fit by itself is cut at words,
and only a word that does not fit between characters. The context is what the chunk is read with once more: whole
sentences before it, up to overlap_tokens, none where a section begins.

Tokens are the model's own. Each piece is counted once, and every chunk once or twice with the prompt around it: time is
linear in the text.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from pocketseek.apps.doc.document import Block, BlockKind, Document
from pocketseek.apps.doc.sentences import sentence_ends, split_in_two
from pocketseek.errors import UsageError

DEFAULT_CHUNK_TOKENS = 2048
DEFAULT_OVERLAP_TOKENS = 64
LEAST_ROOM_TOKENS = 64  # a single character may take a dozen

_GRAINS = 8  # a sentence that is too long is cut into pieces so many of which fill a chunk
_LONG_TOKEN_CHARS = 16  # no text has longer tokens on average


@dataclass(frozen=True)
class Chunk:
    """Character positions in Document.text, see above."""

    start: int
    stop: int
    context_start: int


class _Cut(IntEnum):
    """How good it is to cut in front of a piece."""

    NEVER = 0  # between a heading and what follows
    CHARACTER = 1
    SENTENCE = 2
    PARAGRAPH = 3
    HEADING = 4


_FULL_ENOUGH = {_Cut.HEADING: 0.5, _Cut.PARAGRAPH: 0.75, _Cut.SENTENCE: 0.25}
"""How full a chunk must be before it may end so, of what it could hold."""


@dataclass(frozen=True)
class _Piece:
    start: int
    stop: int
    num_tokens: int
    cut: _Cut


def chunks(
    document: Document,
    count_tokens: Callable[[str], int],
    *,
    max_tokens: int = DEFAULT_CHUNK_TOKENS,
    overlap_tokens: int = DEFAULT_OVERLAP_TOKENS,
    count_prompt: Callable[[Chunk], int] | None = None,
) -> list[Chunk]:
    """The chunks of a document in order; none of an empty one.

    count_tokens: of a text alone. count_prompt: of the whole prompt that shows a chunk with its context, which is what
    must not exceed max_tokens; it is also asked about chunks with nothing in them. By default there is no prompt
    around. Raises UsageError if the prompt leaves less than LEAST_ROOM_TOKENS and the overlap.
    """
    text = document.text

    def count_bare(chunk: Chunk) -> int:
        return count_tokens(text[chunk.context_start : chunk.stop])

    count = count_prompt or count_bare
    room = max_tokens - count(Chunk(0, 0, 0)) - overlap_tokens
    if room < LEAST_ROOM_TOKENS:
        raise UsageError(
            f"chunks of {max_tokens} tokens leave {max(room, 0)} for the text beside prompt and overlap; "
            f"allow {LEAST_ROOM_TOKENS - room} more"
        )
    pieces = list(_pieces(document, count_tokens, room * 7 // 8))
    return list(_Packer(pieces, text, count_tokens, count, max_tokens, overlap_tokens).pack())


# -- pieces: what is never cut again, in order, without gaps ----------------------------------------------------------


def _pieces(document: Document, count_tokens: Callable[[str], int], limit: int) -> Iterator[_Piece]:
    text = document.text
    paragraphs = document.paragraphs
    bounds = (*(paragraph.start for paragraph in paragraphs), len(text))
    after_heading = False
    for paragraph, (start, stop) in zip(paragraphs, pairwise(bounds), strict=True):
        block = paragraph.block
        cut = _cut_before(block, after_heading=after_heading)
        places = [start, *(start + end for end in _ends_in(block.kind, text[start : paragraph.stop])), stop]
        for first, last in pairwise(places):
            yield from _sized(text, first, last, cut, count_tokens, limit)
            cut = _Cut.NEVER if block.kind == "heading" else _Cut.SENTENCE
        after_heading = block.kind == "heading"


def _cut_before(block: Block, *, after_heading: bool) -> _Cut:
    if after_heading:
        return _Cut.NEVER
    return _Cut.HEADING if block.kind == "heading" else _Cut.PARAGRAPH


def _ends_in(kind: BlockKind, text: str) -> Iterable[int]:
    if kind not in ("table", "code"):
        return sentence_ends(text)
    return (position for position, letter in enumerate(text, start=1) if letter == "\n")


def _sized(
    text: str, start: int, stop: int, cut: _Cut, count_tokens: Callable[[str], int], limit: int
) -> Iterator[_Piece]:
    """The sentence, or pieces of it if it is too long."""
    if stop - start <= limit * _LONG_TOKEN_CHARS:
        num_tokens = count_tokens(text[start:stop])
        if num_tokens <= limit:
            yield _Piece(start, stop, num_tokens, cut)
            return
    yield from _halved(text, start, stop, cut, count_tokens, max(1, limit // _GRAINS))


def _halved(
    text: str, start: int, stop: int, cut: _Cut, count_tokens: Callable[[str], int], grain: int
) -> Iterator[_Piece]:
    """Halves, their halves and so on, until each has at most `grain` tokens."""
    if stop - start <= grain * _LONG_TOKEN_CHARS:
        num_tokens = count_tokens(text[start:stop])
        if num_tokens <= grain or stop - start < 2:
            yield _Piece(start, stop, num_tokens, cut)
            return
    middle = start + split_in_two(text[start:stop])
    yield from _halved(text, start, middle, cut, count_tokens, grain)
    yield from _halved(text, middle, stop, _Cut.CHARACTER, count_tokens, grain)


# -- packing ----------------------------------------------------------------------------------------------------------


class _Packer:
    """Fills chunks one after the other. Splits a piece only where the counts of the pieces were too hopeful."""

    def __init__(
        self,
        pieces: list[_Piece],
        text: str,
        count_tokens: Callable[[str], int],
        count_prompt: Callable[[Chunk], int],
        max_tokens: int,
        overlap_tokens: int,
    ) -> None:
        self._pieces = pieces
        self._text = text
        self._count_tokens = count_tokens
        self._count_prompt = count_prompt
        self._max_tokens = max_tokens
        self._overlap_tokens = overlap_tokens
        self._sums = _running_sums(pieces)

    def pack(self) -> Iterator[Chunk]:
        first = 0
        while first < len(self._pieces):
            after = self._furthest(first)
            yield self._chunk(first, after)
            first = after

    def _chunk(self, first: int, after: int) -> Chunk:
        return Chunk(self._pieces[first].start, self._pieces[after - 1].stop, self._context_start(first))

    def _furthest(self, first: int) -> int:
        """Index after the last piece of the chunk that begins with this one."""
        start, context_start = self._pieces[first].start, self._context_start(first)
        room = self._max_tokens - self._count_prompt(Chunk(start, start, context_start))
        after = self._cut_within(first, self._after(first, room))
        while (excess := self._count_prompt(self._chunk(first, after)) - self._max_tokens) > 0:
            if after == first + 1:
                self._split(first)
            else:
                room = self._sums[after] - self._sums[first] - excess
                after = self._cut_within(first, min(after - 1, self._after(first, room)))
        return after

    def _after(self, first: int, room: int) -> int:
        """As far as the counts say that the room goes; one piece at least."""
        return max(first + 1, bisect_right(self._sums, self._sums[first] + room) - 1)

    def _cut_within(self, first: int, most: int) -> int:
        """The best place to end, up to `most`, which is where the room ends."""
        if most == len(self._pieces):
            return most
        full = self._sums[most] - self._sums[first]
        best_of: dict[_Cut, int] = {}
        for after in range(most, first, -1):
            cut, share = self._pieces[after].cut, (self._sums[after] - self._sums[first]) / max(full, 1)
            if share >= _FULL_ENOUGH.get(cut, 0.0):
                best_of.setdefault(cut, after)
            if share < _FULL_ENOUGH[_Cut.HEADING] and max(best_of, default=_Cut.NEVER) >= _Cut.SENTENCE:
                break
        return best_of[max(best_of)]

    def _context_start(self, first: int) -> int:
        """Where the sentences begin that are read once more in front of this piece."""
        index = first
        while index and self._pieces[index].cut != _Cut.HEADING:
            if self._sums[first] - self._sums[index - 1] > self._overlap_tokens:
                break
            index -= 1
        return self._pieces[index].start

    def _split(self, index: int) -> None:
        """Raises UsageError if there is nothing left to split."""
        piece = self._pieces[index]
        if piece.stop - piece.start < 2:
            raise UsageError(f"chunks of {self._max_tokens} tokens have no room for the text; allow more")
        middle = piece.start + split_in_two(self._text[piece.start : piece.stop])
        halves = [(piece.start, middle, piece.cut), (middle, piece.stop, _Cut.CHARACTER)]
        self._pieces[index : index + 1] = [
            _Piece(start, stop, self._count_tokens(self._text[start:stop]), cut) for start, stop, cut in halves
        ]
        self._sums = _running_sums(self._pieces)


def _running_sums(pieces: list[_Piece]) -> list[int]:
    sums = [0]
    for piece in pieces:
        sums.append(sums[-1] + piece.num_tokens)
    return sums
