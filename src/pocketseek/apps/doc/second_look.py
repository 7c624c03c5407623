"""A second look at the passages that the words of a question have found: what they tell about each other.

    characters   words that share a Chinese character (配置 and 设置) are often of one kind: counts a fifth
    company      words that the best passages share and the others do not are how the documents speak of what is asked
    neighbours   what stands beside a good passage is rather about it, too

Scores only: how much of the question a passage has (coverage) stays as it is. What is rare is counted among these
passages, so the index is not asked again, and no passage comes in that has no word of the question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pocketseek.apps.doc.rank import Rank, Wanted, Words, saturated, term_weight
from pocketseek.apps.doc.terms import is_beginning, is_paired

_CHARACTER_SHARE = 0.2
_NUM_BEST = 10
_NUM_COMPANIONS = 40
_COMPANION_SHARE = 0.1  # of what a word of the question weighs on average
_HALF_TYPICAL = 1.5  # times in a passage
_NEIGHBOUR_SHARE = 0.2


@dataclass(frozen=True)
class Seen:
    """place: (document, number of the passage in it)."""

    place: tuple[int, int]
    words: Words
    rank: Rank


def second_look(wanted: Wanted, passages: Sequence[Seen]) -> list[Rank]:
    """New ranks for passages, which come with the best first."""
    characters = [_characters(seen.words) for seen in passages]
    alike = _alike(wanted, characters)
    company = _company(wanted, passages)
    scores: dict[tuple[int, int], float] = {}
    for seen, has in zip(passages, characters, strict=True):
        length = seen.words.length(wanted)
        more = _score(alike, has, length) + _score(company, seen.words.body_counts, length)
        scores[seen.place] = seen.rank.score + more
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


def _company(wanted: Wanted, passages: Sequence[Seen]) -> dict[str, float]:
    """Words that are not asked for and typical of the best passages, by how typical they are."""
    num_with = Counter(term for seen in passages for term in seen.words.body_counts)
    shared = {term: number for term, number in num_with.items() if 1 < number <= len(passages) // 2}
    typical: Counter[str] = Counter()
    for seen in passages[:_NUM_BEST]:
        for term, count in seen.words.body_counts.items():
            if term in shared and term not in wanted.weights and not is_beginning(term):
                share = seen.rank.score * count / (count + _HALF_TYPICAL)
                typical[term] += share * term_weight(len(passages), shared[term])
    best = [(term, weight) for term, weight in typical.most_common(_NUM_COMPANIONS) if weight > 0]
    unit = _COMPANION_SHARE * wanted.total / max(len(wanted.weights), 1)
    return {term: unit * weight / best[0][1] for term, weight in best}


def _score(weights: Mapping[str, float], counts: Counter[str], length: float) -> float:
    return sum(weight * saturated(counts[term] / length) for term, weight in weights.items() if term in counts)


def _beside(place: tuple[int, int], scores: Mapping[tuple[int, int], float]) -> float:
    """A passage's score with its share of the better neighbour's."""
    document, number = place
    neighbours = (scores.get((document, number + step), 0.0) for step in (-1, 1))
    return scores[place] + _NEIGHBOUR_SHARE * max(neighbours)
