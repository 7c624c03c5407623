"""What of a document went into its summary, and what did not and why: nothing is left out without a word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pocketseek.apps.doc.chunk import Chunk
from pocketseek.apps.doc.document import Place, Remark, RemarkCode
from pocketseek.apps.doc.written_answer import Note, Outcome

Reason = RemarkCode | Literal["empty", "refused", "failed", "merge"]


@dataclass(frozen=True)
class Part:
    """A chunk and what the model noted of it. note None: the summary was written from the chunk itself.

    num_tokens: of the chunk's own text. says_nothing: the note is that the chunk has nothing about the focus.
    """

    chunk: Chunk
    place: Place
    num_tokens: int
    note: Note | None = None
    says_nothing: bool = False

    @property
    def is_covered(self) -> bool:
        return self.note is None or self.note.is_usable


@dataclass(frozen=True)
class LeftOut:
    """Something that is not in the summary. first, last: chunks, counted from 1; None: the reader left it out."""

    reason: Reason
    page: int | None
    chapter: int | None
    detail: str
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True)
class LostMerge:
    """The notes of chunks first to last (from 0) could not be merged."""

    first: int
    last: int
    note: Note


@dataclass(frozen=True)
class Coverage:
    """levels: how often notes were merged before the summary. cut_merges: of them that did not end by themselves."""

    parts: tuple[Part, ...]
    remarks: tuple[Remark, ...] = ()
    num_levels: int = 0
    num_cut_merges: int = 0
    lost: tuple[LostMerge, ...] = ()
    summary_outcome: Outcome = "complete"

    @property
    def num_covered(self) -> int:
        gone = {number for merge in self.lost for number in range(merge.first, merge.last + 1)}
        return sum(part.is_covered and number not in gone for number, part in enumerate(self.parts))

    @property
    def num_tokens(self) -> int:
        return sum(part.num_tokens for part in self.parts)

    @property
    def cut_off(self) -> tuple[int, ...]:
        """Chunks, counted from 1, whose note did not end by itself."""
        return tuple(
            number for number, part in enumerate(self.parts, start=1) if part.note and part.note.outcome == "cut"
        )

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        return (*map(_of_remark, self.remarks), *self._parts_left_out(), *map(self._of_lost, self.lost))

    def facts(self) -> dict[str, object]:
        """For JSON. Chunks are counted from 1; tokens are the model's."""
        return {
            "chunks": len(self.parts),
            "chunks_covered": self.num_covered,
            "characters": self.parts[-1].chunk.stop if self.parts else 0,
            "tokens": self.num_tokens,
            "left_out": [_left_out_facts(item) for item in self.left_out],
            "nothing_about_focus": [n for n, part in enumerate(self.parts, start=1) if part.says_nothing],
            "cut_off": list(self.cut_off),
            "merge_levels": self.num_levels,
            "merges_cut_off": self.num_cut_merges,
            "summary_ended": self.summary_outcome == "complete",
            "parts": [_part_facts(part) for part in self.parts],
        }

    def _parts_left_out(self) -> Iterator[LeftOut]:
        for number, part in enumerate(self.parts, start=1):
            note = part.note
            if note is not None and (note.outcome == "empty" or note.outcome == "refused" or note.outcome == "failed"):
                detail = note.problem or note.text
                yield LeftOut(note.outcome, part.place.page, part.place.chapter, detail, number, number)

    def _of_lost(self, merge: LostMerge) -> LeftOut:
        place = self.parts[merge.first].place
        detail = merge.note.problem or merge.note.text
        return LeftOut("merge", place.page, place.chapter, detail, merge.first + 1, merge.last + 1)


def facts_together(coverages: Sequence[Coverage]) -> dict[str, object]:
    """As `Coverage.facts`, of several documents; without the parts, which only one document has."""
    if len(coverages) == 1:
        return {name: value for name, value in coverages[0].facts().items() if name != "parts"}
    return {
        "chunks": sum(len(one.parts) for one in coverages),
        "chunks_covered": sum(one.num_covered for one in coverages),
        "characters": sum(one.parts[-1].chunk.stop for one in coverages if one.parts),
        "tokens": sum(one.num_tokens for one in coverages),
        "left_out": [_left_out_facts(item) for one in coverages for item in one.left_out],
    }


def _of_remark(remark: Remark) -> LeftOut:
    return LeftOut(remark.code, remark.page, None, remark.detail)


def _left_out_facts(item: LeftOut) -> dict[str, object]:
    return {
        "reason": item.reason,
        "page": item.page,
        "chapter": item.chapter,
        "chunks": None if item.first is None else [item.first, item.last],
        "detail": item.detail,
    }


def _part_facts(part: Part) -> dict[str, object]:
    facts: dict[str, object] = {
        "start": part.chunk.start,
        "stop": part.chunk.stop,
        "context_start": part.chunk.context_start,
        "page": part.place.page,
        "chapter": part.place.chapter,
        "paragraph": part.place.paragraph,
        "tokens": part.num_tokens,
    }
    if part.note is not None:
        facts |= {
            "note": part.note.text,
            "outcome": part.note.outcome,
            "prompt_tokens": part.note.num_prompt_tokens,
            "cached_tokens": part.note.num_cached_prompt_tokens,
            "note_tokens": part.note.num_tokens,
        }
    return facts
