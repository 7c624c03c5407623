"""A second look at the passages that the words of a question have found: what they tell about each other.

    characters   words that share a Chinese character (配置 and 设置) are often of one kind: counts a fifth
    neighbours   what stands beside a good passage is rather about it, too: a tenth of the better one

Scores only: how much of the question a passage has (coverage) stays as it is. What is rare is counted among these
passages, so the index is not asked again, and no passage comes in that has no word of the question. Words that the best
passages share were tried as well: they find more where headings are missing and less where they are there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pocketseek.apps.doc.rank import Rank, Wanted, Words, saturated, term_weight
from pocketseek.apps.doc.terms import is_paired

_CHARACTER_SHARE = 0.2
_NEIGHBOUR_SHARE = 0.1


@dataclass(frozen=True)
class Seen:
    """place: (document, number of the passage in it)."""

    place: tuple[int, int]
    words: Words
    rank: Rank


def second_look(wanted: Wanted, passages: Sequence[Seen]) -> list[Rank]:
    """New ranks, in the same order."""
    characters = [_characters(seen.words) for seen in passages]
    alike = _alike(wanted, characters)
    scores = {
        seen.place: seen.rank.score + _score(alike, has, seen.words.length(wanted))
        for seen, has in zip(passages, characters, strict=True)
    }
    return [replace(seen.rank, score=_beside(seen.place, scores)) for seen in passages]


def _characters(words: Words) -> Counter[str]:
    """How often each Chinese character is there: a pair begins with every one of them."""
    return Counter(term[0] for term in (*words.body, *words.above) if is_paired(term))


def _alike(wanted: Wanted, passages: Sequence[Counter[str]]) -> dict[str, float]:
    """The characters of the question, by how rare they are."""
    asked = dict.fromkeys(character for term in wanted.weights if is_paired(term) for character in term)
    return {
        character: _CHARACTER_SHARE * term_weight(len(passages), sum(character in has for has in passages))
        for character in asked
    }


def _score(weights: Mapping[str, float], counts: Counter[str], length: float) -> float:
    return sum(weight * saturated(counts[term] / length) for term, weight in weights.items() if term in counts)


def _beside(place: tuple[int, int], scores: Mapping[tuple[int, int], float]) -> float:
    """A passage's score with its share of the better neighbour's."""
    document, number = place
    neighbours = (scores.get((document, number + step), 0.0) for step in (-1, 1))
    return scores[place] + _NEIGHBOUR_SHARE * max(neighbours)
