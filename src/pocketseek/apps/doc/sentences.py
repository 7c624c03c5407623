"""Where a text may be cut: after sentences, and if a sentence is too long, between words, and if a word is, anywhere.

    sentence_ends   . ! ? with a space behind, 。！？；… without; closing quotes and brackets go with the sentence
    split_in_two    for what no sentence end helps: at a space, else after a comma, else between characters

A full stop ends no sentence after a known abbreviation or an initial, nor before a small letter; in 3.14 there is no
space behind it. Every position counts the space before it to the sentence that ends, so that pieces joined give the
text again. Time is linear in the text, whatever stands in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

# The look-behinds and the possessive quantifiers keep long runs of the same character from being scanned twice.
_END = re.compile(
    r"(?<![。！？；…])[。！？；…]++[”’」』）》】〉\"')\]]*+\s*+"
    r"|(?<![.!?])[.!?]++[”’」』）》】〉\"')\]]*+\s++"
)
_LAST_WORD = re.compile(r"([^\s(\[“‘\"']{1,12})\.$")
_ABBREVIATIONS = frozenset(
    """
    mr mrs ms dr prof st sr jr rev gen col capt hon etc e.g i.e eg ie cf vs viz al fig figs eq eqs no nos nr vol vols ch
    chap sec sect p pp ed eds approx dept est inc ltd co corp ca op resp incl ver art par app
    """.split()  # noqa: SIM905  a list of words reads better so
)
_SPACE = re.compile(r"\s+")
_CLAUSE_END = re.compile(r"[，、：,;:）)—–]+")
_JOINER = "\u200d"
_MOST_MARKS = 16  # of one character; more is no script


def sentence_ends(text: str) -> Iterator[int]:
    """Positions after each sentence but the last, in ascending order; none is 0 or len(text)."""
    for match in _END.finditer(text):
        if 0 < match.end() < len(text) and _ends_sentence(text, match):
            yield match.end()


def split_in_two(text: str) -> int:
    """The best place to cut near the middle; 0 < place < len(text). The text has two characters or more."""
    middle, first, last = len(text) // 2, len(text) // 4, len(text) - len(text) // 4
    for pattern in (_SPACE, _CLAUSE_END):
        places = [match.end() for match in pattern.finditer(text, first, last)]
        if places:
            return max(1, min(min(places, key=lambda place: abs(place - middle)), len(text) - 1))
    return _between_characters(text, middle)


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    mark = text[match.start()]
    if mark not in ".!?":
        return True
    if text[match.end()].islower():
        return False
    is_full_stop = mark == "." and text[match.start() + 1] != "."
    return not (is_full_stop and _is_abbreviation(text, match.start()))


def _is_abbreviation(text: str, stop: int) -> bool:
    """Whether the full stop at this place belongs to a word such as "Fig", "e.g", or to an initial."""
    found = _LAST_WORD.search(text[max(0, stop - 14) : stop + 1])
    if found is None:
        return False
    word = found[1]
    return word.lower() in _ABBREVIATIONS or (len(word) == 1 and word.isupper() and word != "I")


def _between_characters(text: str, place: int) -> int:
    """The place, or a few characters on where it would part a letter from its marks."""
    for position in range(place, min(place + _MOST_MARKS, len(text))):
        if not _continues(text[position]) and text[position - 1] != _JOINER:
            return position
    return place


def _continues(character: str) -> bool:
    return character == _JOINER or unicodedata.category(character) in ("Mn", "Me", "Mc")
