"""apps/doc/extract.py: values of all chunks come together, with their places; what is wrong is told."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fake_task_engine import FakeTaskEngine, MemoryKeeper
from sample_documents import made

from pocketseek.apps.doc.document import Place
from pocketseek.apps.doc.extract import Extraction, ExtractionOptions, extract, parse_schema, relaxed
from pocketseek.errors import UsageError

SCHEMA = {
    "type": "object",
    "properties": {
        "seller": {"type": "string"},
        "price": {"type": "number"},
        "goods": {"type": "array", "items": {"type": "string"}},
        "court": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
    "required": ["seller", "goods"],
}
FILLER = "Words that say nothing at all. " * 80
CONTRACT = made(
    "The seller is Ann\nSmith. " + FILLER,
    "=",
    "The price is 3500 francs for apples. " + FILLER,
    "=",
    "And pears. " + FILLER,
)


def extracted(
    answer: Callable[[str], str | None], schema: Mapping[str, Any] = SCHEMA, keeper: MemoryKeeper | None = None
) -> Extraction:
    engine, options = FakeTaskEngine(answer, context_length=4500), ExtractionOptions(schema, "the sale")
    steps = extract(CONTRACT, engine, options, keeper or MemoryKeeper())
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            found: Extraction = end.value
            break
    assert seen == [(done, found.num_chunks) for done in range(seen[0][0], found.num_chunks + 1)]
    return found


def answers(prompt: str) -> str:
    value = {
        "seller": "Ann Smith" if "Ann" in prompt else None,
        "price": 3500 if "3500" in prompt else None,
        "goods": [word for word in ("apples", "pears") if word in prompt.partition("\n")[2]],
        "court": {"city": None},
    }
    return json.dumps(value)


def test_values_of_all_chunks_come_together_with_their_places() -> None:
    found = extracted(answers)
    assert found.num_chunks > 2
    assert found.value == {"seller": "Ann Smith", "price": 3500, "goods": ["apples", "pears"], "court": {"city": None}}
    pages = {path: place.page for path, place in found.places.items()}
    assert pages == {"/seller": 1, "/price": 2, "/goods/0": 2, "/goods/1": 3}
    assert (found.missing, found.lost, found.others, found.unplaced) == ([], [], {}, [])


def test_a_value_that_stands_there_wins_over_one_that_does_not() -> None:
    found = extracted(lambda prompt: json.dumps({"seller": "Ann Smith" if "Ann" in prompt else "Bob"}))
    assert found.value["seller"] == "Ann Smith"  # type: ignore[index, call-overload]
    assert found.others == {"/seller": ["Bob"]}
    assert found.missing == ["/goods"]


def test_a_number_is_not_found_in_a_longer_one() -> None:
    found = extracted(lambda prompt: '{"price": 350}')
    assert (found.places, found.unplaced) == ({}, ["/price"])


def test_every_value_of_an_object_is_placed_or_not_by_itself() -> None:
    schema = {
        "type": "object",
        "properties": {"parties": {"type": "array", "items": {"type": "object", "properties": {}}}},
    }
    parties = [{"name": "Ann Smith", "born": 1977, "children": ["Ann", "Eve"]}]
    found = extracted(lambda prompt: json.dumps({"parties": parties if "Ann" in prompt else []}), schema)
    assert list(found.places) == ["/parties/0/name", "/parties/0/children/0"]
    assert found.unplaced == ["/parties/0/born", "/parties/0/children/1"]


def test_chunks_without_a_usable_answer_are_told() -> None:
    found = extracted(lambda prompt: '{"seller": "An' if "Ann" in prompt else answers(prompt))
    assert [(lost.place, lost.reason) for lost in found.lost] == [(Place(1, None, 1), "its answer did not end")]
    assert "/seller" in found.missing


def test_who_is_stopped_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = MemoryKeeper()
    options = ExtractionOptions(SCHEMA, "the sale")
    steps = extract(CONTRACT, FakeTaskEngine(answers, context_length=4500), options, keeper)
    while next(steps)[0] < 2:
        pass
    steps.close()
    asked: list[str] = []
    found = extracted(lambda prompt: asked.append(prompt) or answers(prompt), keeper=keeper)  # type: ignore[func-returns-value]
    assert len(asked) == found.num_chunks - 2
    assert found == extracted(answers)


def test_nothing_is_required_of_a_chunk() -> None:
    loose = relaxed(SCHEMA)
    assert loose["properties"]["seller"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}  # type: ignore[index, call-overload]
    assert SCHEMA["required"] == ["seller", "goods"]


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"type": "string"}', '{"type": "object"}', "[" * 100_000])
def test_what_is_no_schema_of_an_object_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="schema"):
        parse_schema(text)


def test_a_schema_that_is_too_deep_is_told() -> None:
    schema: dict[str, object] = {"type": "object", "properties": {}}
    for _ in range(40):
        schema = {"type": "object", "properties": {"x": schema}}
    with pytest.raises(UsageError, match="nested"):
        relaxed(schema)  # type: ignore[arg-type]
