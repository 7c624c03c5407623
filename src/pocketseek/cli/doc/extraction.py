"""`pocketseek doc ask FILE --schema SCHEMA`: what the terminal or a script sees of an extraction."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli.console import note, print_exact, print_json, progress_bar
from pocketseek.cli.doc import library_messages as said
from pocketseek.cli.doc.jobs_cmd import stoppable
from pocketseek.cli.doc.talk import OpenedModel
from pocketseek.cli.guard.state_key import state_key
from pocketseek.cli.messages import Words
from pocketseek.settings import Settings

if TYPE_CHECKING:
    from pocketseek.apps.doc.document import Document, Place
    from pocketseek.apps.doc.document_rows import DocumentInfo
    from pocketseek.apps.doc.extract import Extraction, ExtractionOptions
    from pocketseek.apps.doc.jobs import JobRequest
    from pocketseek.apps.doc.kept_answers import Keeper
    from pocketseek.apps.doc.store import DocumentStore


def run_extraction(
    settings: Settings,
    store: DocumentStore,
    document_id: int,
    model: OpenedModel,
    options: ExtractionOptions,
    *,
    keep: bool,
    quiet: bool,
    start_s: float,
) -> None:
    """keep: answers go to the file of summaries, so that a run that was stopped goes on. quiet: one JSON object with
    all there is; else the value as text, and what is wrong with it on standard error."""
    from pocketseek.apps.doc.whole import ForgetfulKeeper

    words = Words(settings.language)
    document = store.document(document_id)
    if keep:
        request = _request(store.info(document_id), document, model, options)
        found = _kept_extraction(settings, request, document, model, options, words)
    else:
        found = _extraction(document, model, options, ForgetfulKeeper(), words)
    if quiet:
        seconds = time.perf_counter() - start_s
        print_json({"model": model.name, "question": options.question, **_facts(found), "seconds": seconds})
    else:
        _tell(found, words)


def _tell(found: Extraction, words: Words) -> None:
    print_exact(json.dumps(found.value, ensure_ascii=False, indent=2))
    if found.unplaced:
        note(words(said.UNPLACED_FIELDS, fields=", ".join(found.unplaced)))
    if found.missing:
        note(words(said.MISSING_FIELDS, fields=", ".join(found.missing)))
    if found.others:
        note(words(said.OTHER_VALUES, fields=", ".join(found.others)))
    if found.lost:
        note(words(said.LOST_CHUNKS, lost=len(found.lost), total=found.num_chunks))


def _request(info: DocumentInfo, document: Document, model: OpenedModel, options: ExtractionOptions) -> JobRequest:
    from pocketseek.apps.doc.jobs import JobRequest

    return JobRequest(Path(info.path), info.sha256, document, model.name, model.identity, options)


def _kept_extraction(
    settings: Settings,
    request: JobRequest,
    document: Document,
    model: OpenedModel,
    options: ExtractionOptions,
    words: Words,
) -> Extraction:
    from pocketseek.apps.doc.jobs import JobStore

    with closing(JobStore(settings.summaries_path, key=state_key(settings))) as jobs:
        job = jobs.begin(request)
        with stoppable(job, words):
            found = _extraction(document, model, options, job, words)
        job.plan(found.num_chunks)
        job.finish()
        return found


def _extraction(
    document: Document, model: OpenedModel, options: ExtractionOptions, keeper: Keeper, words: Words
) -> Extraction:
    from pocketseek.apps.doc.extract import extract

    steps = extract(document, model.engine, options, keeper)
    with closing(steps), progress_bar(unit="chunks") as show:
        while True:
            try:
                done, total = next(steps)
            except StopIteration as end:
                found: Extraction = end.value
                return found
            show(words(said.READING), done, total)


def _facts(found: Extraction) -> dict[str, object]:
    return {
        "value": found.value,
        "places": {path: _place_facts(place) for path, place in found.places.items()},
        "unplaced": found.unplaced,
        "others": found.others,
        "missing": found.missing,
        "lost": [{**_place_facts(one.place), "reason": one.reason} for one in found.lost],
        "chunks": found.num_chunks,
    }


def _place_facts(place: Place) -> dict[str, object]:
    return {"page": place.page, "chapter": place.chapter, "paragraph": place.paragraph}
