"""`pocketseek doc ask WHAT QUESTION --whole`: what the terminal or a script sees of reading everything."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli.console import note, print_json, print_text
from pocketseek.cli.doc import library_messages as said
from pocketseek.cli.doc.jobs_cmd import stoppable
from pocketseek.cli.doc.summary_view import coverage_lines
from pocketseek.cli.doc.talk import OpenedModel, citation_facts, tell_sources
from pocketseek.cli.guard.state_key import state_key
from pocketseek.cli.messages import Words
from pocketseek.cli.run.heat_note import HeatNote
from pocketseek.settings import Settings

if TYPE_CHECKING:
    from pocketseek.apps.doc.coverage import Coverage
    from pocketseek.apps.doc.document_rows import DocumentInfo
    from pocketseek.apps.doc.jobs import JobRequest
    from pocketseek.apps.doc.kept_answers import Keeper
    from pocketseek.apps.doc.passage_index import Scope
    from pocketseek.apps.doc.store import DocumentStore
    from pocketseek.apps.doc.whole import ReadWhole, WholeAnswer


def run_whole(
    settings: Settings,
    store: DocumentStore,
    scope: Scope,
    question: str,
    model: OpenedModel,
    *,
    keep: bool,
    quiet: bool,
    start_s: float,
) -> None:
    """keep: answers go to the file of summaries, so that a run that was stopped goes on. quiet: one JSON object."""
    from pocketseek.apps.doc.jobs import JobStore
    from pocketseek.apps.doc.whole import ForgetfulKeeper

    words = Words(settings.language)
    infos = [store.info(scope.document_id)] if scope.document_id is not None else store.documents(scope.collection)
    run = _Run(store, infos, question, model, words, quiet=quiet)
    if keep:
        with closing(JobStore(settings.summaries_path, key=state_key(settings))) as jobs:
            job = jobs.begin(_request(store, scope, infos, question, model))
            with stoppable(job, words):
                answer = run.answer(job)
            job.plan(sum(len(one.coverage.parts) for one in answer.documents if one.coverage))
            job.finish()
    else:
        answer = run.answer(ForgetfulKeeper())
    if quiet:
        print_json(_facts(answer, question, model) | {"seconds": time.perf_counter() - start_s})
    else:
        _tell(answer, words)


class _Run:
    def __init__(
        self,
        store: DocumentStore,
        infos: Sequence[DocumentInfo],
        question: str,
        model: OpenedModel,
        words: Words,
        *,
        quiet: bool,
    ) -> None:
        self._parts = store, infos, model.engine, question
        self._words = words
        self._quiet = quiet

    def answer(self, keeper: Keeper) -> WholeAnswer:
        from pocketseek.apps.doc.summary_events import Progress
        from pocketseek.apps.doc.whole import Reading, WholeAnswer, answer_whole
        from pocketseek.cli.doc.progress import summary_progress

        heat = HeatNote(self._words)
        look = self._parts[2].thermal_status
        with (
            nullcontext() if self._quiet else heat.watching(look),
            closing(answer_whole(*self._parts, keeper)) as events,
            summary_progress(self._words, quiet=self._quiet) as show,
        ):
            for event in events:
                if isinstance(event, WholeAnswer):
                    return event
                if isinstance(event, Progress):
                    show(event)
                elif isinstance(event, Reading) and event.total > 1 and not self._quiet:
                    note(self._words(said.READING_ONE, number=event.number, total=event.total, title=event.title))
        raise AssertionError("it ends with a WholeAnswer")


def _request(
    store: DocumentStore, scope: Scope, infos: Sequence[DocumentInfo], question: str, model: OpenedModel
) -> JobRequest:
    """One job for a document, and one for a collection: answers are kept by what was asked, so documents that come and
    go cost only themselves."""
    from pocketseek.apps.doc.document import Document
    from pocketseek.apps.doc.jobs import JobRequest
    from pocketseek.apps.doc.whole import options_for

    options = options_for(question)
    if scope.document_id is not None:
        (info,) = infos
        return JobRequest(Path(info.path), info.sha256, store.document(info.id), model.name, model.identity, options)
    name = scope.collection or ""
    digest = hashlib.sha256(f"collection {name}".encode("utf-8", "surrogatepass")).hexdigest()
    return JobRequest(Path(name), digest, Document(name, "text/plain", ()), model.name, model.identity, options)


def _tell(answer: WholeAnswer, words: Words) -> None:
    print_text(answer.reply.answer)
    if not answer.reply.is_there:
        note(words(said.NOT_IN_WHOLE))
    tell_sources(answer.reply, words)
    for one in answer.documents:
        if len(answer.documents) > 1:
            note(f"{one.document.title}: {one.problem}" if one.problem else one.document.title)
        for line in coverage_lines(one.coverage, words, is_answer=True) if one.coverage else ():
            note(line)


def _facts(answer: WholeAnswer, question: str, model: OpenedModel) -> dict[str, object]:
    reply = answer.reply
    return {
        "model": model.name,
        "question": question,
        "answer": reply.answer,
        "finish_reason": "length" if answer.is_cut else "stop",
        "not_in_document": not reply.is_there,
        "citations": [citation_facts(citation) for citation in reply.citations],
        "dropped": list(reply.dropped),
        "coverage": _coverage([one.coverage for one in answer.documents if one.coverage]),
        "documents": [_document_facts(one) for one in answer.documents],
    }


def _document_facts(one: ReadWhole) -> dict[str, object]:
    return {
        "document": one.document.id,
        "title": one.document.title,
        "path": one.document.path,
        "answer": one.answer,
        "not_in_document": not one.is_there,
        "problem": one.problem,
        "coverage": one.coverage.facts() if one.coverage else None,
    }


def _coverage(coverages: Sequence[Coverage]) -> dict[str, object]:
    """Of all documents together; each has its own too."""
    return {
        "chunks": sum(len(one.parts) for one in coverages),
        "chunks_covered": sum(one.num_covered for one in coverages),
        "characters": sum(one.parts[-1].chunk.stop for one in coverages if one.parts),
        "tokens": sum(one.num_tokens for one in coverages),
        "left_out": sum(len(one.left_out) for one in coverages),
    }
