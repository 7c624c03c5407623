"""Facts of a whole document in the form of a JSON schema.

    document -> chunks -> for each the schema, filled in by the model or null (constrained) -> merged -> Extraction

For a chunk, nothing is required and everything may be null: most chunks say nothing about most fields. Lists are joined
without doubles; of single values the first one that stands in its chunk word for word counts, else the first; other
values for the same field are told (`others`). Where a value stands is told too (`places`), so that a value without a
place is one to check. Every answer goes to the keeper as soon as it is there, so that who is stopped goes on. Chunks
whose answer did not end, and fields that stay empty though the schema requires them, are told.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeAlias

from pocketseek.apps.doc.answer import language_of
from pocketseek.apps.doc.background import MAX_REASONING_TOKENS, Task
from pocketseek.apps.doc.chunk import Chunk, chunks
from pocketseek.apps.doc.document import Document, Place
from pocketseek.apps.doc.kept_answers import Keeper, KeptAnswers
from pocketseek.apps.doc.summarize import SummaryEngine
from pocketseek.apps.doc.summary_events import Progress
from pocketseek.apps.doc.word_for_word import find_value
from pocketseek.apps.doc.written_answer import Note
from pocketseek.errors import UsageError
from pocketseek.types import Constraint, Message

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_ANSWER_TOKENS = 512
_CHUNK_TOKENS = 2048
_OVERLAP_TOKENS = 64
_MAX_DEPTH = 16

_SYSTEM = {
    "en": "Fill in the JSON with what the text says and nothing else. What the text does not say is null.",
    "zh": "只根据文本内容填写 JSON。文本中没有提到的内容填 null。",
}


@dataclass(frozen=True)
class ExtractionOptions:
    """What decides an extraction besides document and model. question: what to look at, may be empty."""

    schema: Mapping[str, Json]
    question: str = ""


@dataclass(frozen=True)
class Lost:
    """A chunk without an answer. place: where it begins."""

    place: Place
    reason: str


@dataclass
class Extraction:
    """value: as the schema wants it, null where nothing was found. Every single value in it is in `places` or, if it
    does not stand in its chunk word for word, in `unplaced`. Keys are paths such as /price and /parties/0/name."""

    value: Json = None
    places: dict[str, Place] = field(default_factory=dict)
    others: dict[str, list[Json]] = field(default_factory=dict)
    unplaced: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    num_chunks: int = 0


@dataclass(frozen=True)
class _Candidate:
    """What a chunk gave for a field. places: of the single values in it, by their paths within it."""

    value: Json
    places: Mapping[str, Place | None]

    @property
    def placed_share(self) -> float:
        return sum(place is not None for place in self.places.values()) / max(len(self.places), 1)


def parse_schema(text: str) -> dict[str, Json]:
    """Raises UsageError."""
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the schema is no JSON ({error}); correct it") from error
    if not isinstance(schema, dict) or schema.get("type") != "object" or not isinstance(schema.get("properties"), dict):
        raise UsageError('the schema must be a JSON object with "type": "object" and "properties"')
    return schema


def extract(
    document: Document, engine: SummaryEngine, options: ExtractionOptions, keeper: Keeper
) -> Generator[tuple[int, int], None, Extraction]:
    """Yields (chunks done, chunks in all); returns what was found. Raises UsageError for a schema that cannot be used,
    ContextLengthError and what the engine and the keeper raise."""
    schema, question = options.schema, options.question
    constraint = Constraint("json_schema", json.dumps(relaxed(schema)))

    def task(chunk: Chunk) -> Task:
        text = document.text[chunk.context_start : chunk.stop]
        return Task(tuple(_messages(text, schema, question)), _ANSWER_TOKENS, constraint)

    parts = chunks(
        document,
        lambda text: len(engine.tokenizer.encode(text, add_special=False, parse_special=False)),
        max_tokens=min(_CHUNK_TOKENS, engine.context_length - _ANSWER_TOKENS - _room_for_reasoning(engine)),
        overlap_tokens=_OVERLAP_TOKENS,
        count_prompt=lambda chunk: len(engine.encode(task(chunk).prompt).token_ids),
    )
    notes = yield from _noted(KeptAnswers(engine, keeper).run("notes", [task(part) for part in parts]))
    return _merged(document, schema, parts, [note.text for note in notes])


def _noted(steps: Generator[Progress, None, list[Note]]) -> Generator[tuple[int, int], None, list[Note]]:
    """Yields (done, total) when an answer is there, and before the first."""
    shown: int | None = None
    with closing(steps):
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                notes: list[Note] = end.value
                return notes
            if progress.done != shown:
                shown = progress.done
                yield progress.done, progress.total


def relaxed(schema: Mapping[str, Json], depth: int = 0) -> dict[str, Json]:
    """The schema with nothing required and null allowed for every property. Raises UsageError if it is too deep."""
    if depth > _MAX_DEPTH:
        raise UsageError(f"the schema is nested deeper than {_MAX_DEPTH}; make it flatter")
    loose: dict[str, Json] = {name: value for name, value in schema.items() if name not in ("required", "minItems")}
    properties, items = schema.get("properties"), schema.get("items")
    if isinstance(properties, dict):
        loose["properties"] = {
            name: {"anyOf": [relaxed(one, depth + 1), {"type": "null"}]} if isinstance(one, dict) else one
            for name, one in properties.items()
        }
        loose["required"] = list(properties)  # each is written, as null if need be: small models forget them otherwise
        loose["additionalProperties"] = False
    if isinstance(items, dict):
        loose["items"] = relaxed(items, depth + 1)
    return loose


def _messages(text: str, schema: Mapping[str, Json], question: str) -> Iterator[Message]:
    yield Message("system", f"{_SYSTEM[language_of(question or text[:200])]}\n{json.dumps(schema, ensure_ascii=False)}")
    yield Message("user", f"{text}\n\n{question}".strip())


def _room_for_reasoning(engine: SummaryEngine) -> int:
    probe = engine.encode((Message("user", "?"),))
    return min(MAX_REASONING_TOKENS, engine.context_length // 4) if probe.starts_in_reasoning else 0


def _merged(
    document: Document, schema: Mapping[str, Json], parts: Sequence[Chunk], answers: Sequence[str]
) -> Extraction:
    found = Extraction(num_chunks=len(parts))
    candidates: dict[str, list[_Candidate]] = {}
    for part, answer in zip(parts, answers, strict=True):
        try:
            value: Json = json.loads(answer)
        except (ValueError, RecursionError):
            found.lost.append(Lost(document.place_at(part.start), "its answer did not end" if answer else "no answer"))
            continue
        for path, leaf in _leaves(value, ""):
            candidates.setdefault(path, []).append(_Candidate(leaf, _places_of(leaf, document, part)))
    found.value = _filled(schema, "", candidates, found)
    return found


def _leaves(value: Json, path: str) -> Iterator[tuple[str, Json]]:
    """What is not null and not an object; a list is one leaf for each of its items, under the path of the list."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _leaves(one, f"{path}/{name}")
    elif isinstance(value, list):
        yield from ((path, one) for one in value if one not in (None, "", {}, []))
    elif value not in (None, ""):
        yield path, value


def _filled(
    schema: Mapping[str, Json],
    path: str,
    candidates: Mapping[str, list[_Candidate]],
    found: Extraction,
) -> Json:
    properties = schema.get("properties")
    if isinstance(properties, dict):
        required = schema.get("required")
        value: dict[str, Json] = {}
        for name, one in properties.items():
            inner = one if isinstance(one, dict) else {}
            value[name] = _filled(inner, f"{path}/{name}", candidates, found)
            if isinstance(required, list) and name in required and value[name] in (None, []):
                found.missing.append(f"{path}/{name}")
        return value
    values = _without_doubles(candidates.get(path, []))
    if schema.get("type") == "array":
        for number, item in enumerate(values):
            _note_places(found, f"{path}/{number}", item)
        return [item.value for item in values]
    if not values:
        return None
    best = max(values, key=lambda one: one.placed_share)  # of equals the first
    _note_places(found, path, best)
    if len(values) > 1:
        found.others[path] = [one.value for one in values if one is not best]
    return best.value


def _note_places(found: Extraction, path: str, candidate: _Candidate) -> None:
    for below, place in candidate.places.items():
        if place is None:
            found.unplaced.append(path + below)
        else:
            found.places[path + below] = place


def _without_doubles(values: Sequence[_Candidate]) -> list[_Candidate]:
    """Equal but for white space and capitals; the one with more places wins."""
    kept: dict[str, _Candidate] = {}
    for one in values:
        key = " ".join(json.dumps(one.value, ensure_ascii=False, sort_keys=True).casefold().split())
        if key not in kept or kept[key].placed_share < one.placed_share:
            kept[key] = one
    return list(kept.values())


def _places_of(value: Json, document: Document, part: Chunk, path: str = "") -> dict[str, Place | None]:
    """For each single value in it, under its path, where it stands in the chunk word for word."""
    places: dict[str, Place | None] = {}
    if isinstance(value, dict):
        for name, one in value.items():
            places |= _places_of(one, document, part, f"{path}/{name}")
    elif isinstance(value, list):
        for number, one in enumerate(value):
            places |= _places_of(one, document, part, f"{path}/{number}")
    elif value not in (None, ""):
        at = find_value(document.text[part.context_start : part.stop], value)
        places[path] = None if at is None else document.place_at(part.context_start + at)
    return places
