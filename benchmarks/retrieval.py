"""How often retrieval finds the place that answers a question, on real books.

    python benchmarks/retrieval.py FOLDER [--most 150] [--json]

FOLDER keeps the packages (see retrieval_books.py, which also says where the questions come from). Three figures each:

    as it is       the headings are in the index, as they are for a user
    hidden         the heading that a question was made from is taken away from its section for that question, so that
                   only the text below it and the headings further up can be found
    foreign        questions of a book about something else: how many are told to be not in the document

A place is found if it overlaps the answer. recall@k: among the first k; MRR: mean of 1/rank within the first 20.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from retrieval_books import BOOKS, Book, Question, read_book

from pocketseek.apps.doc.passage_index import HEADING_GAP, Scope
from pocketseek.apps.doc.retrieve import LEAST_COVERAGE, Found, Retriever
from pocketseek.apps.doc.store import DocumentStore, FileState
from pocketseek.apps.doc.terms import index_text

_DEEPEST = 20
_FOREIGN = "gimp"


@dataclass(frozen=True)
class Figures:
    questions: int
    recall_1: float
    recall_5: float
    mrr: float
    seconds: float  # for each question

    @classmethod
    def of(cls, ranks: Sequence[int | None], seconds: float) -> Figures:
        found = [rank for rank in ranks if rank is not None]
        count = len(ranks)
        return cls(
            count,
            sum(rank <= 1 for rank in found) / count,
            sum(rank <= 5 for rank in found) / count,
            sum(1 / rank for rank in found) / count,
            seconds / count,
        )


class _UndoneError(Exception):
    pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--most", type=int, default=150, help="questions of each book, drawn with a fixed seed")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--missed", action="store_true", help="show the questions that were not answered in five")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    books = [read_book(*book, arguments.folder) for book in BOOKS]
    with TemporaryDirectory() as folder:
        store = DocumentStore(Path(folder) / "documents.db")
        report = measure(store, books, arguments.most, show_missed=arguments.missed)
        store.close()
    if arguments.json:
        print(json.dumps(report))


def measure(store: DocumentStore, books: Sequence[Book], most: int, *, show_missed: bool) -> dict[str, object]:
    report: dict[str, object] = {"least_coverage": LEAST_COVERAGE}
    ids = {id(book): _put(store, book) for book in books}
    for language in ("en", "zh"):
        ours = [book for book in books if book.language == language and book.name != _FOREIGN]
        foreign = [
            q for book in books if book.language == language and book.name == _FOREIGN for q in _drawn(book, most)
        ]
        totals: dict[str, list[int | None]] = {"as it is": [], "hidden": []}
        seconds = dict.fromkeys(totals, 0.0)
        unknown = 0
        for book in ours:
            for kind, ranks in totals.items():
                found, spent_s = _ranks(store, ids[id(book)], _drawn(book, most), kind, show_missed)
                ranks += found
                seconds[kind] += spent_s
                _show(f"{language} {book.name} {kind}", Figures.of(found, spent_s), report)
            refused = sum(not Retriever(store).find(q.text, Scope(document_id=ids[id(book)])) for q in foreign)
            unknown += refused
            print(f"{language} {book.name:12} foreign   {refused} of {len(foreign)} told to be not in it")
        for kind, ranks in totals.items():
            _show(f"{language} all {kind}", Figures.of(ranks, seconds[kind]), report)
        report[f"{language} foreign refused"] = unknown / max(len(foreign) * len(ours), 1)
    return report


def _show(name: str, figures: Figures, report: dict[str, object]) -> None:
    report[name] = vars(figures)
    print(
        f"{name:28} {figures.questions:4} questions  recall@1 {figures.recall_1:.3f}  recall@5 {figures.recall_5:.3f}"
        f"  MRR {figures.mrr:.3f}  {figures.seconds * 1e3:.0f} ms each",
        flush=True,
    )


def _put(store: DocumentStore, book: Book) -> int:
    name = book.document.title
    return store.put(Path("/") / name, FileState(len(book.document.text), 0), name, book.document).id


def _drawn(book: Book, most: int) -> list[Question]:
    return random.Random(7).sample(book.questions, min(most, len(book.questions)))


def _ranks(
    store: DocumentStore, document_id: int, questions: Sequence[Question], kind: str, show_missed: bool
) -> tuple[list[int | None], float]:
    ranks: list[int | None] = []
    spent_s = 0.0
    retriever = Retriever(store)
    for question in questions:
        with _hidden(store, document_id, question, is_hidden=kind == "hidden"):
            begin_s = time.perf_counter()
            found = retriever.find(question.text, Scope(document_id=document_id), limit=_DEEPEST)
            spent_s += time.perf_counter() - begin_s
        ranks.append(_rank(question, found))
        if show_missed and kind == "hidden" and (ranks[-1] or 9) > 5:
            print("   missed:", ranks[-1], question.text, "->", [item.heading[-1:] for item in found[:3]])
    return ranks, spent_s


def _rank(question: Question, found: Sequence[Found]) -> int | None:
    places = (n for n, item in enumerate(found, 1) if item.start < question.stop and item.stop > question.start)
    return next(places, None)


@contextmanager
def _hidden(store: DocumentStore, document_id: int, question: Question, *, is_hidden: bool) -> Iterator[None]:
    """Meanwhile the section's passages are not below its heading; undone by rolling back."""
    if not is_hidden:
        yield
        return
    try:
        with store.database.change():
            rows = store.database.rows(
                "SELECT key, start, stop, heading FROM passages WHERE document_id = ? AND start < ? AND stop > ?",
                document_id,
                question.stop,
                question.start,
            )
            for key, start, stop, heading in rows:
                titles = str(heading).split(HEADING_GAP)
                left = HEADING_GAP.join(title for title in titles if title != question.heading)
                body = index_text(store.index.text(document_id, int(start), int(stop)))
                columns = "passage_terms(passage_terms, rowid, heading, body) VALUES ('delete', ?, ?, ?)"
                store.database.run(f"INSERT INTO {columns}", key, index_text(str(heading)), body)
                columns = "passage_terms(rowid, heading, body) VALUES (?, ?, ?)"
                store.database.run(f"INSERT INTO {columns}", key, index_text(left), body)
                store.database.run("UPDATE passages SET heading = ? WHERE key = ?", left, key)
            yield
            raise _UndoneError
    except _UndoneError:
        pass


if __name__ == "__main__":
    main()
