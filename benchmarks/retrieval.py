"""How often retrieval finds the place that answers a question, on real books.

    python benchmarks/retrieval.py FOLDER [--most 150] [--books developed|held-out] [--json]

FOLDER keeps the packages (see retrieval_books.py, which also says where the questions come from, and on which books
ranking was developed). For each book, and for all of a language that were developed on and that were held out:

    as it is       the headings are in the index, as they are for a user
    hidden         the heading that a question was made from is taken away from its section for that question, so that
                   only the text below it and the headings further up can be found
    said           those of the hidden questions whose words, at least half of them by weight, occur below the heading
                   at all: "A concrete example" says nothing that its section says
    foreign        questions of a book about something else: how many are told to be not in the document, and how many
                   of its own questions ("kept", with the heading and without) are not

each by place, and by page ("..., page"): a book page has some 2500 characters (1000 of a Chinese one), and further
places on a page that was found already do not count. A place is found if it overlaps the answer (or is on one of its
pages). recall@k: among the first k, whatever their coverage; MRR: mean of 1/rank within the first 20.
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

from retrieval_books import BOOKS, HELD_OUT, Book, Question, read_book

from pocketseek.apps.doc.passage_index import HEADING_GAP, Scope
from pocketseek.apps.doc.rank import term_weight
from pocketseek.apps.doc.retrieve import LEAST_COVERAGE, Found, Retriever
from pocketseek.apps.doc.store import DocumentStore, FileState
from pocketseek.apps.doc.terms import index_text, is_beginning, terms_of, wanted_terms

_DEEPEST = 20
_FOREIGN = "gimp"
_SAID = 0.5
_KINDS = ("as it is", "hidden", "said")
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
    parser.add_argument("--books", choices=("developed", "held-out"), help="only these")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--missed", action="store_true", help="show the questions that were not answered in five")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    wanted = [book for book in BOOKS if book[0] == _FOREIGN or arguments.books in (None, _side(book[0]))]
    books = [read_book(*book, arguments.folder) for book in wanted]
    with TemporaryDirectory() as folder:
        store = DocumentStore(Path(folder) / "documents.db")
        report = measure(store, books, arguments.most, show_missed=arguments.missed)
        store.close()
    if arguments.json:
        print(json.dumps(report))


def measure(store: DocumentStore, books: Sequence[Book], most: int, *, show_missed: bool) -> dict[str, object]:
    report: dict[str, object] = {"least_coverage": LEAST_COVERAGE, "said": _SAID}
    ids = {id(book): _put(store, book) for book in books}
    for language in ("en", "zh"):
        ours = [book for book in books if book.language == language and book.name != _FOREIGN]
        others = [book for book in books if book.language == language and book.name == _FOREIGN]
        foreign = [question for book in others for question in drawn(book, most)]
        sums: dict[str, dict[str, _Totals]] = {}
        for book in ours:
            asked = _Asked(store, ids[id(book)], book, show_missed)
            own = asked.ask(drawn(book, most))
            own["foreign"] = _Totals(num_kept=sum(asked.is_kept(question) for question in foreign), asked=len(foreign))
            for group in (book.name, _side(book.name)):
                for kind, totals in own.items():
                    sums.setdefault(group, {}).setdefault(kind, _Totals()).add(totals)
            _show(f"{language} {book.name}", sums[book.name], report)
        for side in ("developed", "held-out"):
            if side in sums:
                _show(f"{language} {side}", sums[side], report)
    return report


def _side(name: str) -> str:
    return "held-out" if name in HELD_OUT else "developed"


@dataclass
class _Totals:
    """num_kept: of the questions asked, those that are not told to be not in the document."""

    ranks: list[int | None] = field(default_factory=list)
    seconds: float = 0.0
    num_kept: int = 0
    asked: int = 0

    def add(self, other: _Totals) -> None:
        self.ranks += other.ranks
        self.seconds += other.seconds
        self.num_kept += other.num_kept
        self.asked += other.asked


def _show(name: str, kinds: dict[str, _Totals], report: dict[str, object]) -> None:
    for kind, totals in kinds.items():
        kept = f"kept {totals.num_kept / max(totals.asked, 1):.3f} of {totals.asked}" if totals.asked else ""
        if totals.ranks:
            figures = Figures.of(totals.ranks, totals.seconds)
            report[f"{name} {kind}"] = vars(figures)
            print(
                f"{name:14} {kind:14} {figures.questions:4} questions  recall@1 {figures.recall_1:.3f}  "
                f"recall@5 {figures.recall_5:.3f}  MRR {figures.mrr:.3f}  {figures.seconds * 1e3:.0f} ms each  {kept}",
                flush=True,
            )
        elif kept:
            print(f"{name:14} {kind:14} {kept}", flush=True)
        if totals.asked:
            report[f"{name} {kind} kept"] = totals.num_kept / totals.asked


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
        self._text = book.document.text
        self._page_chars = _PAGE_CHARS[book.language]
        self._show_missed = show_missed

    def is_kept(self, question: Question) -> bool:
        return bool(Retriever(self._store).find(question.text, self._scope, limit=1))

    def ask(self, questions: Sequence[Question]) -> dict[str, _Totals]:
        """By kind; of each kind by place and by page."""
        totals = {f"{kind}{by}": _Totals() for kind in _KINDS for by in ("", ", page")}
        for question in questions:
            self._ask(question, totals, ("as it is",))
            self._ask(question, totals, ("hidden", "said") if self._is_said(question) else ("hidden",))
        return totals

    def _ask(self, question: Question, totals: dict[str, _Totals], kinds: Sequence[str]) -> None:
        with _hidden(self._store, self._id, question, is_hidden="hidden" in kinds):
            begin_s = time.perf_counter()
            found = Retriever(self._store).find(question.text, self._scope, limit=_DEEPEST, least_coverage=0.0)
            seconds = time.perf_counter() - begin_s
        kept = any(item.coverage >= LEAST_COVERAGE for item in found)
        page = self._page_rank(question, found)
        for kind in kinds:
            totals[kind].add(_Totals([_rank(question, found)], seconds, int(kept), 1))
            totals[f"{kind}, page"].add(_Totals([page]))
        if self._show_missed and "hidden" in kinds and (page or _DEEPEST) > 5:
            print("   missed:", kinds[-1], page, question.text, "->", [item.heading[-1:] for item in found[:3]])

    def _is_said(self, question: Question) -> bool:
        index, scope = self._store.index, self._scope
        num_passages, _ = index.size(scope)
        weights = {term: term_weight(num_passages, index.num_with(term, scope)) for term in wanted_terms(question.text)}
        there = {term.text for term in terms_of(self._text[question.start : question.stop])}
        said = sum(
            weight
            for term, weight in weights.items()
            if term in there or (is_beginning(term) and any(other.startswith(term) for other in there))
        )
        return said >= _SAID * sum(weights.values())

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
