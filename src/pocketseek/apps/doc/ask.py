"""Asking kept documents: find, prompt, and what became of the answer.

    asker.look(question)                    passages, or none: then the documents do not speak of it
    prompt_for(engine, looked, ...)         the whole if it is short and fits, else what was found; the caller streams
    asker.reply(looked, passages, answer)   citations that were checked; the exchange is kept for questions that follow

Opening a model takes longer than looking, so the caller opens it only when something was found.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketseek.apps.doc import exchanges
from pocketseek.apps.doc.answer import AnswerEngine, AnswerPrompt, answer_prompt, whole_prompt
from pocketseek.apps.doc.citations import Citation, cite
from pocketseek.apps.doc.collections import ReadDocument, add_file, paths_meant
from pocketseek.apps.doc.exchanges import Exchange
from pocketseek.apps.doc.not_there import says_not_there
from pocketseek.apps.doc.passage_index import Scope
from pocketseek.apps.doc.reading_mark import Extra
from pocketseek.apps.doc.retrieve import LEAST_COVERAGE, Found, Retriever
from pocketseek.apps.doc.store import DocumentStore
from pocketseek.errors import NotFoundError, UsageError

_MAX_QUESTION_CHARS = 4000
_MAX_FOUND = 12


@dataclass(frozen=True)
class Looked:
    """What there is for a question. found: the best passages first. earlier: what it follows. whole: all there is, in
    order, if that is short; then `found` is never empty."""

    question: str
    found: tuple[Found, ...]
    earlier: tuple[Exchange, ...]
    whole: tuple[Found, ...] = ()


@dataclass(frozen=True)
class Reply:
    """is_there: the answer is in the documents, as far as retrieval and the model see it."""

    answer: str
    is_there: bool
    citations: tuple[Citation, ...] = ()
    dropped: tuple[int, ...] = ()


def scope_of(store: DocumentStore, name: str, read: ReadDocument, extras: Collection[Extra] = ()) -> Scope:
    """What to ask: a file (read and kept, if it is not yet), a collection, or a kept document by number or title.

    extras: what `read` brings of a file; UsageError if they are wanted of what is kept, which is not read again."""
    path = Path(name).expanduser()
    if path.is_file():
        return Scope(document_id=add_file(store, path, read, extras).id)
    if extras:
        options = " ".join(f"--{extra}" for extra in extras)
        raise UsageError(
            f"{options} is for reading files, and {name!r:.100} is none; `pocketseek doc add FILE {options}`"
        )
    if any(one.name == name for one in store.collections()):
        return Scope(collection=name)
    if path.is_dir():
        raise UsageError(f"{name} is a folder; `pocketseek doc add {name} --collection NAME`, then ask NAME")
    try:
        kept = store.of_path(paths_meant(store, name)[0])
    except NotFoundError:
        raise NotFoundError(
            f"{name!r:.100} is no file, collection or kept document; see `pocketseek doc list`"
        ) from None
    if kept is None:
        raise NotFoundError(f"{name!r:.100} was removed meanwhile; add it again")
    return Scope(document_id=kept.id)


def prompt_for(engine: AnswerEngine, looked: Looked, *, max_tokens: int) -> AnswerPrompt:
    """All of what is short, where it fits; else as many of the passages found as fit. Raises ContextLengthError."""
    whole = whole_prompt(engine, looked.question, looked.whole, max_tokens=max_tokens, earlier=looked.earlier)
    return whole or answer_prompt(engine, looked.question, looked.found, max_tokens=max_tokens, earlier=looked.earlier)


class Asker:
    """Questions to one scope of a store, each on its own or following those before. keeps: questions and answers are
    kept in the store for the next Asker; else they go with this one."""

    def __init__(self, store: DocumentStore, scope: Scope, *, keeps: bool = True) -> None:
        self._store = store
        self._scope = scope
        self._keeps = keeps
        self._unkept: list[Exchange] = []

    def look(self, question: str, *, follows: bool = False) -> Looked:
        """follows: the question goes on with what was asked last. UsageError: there is no question, or nothing to
        follow."""
        earlier = self._earlier() if follows else ()
        looked = look_for(self._store, self._scope, question, earlier)
        if follows and not earlier:
            raise UsageError("nothing was asked about it before; leave out --continue")
        return looked

    def reply(self, looked: Looked, passages: Sequence[Found], answer: str) -> Reply:
        """passages: as they were numbered for the model; none if it was not asked."""
        reply = reply_of(self._store, passages, answer)
        self._record(Exchange(looked.question, reply.answer))
        return reply

    def _earlier(self) -> tuple[Exchange, ...]:
        return (*exchanges.last(self._store.database, self._scope), *self._unkept)

    def _record(self, exchange: Exchange) -> None:
        if self._keeps:
            exchanges.record(self._store.database, self._scope, exchange)
        else:
            self._unkept.append(exchange)


def look_for(store: DocumentStore, scope: Scope, question: str, earlier: Sequence[Exchange] = ()) -> Looked:
    """Passages for a question that follows those exchanges. UsageError: there is no question."""
    question = " ".join(question.split())
    if not question or len(question) > _MAX_QUESTION_CHARS:
        raise UsageError(f"a question has 1 to {_MAX_QUESTION_CHARS} characters; this one has {len(question)}")
    before = earlier[-1].question if earlier else ""
    retriever = Retriever(store)
    whole = tuple(retriever.whole(scope))
    line = 0.0 if whole else LEAST_COVERAGE
    found = retriever.find(question, scope, limit=_MAX_FOUND, earlier=before, least_coverage=line)
    return Looked(question, tuple(found) or whole[:_MAX_FOUND], tuple(earlier), whole)


def reply_of(store: DocumentStore, passages: Sequence[Found], answer: str) -> Reply:
    """passages: as they were numbered for the model; none if it was not asked. A mark that leads to a passage makes an
    answer of whatever it says."""
    answer = answer.strip()
    if not passages or not answer:
        return Reply(answer, is_there=False)
    cited = cite(answer, passages, store.index.text, store.place_at)
    if says_not_there(answer) and not any(citation.is_marked for citation in cited.citations):
        return Reply(answer, is_there=False)
    return Reply(answer, True, cited.citations, cited.dropped)
