"""Where a value that a model gave stands in a text, word for word.

    "Ann Smith"  whole words in a row, white space of any kind between them; of Chinese, any characters
    3500         a number that is this one: 3500, 3,500 or 3500.00, and no part of 13500, 3500.7 or 3500,5

True, false and null stand nowhere.
"""

from __future__ import annotations

import re
from decimal import Decimal

# The point or comma that goes on with a digit belongs to the number; what is then no number (1.5.2026) is not taken.
_NUMBER = re.compile(r"(?<!\d)(?<!\d[.,'’])\d+(?:[.,'’\u00a0\u202f]\d+)*")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+|\d{1,3}(?:['’]\d{3})+|\d{1,3}(?:[\u00a0\u202f]\d{3})+")
_NUMBER_GOES_ON = re.compile(r"[.,]\d")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_MINUS = ("-", "−")


def find_value(text: str, value: bool | int | float | str | None) -> int | None:
    """The first place of it."""
    if isinstance(value, str):
        return _find_words(text, value)
    if isinstance(value, bool) or value is None:
        return None
    return _find_number(text, Decimal(str(value)))


def _find_words(text: str, value: str) -> int | None:
    words = value.split()
    if not words:
        return None
    for match in re.finditer(r"\s+".join(map(re.escape, words)), text):
        if _is_whole(text, match.start(), match.end()):
            return match.start()
    return None


def _is_whole(text: str, start: int, stop: int) -> bool:
    """Neither end is within a word or a number."""
    if _touches_letters(text, start, stop):
        return False
    before, behind = text[max(0, start - 2) : start], text[stop : stop + 2]
    begins_within = text[start].isdigit() and len(before) == 2 and before[0].isdigit() and before[1] in ".,"
    ends_within = text[stop - 1].isdigit() and _NUMBER_GOES_ON.fullmatch(behind) is not None
    return not begins_within and not ends_within


def _touches_letters(text: str, start: int, stop: int) -> bool:
    goes_before = _is_letter(text[start]) and _is_letter(text[max(0, start - 1) : start])
    return goes_before or (_is_letter(text[stop - 1]) and _is_letter(text[stop : stop + 1]))


def _is_letter(character: str) -> bool:
    """Or a digit, of a script that puts spaces between words."""
    return character.isalnum() and not _UNSPACED.match(character)


def _find_number(text: str, wanted: Decimal) -> int | None:
    if not wanted.is_finite():
        return None
    for match in _NUMBER.finditer(text.replace("\n", " ")):
        number = _number(match[0])
        if number is None or _touches_letters(text, match.start(), match.end()):
            continue
        is_negative = _has_minus(text, match.start())
        if (-number if is_negative else number) == wanted:
            return match.start() - is_negative
    return None


def _number(written: str) -> Decimal | None:
    whole, point, fraction = written.rpartition(".") if written.count(".") == 1 else (written, "", "")
    if _GROUPED.fullmatch(whole):
        whole = re.sub(r"\D", "", whole)
    digits = f"{whole}{point}{fraction}"
    return Decimal(digits) if re.fullmatch(r"\d+(?:\.\d+)?", digits) else None


def _has_minus(text: str, start: int) -> bool:
    """A minus, and not the dash of 3-5."""
    before = text[max(0, start - 2) : start]
    return before.endswith(_MINUS) and not before[:-1].isalnum()
