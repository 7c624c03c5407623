"""From a question to the passages that may answer it, the best first.

    question -> terms -> index: 100 candidates -> rank.py -> second_look.py -> neighbours joined -> Found, Found ...

What is short is found whole, in order (`whole`): no words are compared, the model reads all of it. Of what is longer,
nothing is found if no passage has enough of the question's words (by weight): then the documents do not speak of it.
A question that follows another one is looked for together with the words of the one before, at a lower weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pocketseek.apps.doc.document import Place
from pocketseek.apps.doc.document_rows import DocumentInfo
from pocketseek.apps.doc.passage_index import IndexedPassage, Scope
from pocketseek.apps.doc.rank import Rank, Wanted, Words, rank, term_weight
from pocketseek.apps.doc.second_look import Seen, second_look
from pocketseek.apps.doc.store import DocumentStore
from pocketseek.apps.doc.terms import wanted_terms

_NUM_CANDIDATES = 100
_MAX_TERMS = 60  # of a question; those that weigh most
_EARLIER_WEIGHT = 0.3
SHORT_TERMS = 3000  # some six pages, about as long to read as the passages found in a long document are at most
LEAST_COVERAGE = 0.45  # measured on questions about other books, see docs/doc-details.md


@dataclass(frozen=True)
class Found:
    """text[start:stop] of a document, which may be several passages in a row. place: where it begins."""

    document: DocumentInfo
    start: int
    stop: int
    heading: tuple[str, ...]
    text: str
    place: Place
    score: float
    coverage: float


class Retriever:
    """Over the documents of a store."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    def find(
        self,
        question: str,
        scope: Scope,
        *,
        limit: int = 8,
        earlier: str = "",
        least_coverage: float = LEAST_COVERAGE,
    ) -> list[Found]:
        """At most `limit`, none below the coverage. earlier: the question before, if this one follows it."""
        with self._store.one_moment():
            wanted = self._wanted(question, scope, earlier)
            ranked = self._ranked(wanted, scope)
            good = [item for item in ranked if item[0].coverage >= least_coverage]
            return self._joined(good[:limit])

    def whole(self, scope: Scope) -> list[Found]:
        """All there is, in order, section by section; nothing if it is not short."""
        with self._store.one_moment():
            num_passages, mean_terms = self._store.index.size(scope)
            if num_passages * mean_terms > SHORT_TERMS:
                return []
            return self._joined([(Rank(0.0, 1.0), passage) for passage in self._store.index.all(scope)])

    def search(self, words: str, scope: Scope, *, limit: int = 20) -> list[Found]:
        """Passages that have any of the words, one by one."""
        with self._store.one_moment():
            ranked = self._ranked(self._wanted(words, scope, ""), scope)
            return [self._found(item, [item[1]]) for item in ranked[:limit]]

    def _wanted(self, question: str, scope: Scope, earlier: str) -> Wanted:
        num_passages, mean_terms = self._store.index.size(scope)
        weights: dict[str, float] = {}
        for text, share in ((question, 1.0), (earlier, _EARLIER_WEIGHT)):
            for term in wanted_terms(text):
                if term not in weights:
                    weights[term] = share * term_weight(num_passages, self._store.index.num_with(term, scope))
        if len(weights) > _MAX_TERMS:
            least = sorted(weights.values(), reverse=True)[_MAX_TERMS - 1]
            weights = {term: weight for term, weight in weights.items() if weight >= least}
        return Wanted(weights, mean_terms)

    def _ranked(self, wanted: Wanted, scope: Scope) -> list[tuple[Rank, IndexedPassage]]:
        candidates = self._store.index.find(list(wanted.weights), scope, _NUM_CANDIDATES)
        seen = [(_seen(wanted, passage), passage) for _, passage in candidates]
        seen.sort(key=lambda item: -item[0].rank.score)  # of equals, the one that comes first in its document
        ranks = second_look(wanted, [one for one, _ in seen])
        ranked = [(new, passage) for new, (_, passage) in zip(ranks, seen, strict=True)]
        return sorted(ranked, key=lambda item: -item[0].score)

    def _joined(self, ranked: Sequence[tuple[Rank, IndexedPassage]]) -> list[Found]:
        """Passages of one section that follow each other become one, as good as its best part."""
        groups: list[tuple[Rank, list[IndexedPassage]]] = []
        for best, passage in ranked:
            for _, group in groups:
                if any(_are_neighbours(passage, other) for other in group):
                    group.append(passage)
                    break
            else:
                groups.append((best, [passage]))
        return [self._found((best, group[0]), sorted(group, key=lambda part: part.start)) for best, group in groups]

    def _found(self, best: tuple[Rank, IndexedPassage], parts: Sequence[IndexedPassage]) -> Found:
        rank_of_best, first = best[0], parts[0]
        stop = parts[-1].stop
        text = first.text if len(parts) == 1 else self._store.index.text(first.document_id, first.start, stop)
        return Found(
            self._store.info(first.document_id),
            first.start,
            stop,
            best[1].heading,
            text,
            self._store.place_at(first.document_id, first.start),
            rank_of_best.score,
            rank_of_best.coverage,
        )


def _seen(wanted: Wanted, passage: IndexedPassage) -> Seen:
    words = Words.of(passage.heading, passage.text)
    return Seen((passage.document_id, passage.number), words, rank(wanted, words))


def _are_neighbours(one: IndexedPassage, other: IndexedPassage) -> bool:
    return one.document_id == other.document_id and abs(one.number - other.number) == 1 and one.heading == other.heading
