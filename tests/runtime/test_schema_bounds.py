"""Schemas that would compile without end are refused at once; those that people write are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tiny_tokenizer import tiny_tokenizer

from pocketseek.errors import UsageError
from pocketseek.runtime.schema_bounds import MAX_DEPTH, MAX_REFERENCES, check_multiples, check_schema

Schema = dict[str, object]


def pattern(i: int) -> Schema:
    return {"type": "string", "pattern": f"(.*x.{{{i}}}y.*)"}


def chain(length: int, **beside: object) -> Schema:
    definitions: Schema = {f"a{i}": {"$ref": f"#/$defs/a{i + 1}", **beside} for i in range(length)}
    return {"$ref": "#/$defs/a0", "$defs": {**definitions, f"a{length}": {"type": "string"}}}


def nested(depth: int) -> Schema:
    schema: Schema = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def patterns_in_properties(count: int) -> Schema:
    parts = [{"type": "object", "properties": {"a": pattern(i)}} for i in range(count)]
    return {"allOf": parts}


def chained_patterns(count: int) -> Schema:
    definitions: Schema = {f"a{i}": {"$ref": f"#/$defs/a{i + 1}", **pattern(i)} for i in range(count)}
    return {"$ref": "#/$defs/a0", "$defs": {**definitions, f"a{count}": {"type": "string"}}}


def alternatives_beside(count: int) -> Schema:
    schema = pattern(count)
    for i in range(count):
        schema = {**pattern(i), "anyOf": [schema]}
    return schema


def referred_to(reference: str) -> Schema:
    """Sixteen definitions that hold together, referred to in this way."""
    definitions = {f"d{i}": pattern(i) for i in range(16)}
    together = {"allOf": [{"$ref": reference % i} for i in range(16)]}
    return {"$defs": definitions, "type": "object", "properties": {"a": together}, "required": ["a"]}


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [pattern(i) for i in range(3, 39)]},
        alternatives_beside(16),
        {"allOf": [{"anyOf": [pattern(i), {"type": "null"}]} for i in range(16)]},
        {
            "properties": {
                "b": {"anyOf": [pattern(i) for i in range(16)]},
                "a": {"allOf": [{"$ref": f"#/properties/b/anyOf/{i}"} for i in range(16)]},
            }
        },
        referred_to("#/$defs/d%d"),
        {"anyOf": [{"type": "integer", "multipleOf": 9000 + i} for i in range(4)]},
        {"allOf": [{"multipleOf": 97}, {"multipleOf": 0.01}]},
        {"type": "number", "multipleOf": 1e-300},
        {
            "$defs": {
                "d": {"allOf": [*(pattern(i) for i in range(4)), {"$ref": "#/$defs/e"}]},
                "e": {"allOf": [*(pattern(i) for i in range(4, 8)), {"$ref": "#/$defs/d"}]},
            },
            "$ref": "#/$defs/d",
        },
        {"$defs": {"a": {"$id": "http://a.b/c"}}},
        {"allOf": [{"allOf": [pattern(2 * i), pattern(2 * i + 1)]} for i in range(8)]},
        {"type": "array", "items": {"anyOf": [{"allOf": [pattern(i) for i in range(16)]}]}},
        patterns_in_properties(16),
        chained_patterns(16),
        {**chain(3), "allOf": [pattern(i) for i in range(11)]},
        chain(MAX_REFERENCES),
        nested(MAX_DEPTH),
        nested(900),
        {"type": "integer", "multipleOf": 999_983},
        {"type": "number", "multipleOf": 1e300},
        {"properties": {f"p{i}": {"multipleOf": 9000 + i} for i in range(100)}},
        {"allOf": [{"type": "integer", "multipleOf": 9973}, {"type": "integer", "multipleOf": 9967}]},
        {"type": "object", "properties": {f"p{i}": {} for i in range(3000)}},
        {"type": "object", "patternProperties": {f"^a{i}_": {} for i in range(256)}},
        {"anyOf": [{"type": "array", "items": {"minimum": i}} for i in range(2000)]},
    ],
)
def test_what_has_no_end_is_refused(schema: Schema) -> None:
    with pytest.raises(UsageError, match="use a simpler one"):
        check_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "properties": {f"p{i}": {"type": "string", "pattern": "a+"} for i in range(500)}},
        {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"properties": {f"p{i}": pattern(i) for i in range(40)}}}},
        {"$ref": "#/$defs/a", "description": "x", "$defs": {"a": {"items": [pattern(i) for i in range(40)]}}},
        {"allOf": [{"$ref": "#/$defs/a"}, {"properties": {"b": pattern(1)}}], "$defs": {"a": pattern(2)}},
        {"$ref": "#/nowhere", "pattern": "a"},
        {"$ref": 7, "pattern": "a"},
        {"$ref": "#/enum/99", "enum": [1], "pattern": "a"},
        {"anyOf": [{"multipleOf": 10}, {"multipleOf": 99}]},
        {"properties": {"a": pattern(1), "b": {"anyOf": [pattern(i) for i in range(40)]}}, "anyOf": [{"required": []}]},
        {"properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}, "multipleOf": {"type": "integer"}}},
        {"properties": {"price": {"multipleOf": 0.01}, "odd": {"multipleOf": "x"}, "five": {"multipleOf": 500}}},
        {"enum": [f"value {i}" for i in range(4000)]},
        nested(20),
        {"$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}, "$ref": "#/$defs/node"},
    ],
)
def test_what_people_write_is_not(schema: Schema) -> None:
    check_schema(schema)


@pytest.mark.parametrize("reference", ["#/%%24defs/d%d", "#d%d", "d%d", "http://a.b/c#/$defs/d%d"])
def test_references_that_hide_what_they_mean_are_refused(reference: str) -> None:
    with pytest.raises(UsageError, match="use one like"):
        check_schema({"$id": "http://a.b/c", **referred_to(reference)})


def test_the_multiples_of_several_schemas_count_together() -> None:
    schema: Schema = {"type": "integer", "multipleOf": 9000}
    check_multiples([schema] * 4)
    with pytest.raises(UsageError, match="together"):
        check_multiples([schema] * 5)


def test_a_schema_that_refers_to_itself_is_looked_at_once() -> None:
    check_schema({"allOf": [{"$ref": "#"}, {"pattern": "a"}]})


def test_it_is_a_bad_request_before_anything_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llguidance", reason="llguidance is not installed (extra `constrain`)")
    import json

    from pocketseek.runtime import constrain
    from pocketseek.text.tokenizer import Tokenizer
    from pocketseek.types import Constraint, Request, TextSettings

    fail: Callable[..., None] = lambda *_: pytest.fail("it was compiled")  # noqa: E731  a stand-in
    monkeypatch.setattr(constrain, "_compile", fail)
    tokenizer = Tokenizer.from_json(tiny_tokenizer().json, TextSettings())
    constraint = Constraint("json_schema", json.dumps({"allOf": [pattern(i) for i in range(3, 39)]}))
    with pytest.raises(UsageError, match="patterns"):
        constrain.Constrainer(tokenizer, 320).guide(Request((1, 2), constraint=constraint))
