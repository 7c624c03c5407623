"""A finished summary as a person reads it: the outline, and what the summary covers and what not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pocketseek.apps.doc.coverage import Coverage, LeftOut
from pocketseek.apps.doc.document import Place
from pocketseek.apps.doc.formats.outline import Chapter
from pocketseek.cli.doc import doc_messages
from pocketseek.cli.messages import Words

_MOST_LINES = 20
_MOST_DETAIL_CHARS = 120


def coverage_lines(coverage: Coverage, words: Words, *, is_answer: bool = False) -> Iterator[str]:
    """is_answer: to a question, and no summary."""
    yield words(
        doc_messages.READ if is_answer else doc_messages.COVERED,
        covered=coverage.num_covered,
        chunks=len(coverage.parts),
        tokens=coverage.num_tokens,
    )
    left_out = coverage.left_out
    if not left_out:
        yield words(doc_messages.NOTHING_LEFT_OUT)
    for item in left_out[:_MOST_LINES]:
        yield _left_out_line(item, words)
    if len(left_out) > _MOST_LINES:
        yield f"... {len(left_out) - _MOST_LINES}"
    if num_silent := sum(part.says_nothing for part in coverage.parts):
        yield words(doc_messages.NOTHING_ABOUT, count=num_silent)
    if coverage.cut_off:
        yield words(doc_messages.CUT_OFF, chunks=_numbers(coverage.cut_off))
    if coverage.num_cut_merges:
        yield words(doc_messages.MERGES_CUT, count=coverage.num_cut_merges)
    if coverage.summary_outcome == "cut":
        yield words(doc_messages.ANSWER_CUT if is_answer else doc_messages.SUMMARY_CUT)


def outline_text(chapters: Sequence[Chapter], words: Words) -> str:
    lines = [words(doc_messages.OUTLINE), ""]
    for chapter in chapters:
        where = _place(chapter.place.page, None, words)
        title = chapter.title or words(doc_messages.UNTITLED)
        lines.append(f"{title} ({where})" if where else title)
        lines += [f"    {line}" for note in chapter.notes for line in note.splitlines() if line.strip()]
        lines.append("")
    return "\n".join(lines).rstrip()


def outline_facts(chapters: Sequence[Chapter]) -> list[dict[str, object]]:
    """For --json."""
    return [
        {"title": chapter.title, **_place_facts(chapter.place), "notes": list(chapter.notes)} for chapter in chapters
    ]


def _place_facts(place: Place) -> dict[str, object]:
    return {"page": place.page, "chapter": place.chapter, "paragraph": place.paragraph}


def _left_out_line(item: LeftOut, words: Words) -> str:
    where = _place(item.page, item.chapter, words)
    if item.first is not None:
        message = doc_messages.CHUNK if item.first == item.last else doc_messages.CHUNKS
        chunk = words(message, first=item.first, last=item.last)
        where = f"{chunk}, {where}" if where else chunk
    reason = words(doc_messages.REASONS[item.reason])
    where = where or words(doc_messages.SOMEWHERE)
    detail = " ".join(item.detail.split())[:_MOST_DETAIL_CHARS]
    if not detail:
        return words(doc_messages.LEFT_OUT, where=where, reason=reason)
    return words(doc_messages.LEFT_OUT_WHY, where=where, reason=reason, detail=detail)


def _place(page: int | None, chapter: int | None, words: Words) -> str:
    if page is not None:
        return words(doc_messages.PAGE, page=page)
    return "" if chapter is None else words(doc_messages.PART, chapter=chapter)


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:_MOST_LINES]))
    return f"{shown} ... ({len(numbers)})" if len(numbers) > _MOST_LINES else shown
