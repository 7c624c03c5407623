"""Word and character error rate of a transcript: (substituted + deleted + inserted) / units of the reference.

    reference   It's 5 o'clock, Dr. Smith.     ->  it's five o'clock doctor smith       5 words
    hypothesis  its five o clock doctor smith  ->  its five o clock doctor smith        2 substituted, 1 inserted: 60 %

Normalisation, of both sides alike, before anything is counted:
- Unicode NFKC; numbers, units, signs and abbreviations become words as in `spoken_text` ("5" and "five" are equal);
- upper and lower case are equal; typographic apostrophes are plain ones, hyphens and dashes are spaces;
- punctuation is left out, but for the apostrophe within a word; spaces separate words and do not count as characters.
Nothing else: spelling variants (colour, color) and traditional characters count as errors. Words are for languages that
write spaces; in Chinese every character is a unit of both rates, a word in letters one unit of the word rate.
Rates of several texts are summed before they are divided; a rate may exceed 1.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from pocketseek.apps.voice.words.spoken_text import spoken

_APOSTROPHES = str.maketrans("’‘ʼ`´", "'''''")
_UNIT = re.compile(
    r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W_\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+(?:'[^\W_]+)*"
)

_BITS = 24  # of a count
_MASK = (1 << _BITS) - 1
_SUBSTITUTED = 1 << 2 * _BITS
_DELETED = _SUBSTITUTED | 1 << _BITS
_INSERTED = _SUBSTITUTED | 1


@dataclass(frozen=True)
class Errors:
    """Of an alignment with the fewest errors. units: of the reference."""

    substituted: int = 0
    deleted: int = 0
    inserted: int = 0
    units: int = 0

    @property
    def total(self) -> int:
        return self.substituted + self.deleted + self.inserted

    @property
    def rate(self) -> float | None:
        """None: the reference is empty."""
        return self.total / self.units if self.units else None

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.substituted + other.substituted,
            self.deleted + other.deleted,
            self.inserted + other.inserted,
            self.units + other.units,
        )


def word_errors(reference: str, hypothesis: str, language: str) -> Errors:
    return align(units_of(reference, language), units_of(hypothesis, language))


def character_errors(reference: str, hypothesis: str, language: str) -> Errors:
    return align("".join(units_of(reference, language)), "".join(units_of(hypothesis, language)))


def units_of(text: str, language: str) -> list[str]:
    """Words, and characters of Chinese, normalised as the module says."""
    said = spoken(unicodedata.normalize("NFKC", text).translate(_APOSTROPHES), language)
    return _UNIT.findall(said.translate(_APOSTROPHES).casefold())


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> Errors:
    """Levenshtein's distance by kind of error; of alignments with as few errors the one with the most substitutions.

    Time is the product of the lengths, memory a row of it. The counts of a cell are one number, errors in its highest
    bits, so that the least number is the best alignment.
    """
    row = list(range(0, _INSERTED * (len(hypothesis) + 1), _INSERTED))
    for expected in reference:
        diagonal, left = row[0], row[0] + _DELETED
        row[0] = left
        for place, found in enumerate(hypothesis, 1):
            above = row[place]
            left = min(diagonal if expected == found else diagonal + _SUBSTITUTED, above + _DELETED, left + _INSERTED)
            row[place], diagonal = left, above
    total, deleted, inserted = row[-1] >> 2 * _BITS, row[-1] >> _BITS & _MASK, row[-1] & _MASK
    return Errors(total - deleted - inserted, deleted, inserted, len(reference))
