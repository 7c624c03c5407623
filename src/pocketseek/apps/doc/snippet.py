"""A line of a passage that shows what was found in it."""

from __future__ import annotations

from pocketseek.apps.doc.terms import terms_of, wanted_terms

_CHARS = 160
_BEFORE = 40


def snippet(text: str, words: str) -> str:
    """The part of some 160 characters that has most of the words; each hit stands between « and »."""
    wanted = frozenset(wanted_terms(words))
    hits = [(term.start, term.stop, term.text) for term in terms_of(text) if term.text in wanted]
    if not hits:
        return _line(text[:_CHARS]) + ("…" if len(text) > _CHARS else "")
    best = max(hits, key=lambda hit: len({text for start, _, text in hits if hit[0] <= start < hit[0] + _CHARS}))
    begin = max(best[0] - _BEFORE, 0)
    while 0 < begin < best[0] and text[begin - 1].isalnum() and text[begin - 1].isascii():
        begin += 1  # not within a word
    stop = min(begin + _CHARS, len(text))
    marked = _line(_marked(text, begin, stop, [(start, end) for start, end, _ in hits]))
    return ("…" if begin else "") + marked + ("…" if stop < len(text) else "")


def _marked(text: str, begin: int, stop: int, hits: list[tuple[int, int]]) -> str:
    """Hits that touch (pairs of a Chinese word) are one."""
    parts: list[str] = []
    at = begin
    for start, end in _joined([hit for hit in hits if begin <= hit[0] and hit[1] <= stop]):
        parts += [text[at:start], "«", text[start:end], "»"]
        at = end
    return "".join([*parts, text[at:stop]])


def _joined(hits: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in hits:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _line(text: str) -> str:
    return " ".join(text.split())
