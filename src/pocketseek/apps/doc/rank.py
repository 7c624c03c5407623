"""How well a passage answers to the words of a question: BM25 over its text and the headings above it, and what BM25
does not see.

    score = sum of weight(term) * saturated count          BM25; a word in a heading counts as several in the text
          + pairs of neighbouring words of the question that stand side by side in the passage
          * how much of the question (by weight) is there at all

coverage alone, 0 to 1, says whether a passage speaks of the question: see retrieve.py for where the line is drawn.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from pocketseek.apps.doc.terms import is_beginning, terms_of

_SATURATION = 1.2
_LENGTH_SHARE = 0.6
_HEADING_COUNT = 2.0
_PAIR_WEIGHT = 0.5
_NEAR = 3  # terms apart
# In fewer passages than this, rarity says little: of one passage, a word that is there would weigh a fifth of one that
# is not, and every question in other words than the document's would seem not to be about it.
_LEAST_PASSAGES = 50


@dataclass(frozen=True)
class Wanted:
    """The terms of a question, in order, with their weights: the rarer in what is searched, the more."""

    weights: Mapping[str, float]
    mean_terms: float

    @property
    def total(self) -> float:
        return sum(self.weights.values())


@dataclass(frozen=True)
class Words:
    """The terms of a passage, and those of the headings above it."""

    body: tuple[str, ...]
    above: tuple[str, ...]

    @classmethod
    def of(cls, heading: Sequence[str], text: str) -> Words:
        above = (term.text for title in heading for term in terms_of(title))
        return cls(tuple(term.text for term in terms_of(text)), tuple(above))

    @cached_property
    def body_counts(self) -> Counter[str]:
        return Counter(self.body)

    def length(self, wanted: Wanted) -> float:
        """By which counts are divided: a long passage is not better for being long."""
        return 1.0 - _LENGTH_SHARE + _LENGTH_SHARE * len(self.body) / wanted.mean_terms


@dataclass(frozen=True)
class Rank:
    score: float
    coverage: float


def term_weight(num_passages: int, num_with: int) -> float:
    num_passages = max(num_passages, _LEAST_PASSAGES)
    return math.log(1.0 + (num_passages - num_with + 0.5) / (num_with + 0.5))


def saturated(count: float) -> float:
    """What a word is worth that is there so many times: hardly more than twice what it is worth once."""
    return count * (_SATURATION + 1.0) / (count + _SATURATION)


def rank(wanted: Wanted, words: Words) -> Rank:
    above_counts, length = Counter(words.above), words.length(wanted)
    score = covered = 0.0
    for term, weight in wanted.weights.items():
        count = _count(term, words.body_counts) / length + _HEADING_COUNT * _count(term, above_counts)
        if count:
            covered += weight
            score += weight * saturated(count)
    score += _PAIR_WEIGHT * (_pairs(wanted, words.body) + _pairs(wanted, words.above))
    coverage = covered / wanted.total if wanted.weights else 0.0
    return Rank(score * (0.5 + 0.5 * coverage), coverage)


def _count(term: str, counts: Counter[str]) -> int:
    if is_beginning(term):
        return sum(count for found, count in counts.items() if found.startswith(term))
    return counts[term]


def _pairs(wanted: Wanted, terms: Sequence[str]) -> float:
    """The weight of neighbouring terms of the question that are near each other here, in the same order."""
    places: dict[str, list[int]] = {}
    for place, term in enumerate(terms):
        if term in wanted.weights:
            places.setdefault(term, []).append(place)
    return sum(
        min(wanted.weights[first], wanted.weights[second])
        for first, second in pairwise(wanted.weights)
        if any(0 < b - a <= _NEAR for a in places.get(first, ()) for b in places.get(second, ()))
    )
