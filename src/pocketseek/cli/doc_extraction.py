"""`pocketseek doc ask FILE --schema SCHEMA`: what the terminal or a script sees of an extraction."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pocketseek.cli import doc_library_messages as said
from pocketseek.cli.console import note, print_json, print_text, progress_bar
from pocketseek.cli.doc_talk import OpenedModel
from pocketseek.cli.messages import Words

if TYPE_CHECKING:
    from pocketseek.apps.doc.document import Document, Place
    from pocketseek.apps.doc.extract import Extraction, Json
    from pocketseek.runtime.engine import Engine


def run_extraction(
    document: Document,
    model: OpenedModel,
    schema: Mapping[str, Json],
    question: str,
    words: Words,
    *,
    quiet: bool,
    start_s: float,
) -> None:
    """quiet: one JSON object with all there is; else the value as text, and what is wrong with it on standard error."""
    found = _extraction(document, model.engine, schema, question, words)
    if quiet:
        seconds = time.perf_counter() - start_s
        print_json({"model": model.name, "question": question, **_facts(found), "seconds": seconds})
        return
    print_text(json.dumps(found.value, ensure_ascii=False, indent=2))
    if found.unplaced:
        note(words(said.UNPLACED_FIELDS, fields=", ".join(found.unplaced)))
    if found.missing:
        note(words(said.MISSING_FIELDS, fields=", ".join(found.missing)))
    if found.others:
        note(words(said.OTHER_VALUES, fields=", ".join(found.others)))
    if found.lost:
        note(words(said.LOST_CHUNKS, lost=len(found.lost), total=found.num_chunks))


def _extraction(
    document: Document, engine: Engine, schema: Mapping[str, Json], question: str, words: Words
) -> Extraction:
    from pocketseek.apps.doc.extract import extract

    steps = extract(document, engine, schema, question)
    with progress_bar(unit="chunks") as show:
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
