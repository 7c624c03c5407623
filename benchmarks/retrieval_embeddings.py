"""Whether a model's embeddings help retrieval: one book of retrieval.py, three rankings of all its passages.

    python benchmarks/retrieval_embeddings.py FOLDER MODEL [--book faq --language en] [--most 60] [--json]

words: as `doc ask` ranks; embeddings: by the cosine of the mean of the last hidden states (runtime/pooling.py); both:
reciprocal rank fusion of the two, 1 / (60 + rank). Headings of the questions are left out of passages and headings (see
"hidden" in retrieval.py: here for all questions at once, for all three rankings alike).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from retrieval import Figures, drawn
from retrieval_books import BOOKS, Book, Question, read_book

import pocketseek
from pocketseek.apps.doc.document import Document
from pocketseek.apps.doc.passage_index import Scope
from pocketseek.apps.doc.passages import Passage, passages_of
from pocketseek.apps.doc.retrieve import Retriever
from pocketseek.apps.doc.store import DocumentStore, FileState

_FUSION = 60
_AT_ONCE = 16
_HIDDEN = "*"  # instead of a heading; it has no word


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("--book", default="faq")
    parser.add_argument("--language", default="en")
    parser.add_argument("--most", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    (wanted,) = [book for book in BOOKS if book[:2] == (arguments.book, arguments.language)]
    book = read_book(*wanted, arguments.folder)
    questions = drawn(book, arguments.most)
    document = _without_headings(book, questions)
    passages = passages_of(document)
    report: dict[str, object] = {"model": arguments.model, "book": wanted[:2], "passages": len(passages)}
    words = _by_words(document, passages, questions)
    begin_s = time.perf_counter()
    meaning = _by_embeddings(arguments.model, document, passages, questions)
    report["embedding_s"] = time.perf_counter() - begin_s
    fused = [_fused(one, other) for one, other in zip(words, meaning, strict=True)]
    starts = dict(zip((q.text for q in questions), _answers(book, document, questions), strict=True))
    for name, rankings in (("words", words), ("embeddings", meaning), ("both", fused)):
        ranks = [_rank(starts[q.text], ranking, passages) for q, ranking in zip(questions, rankings, strict=True)]
        report[name] = vars(Figures.of(ranks, 0.0))
        print(name, report[name], flush=True)
    if arguments.json:
        print(json.dumps(report))


def _without_headings(book: Book, questions: Sequence[Question]) -> Document:
    hidden = {question.heading for question in questions}
    blocks = (
        replace(block, text=_HIDDEN) if block.kind == "heading" and block.text in hidden else block
        for block in book.document.blocks
    )
    return replace(book.document, blocks=tuple(blocks))


def _answers(book: Book, document: Document, questions: Sequence[Question]) -> list[tuple[int, int]]:
    """Where the answers are in the document with hidden headings: blocks are the same, positions are not."""
    found = []
    for question in questions:
        first = book.document.block_index_at(question.start + 2)
        last = book.document.block_index_at(question.stop - 1)
        found.append((document.starts[first], document.starts[last] + 1))
    return found


def _by_words(document: Document, passages: Sequence[Passage], questions: Sequence[Question]) -> list[list[int]]:
    numbers = {passage.start: number for number, passage in enumerate(passages)}
    with TemporaryDirectory() as folder:
        store = DocumentStore(Path(folder) / "documents.db")
        store.put(Path("/book"), FileState(1, 1), "book", document)
        found = [Retriever(store).search(question.text, Scope(), limit=100) for question in questions]
        store.close()
    return [[numbers[item.start] for item in items] for items in found]


def _by_embeddings(
    model: str, document: Document, passages: Sequence[Passage], questions: Sequence[Question]
) -> list[list[int]]:
    texts = ["\n".join([*p.heading, document.text[p.start : p.stop]]) for p in passages]
    with pocketseek.load(model) as engine:

        def embedded(some: Sequence[str]) -> npt.NDArray[np.float32]:
            vectors = []
            for first in range(0, len(some), _AT_ONCE):
                asked = [engine.start_embedding(text) for text in some[first : first + _AT_ONCE]]
                vectors += [one.wait() for one in asked]
            rows = np.array(vectors)
            return rows / np.linalg.norm(rows, axis=1, keepdims=True)

        all_passages = embedded(texts)
        mean = all_passages.mean(axis=0)  # what all texts share says nothing about any
        asked_for = embedded([question.text for question in questions])
    scores = (asked_for - mean) @ (all_passages - mean).T
    return [list(np.argsort(-row)[:100]) for row in scores]


def _fused(one: Sequence[int], other: Sequence[int]) -> list[int]:
    scores: dict[int, float] = {}
    for ranking in (one, other):
        for rank, number in enumerate(ranking, 1):
            scores[number] = scores.get(number, 0.0) + 1.0 / (_FUSION + rank)
    return sorted(scores, key=lambda number: -scores[number])


def _rank(answer: tuple[int, int], ranking: Sequence[int], passages: Sequence[Passage]) -> int | None:
    start, stop = answer
    places = (n for n, one in enumerate(ranking, 1) if passages[one].start < stop and passages[one].stop > start)
    return next(places, None)


if __name__ == "__main__":
    main()
