"""What would take the library exponential time is refused by reading; what people write is not."""

import json

import pytest
from fakes import VOCAB_SIZE, ByteTokenizer

from pocketseek.errors import UsageError
from pocketseek.runtime.constrain import Constrainer
from pocketseek.runtime.schema_limits import TooComplexError, check_schemas
from pocketseek.types import Constraint, Request

TEXT = {"type": "string"}


def _patterns(num: int) -> list[dict[str, object]]:
    return [{"type": "string", "pattern": f"(.*x.{{{i}}}y.*)"} for i in range(3, 3 + num)]


def _deep(depth: int) -> dict[str, object]:
    schema: dict[str, object] = dict(TEXT)
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def _chain(num: int) -> dict[str, object]:
    definitions: dict[str, object] = {
        f"d{i}": {"type": "object", "properties": {"a": {"$ref": f"#/$defs/d{i + 1}"}}} for i in range(num)
    }
    return {"$defs": definitions | {f"d{num}": TEXT}, "$ref": "#/$defs/d0"}


def _at(place: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": {"a": place}}


HOSTILE: dict[str, dict[str, object]] = {
    "all of": {"allOf": _patterns(37)},
    "nested all of": {"allOf": [{"allOf": [one]} for one in _patterns(37)]},
    "one within the other": {"allOf": [_at({"allOf": _patterns(5)}), _at({"pattern": "z"})]},
    "properties": {"allOf": [_at(one) for one in _patterns(37)]},
    "references": {
        "$defs": {f"d{i}": one for i, one in enumerate(_patterns(37))},
        "allOf": [{"$ref": f"#/$defs/d{i}"} for i in range(37)],
    },
    "a chain of references": {
        "$defs": {f"d{i}": one | {"$ref": f"#/$defs/d{i + 1}"} for i, one in enumerate(_patterns(37))},
        "$ref": "#/$defs/d0",
    },
    "alternatives": {"allOf": [{"anyOf": [one, {"type": "null"}]} for one in _patterns(37)]},
    "itself": {"$defs": {"d": {"allOf": [*_patterns(6), {"$ref": "#/$defs/d"}]}}, "$ref": "#/$defs/d"},
    "divisors": {"allOf": [{"type": "integer", "multipleOf": step} for step in (83, 89, 97)]},
    "a large divisor": {"type": "integer", "multipleOf": 1_000_003},
    "a small divisor": {"type": "number", "multipleOf": 1e-300},
    "many divisors": {"anyOf": [{"type": "integer", "multipleOf": 5000 + i} for i in range(100)]},
    "alternative divisors": {"anyOf": [{"type": "integer", "multipleOf": 9000 + i} for i in range(4)]},
    "deep": _deep(60),
    "as deep as before": _deep(300),
    "many references": _chain(900),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_explodes_is_refused_before_it_is_compiled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketseek.runtime.constrain._compile", lambda words, grammar: pytest.fail("compiled"))
    constraint = Constraint("json_schema", json.dumps(HOSTILE[name]))
    with pytest.raises(UsageError, match="JSON schema cannot be used"):
        Constrainer(ByteTokenizer(), VOCAB_SIZE).guide(Request((1,), constraint=constraint))  # type: ignore[arg-type]  # a fake


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {f"p{i}": {"pattern": f"^{i}$", "maxLength": 9} for i in range(300)}},
        {"anyOf": _patterns(37)},
        {"$defs": {"node": {"properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}}},
        {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"type": "string", "format": "email", "maxLength": 100}}},
        {"type": "number", "multipleOf": 0.01},
        {"type": "integer", "multipleOf": 1000},
        {"properties": {"multipleOf": {"type": "integer"}, "pattern": {"type": "string"}, "$ref": {"type": "string"}}},
        _deep(40),
        _chain(40),
    ],
)
def test_usual_schemas_pass(schema: dict[str, object]) -> None:
    check_schemas([schema])


def test_a_reference_to_nowhere_is_left_to_the_library() -> None:
    check_schemas([{"allOf": [{"$ref": "#/a/0/b"}, {"$ref": 7}, {"$ref": "http://x/y"}], "a": [1]}])


def test_depth_is_found_without_depth_of_calls() -> None:
    with pytest.raises(TooComplexError, match="nested"):
        check_schemas([_deep(100_000)])


def test_the_divisors_of_several_schemas_count_together() -> None:
    schema: dict[str, object] = {"type": "integer", "multipleOf": 9000}
    check_schemas([schema] * 4)
    with pytest.raises(TooComplexError, match="altogether"):
        check_schemas([schema] * 5)
