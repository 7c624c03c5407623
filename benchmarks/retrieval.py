"""How often retrieval finds the place that answers a question, on real books.

    python benchmarks/retrieval.py FOLDER [--most 150] [--json]

FOLDER keeps the packages (see retrieval_books.py, which also says where the questions come from). Four figures each:

    as it is       the headings are in the index, as they are for a user
    hidden         the heading that a question was made from is taken away from its section for that question, so that
                   only the text below it and the headings further up can be found
    hidden, page   the same, and a place counts by the page that it is on: a book page has some 2500 characters (1000 of
                   a Chinese one), and further places on a page that was found already do not count
    foreign        questions of a book about something else: how many are told to be not in the document, and how many
                   of its own questions ("kept", with the heading and without) are not

A place is found if it overlaps the answer (or is on one of its pages). recall@k: among the first k, whatever their
coverage; MRR: mean of 1/rank within the first 20.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from retrieval_books import BOOKS, Book, Question, read_book

from pocketseek.apps.doc.passage_index import HEADING_GAP, Scope
from pocketseek.apps.doc.retrieve import LEAST_COVERAGE, Found, Retriever
from pocketseek.apps.doc.store import DocumentStore, FileState
from pocketseek.apps.doc.terms import index_text

_DEEPEST = 20
_FOREIGN = "gimp"
_PAGE_CHARS = {"en": 2500, "zh": 1000}


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
        others = [book for book in books if book.language == language and book.name == _FOREIGN]
        foreign = [question for book in others for question in drawn(book, most)]
        totals = {kind: _Totals() for kind in ("as it is", "hidden", "hidden, page")}
        kept = dict.fromkeys(("as it is", "hidden"), 0)
        num_refused = 0
        for book in ours:
            asked = _Asked(store, ids[id(book)], book, show_missed)
            for kind in kept:
                places, pages, num_kept = asked.ask(drawn(book, most), is_hidden=kind == "hidden")
                totals[kind].add(places)
                kept[kind] += num_kept
                _show(f"{language} {book.name} {kind}", places, report)
                if kind == "hidden":
                    totals["hidden, page"].add(pages)
                    _show(f"{language} {book.name} hidden, page", pages, report)
            refused = sum(not asked.is_kept(question) for question in foreign)
            num_refused += refused
            print(f"{language} {book.name:12} foreign  {refused} of {len(foreign)} told to be not in it", flush=True)
        for kind, total in totals.items():
            _show(f"{language} all {kind}", total, report)
        count = len(totals["hidden"].ranks)
        shares = {kind: number / count for kind, number in kept.items()}
        shares["foreign refused"] = num_refused / max(len(foreign) * len(ours), 1)
        print(f"{language} kept and refused: {shares}", flush=True)
        report[f"{language} kept"] = shares
    return report


@dataclass
class _Totals:
    ranks: list[int | None] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: _Totals) -> None:
        self.ranks += other.ranks
        self.seconds += other.seconds


def _show(name: str, totals: _Totals, report: dict[str, object]) -> None:
    figures = Figures.of(totals.ranks, totals.seconds)
    report[name] = vars(figures)
    print(
        f"{name:28} {figures.questions:4} questions  recall@1 {figures.recall_1:.3f}  recall@5 {figures.recall_5:.3f}"
        f"  MRR {figures.mrr:.3f}  {figures.seconds * 1e3:.0f} ms each",
        flush=True,
    )


def _put(store: DocumentStore, book: Book) -> int:
    name = book.document.title
    return store.put(Path("/") / name, FileState(len(book.document.text), 0), name, book.document).id


def drawn(book: Book, most: int) -> list[Question]:
    return random.Random(7).sample(book.questions, min(most, len(book.questions)))


class _Asked:
    """Questions to one book of the store."""

    def __init__(self, store: DocumentStore, document_id: int, book: Book, show_missed: bool) -> None:
        self._store = store
        self._id = document_id
        self._scope = Scope(document_id=document_id)
        self._page_chars = _PAGE_CHARS[book.language]
        self._show_missed = show_missed

    def is_kept(self, question: Question) -> bool:
        return bool(Retriever(self._store).find(question.text, self._scope, limit=1))

    def ask(self, questions: Sequence[Question], *, is_hidden: bool) -> tuple[_Totals, _Totals, int]:
        """By place, by page, and how many would be answered."""
        places, pages, num_kept = _Totals(), _Totals(), 0
        for question in questions:
            with _hidden(self._store, self._id, question, is_hidden=is_hidden):
                begin_s = time.perf_counter()
                found = Retriever(self._store).find(question.text, self._scope, limit=_DEEPEST, least_coverage=0.0)
                places.seconds += time.perf_counter() - begin_s
            places.ranks.append(_rank(question, found))
            pages.ranks.append(self._page_rank(question, found))
            num_kept += any(item.coverage >= LEAST_COVERAGE for item in found)
            if self._show_missed and is_hidden and (places.ranks[-1] or 9) > 5:
                print("   missed:", places.ranks[-1], question.text, "->", [item.heading[-1:] for item in found[:3]])
        return places, pages, num_kept

    def _page_rank(self, question: Question, found: Sequence[Found]) -> int | None:
        wanted = range(question.start // self._page_chars, (question.stop - 1) // self._page_chars + 1)
        seen: list[int] = []
        for item in found:
            pages = range(item.start // self._page_chars, (item.stop - 1) // self._page_chars + 1)
            if set(pages) & set(wanted):
                return len(seen) + 1
            seen += [pages[0]] if pages[0] not in seen else []
        return None


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
