"""Which JSON schemas are compiled at all: looked at before, since the library that compiles them cannot be stopped.

What grows out of bounds there (tried out with llguidance 1.9): strings that have to match several patterns at once, in
time and memory by two to the number of patterns (16 take gigabytes); `multipleOf`, by its value, and by the product of
two for one number (100 million take gigabytes); pairs of `patternProperties`; and for each token
of an answer, the number of optional properties and of chains of references. All else is bounded by its limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pocketseek.errors import UsageError
from pocketseek.runtime.schema_load import Load, load_of, num_remainders

MAX_DEPTH = 64
MAX_REFERENCES = 256
MAX_PROPERTIES = 1000
MAX_PATTERN_PROPERTIES = 64
MAX_ALTERNATIVES = 500
MAX_PATTERNS_AT_ONCE = (
    6  # that one string may have to match, its length counted as one; 10 long ones take 2 s and 120 MB
)

MAX_MULTIPLE = 10_000
MAX_MULTIPLES_AT_ONCE = 1000  # product of those for one number, alternatives too
MAX_MULTIPLES = 40_000  # of all of them together


def check_schema(schema: Mapping[str, object]) -> None:
    """Raises UsageError for a schema beyond the bounds above, which the message names."""
    counts = dict.fromkeys(("$ref", "properties", "patternProperties", "alternatives"), 0)
    for node in _nodes(schema):
        counts["$ref"] += "$ref" in node
        counts["properties"] += _size(node.get("properties"))
        counts["patternProperties"] += _size(node.get("patternProperties"))
        counts["alternatives"] += _size(node.get("anyOf")) + _size(node.get("oneOf"))
        if isinstance(node.get("$id"), str) and node is not schema:
            raise _beyond("an $id within it, which references would count from")
    limits = (MAX_REFERENCES, MAX_PROPERTIES, MAX_PATTERN_PROPERTIES, MAX_ALTERNATIVES)
    for (name, count), limit in zip(counts.items(), limits, strict=True):
        if count > limit:
            raise _beyond(f"{count} {name}, more than {limit}")
    check_multiples([schema])
    _check_load(load_of(schema))


def check_multiples(schemas: Sequence[Mapping[str, object]]) -> None:
    """Of all schemas of one grammar together. Raises UsageError."""
    multiples = [num_remainders(node) for schema in schemas for node in _nodes(schema) if "multipleOf" in node]
    if max(multiples, default=0) > MAX_MULTIPLE:
        raise _beyond(f"a multipleOf above {MAX_MULTIPLE}, or with more digits than that")
    if sum(multiples) > MAX_MULTIPLES:
        raise _beyond(f"multipleOf that are together above {MAX_MULTIPLES}")


def _check_load(load: Load) -> None:
    if load.num_patterns > MAX_PATTERNS_AT_ONCE:
        raise _beyond(f"strings that have to match more than {MAX_PATTERNS_AT_ONCE} patterns or formats at once")
    if load.is_met and load.num_remainders > MAX_MULTIPLES_AT_ONCE:
        raise _beyond(f"multipleOf for one number whose product is above {MAX_MULTIPLES_AT_ONCE}")


def _nodes(schema: object) -> Iterator[Mapping[str, object]]:
    """All objects in it, whether they are schemas or not."""
    waiting: list[tuple[object, int]] = [(schema, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _beyond(f"more than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            yield value
            waiting += [(one, depth + 1) for one in value.values()]
        elif isinstance(value, list):
            waiting += [(one, depth + 1) for one in value]


def _size(value: object) -> int:
    return len(value) if isinstance(value, dict | list) else 0


def _beyond(what: str) -> UsageError:
    return UsageError(f"the JSON schema has {what}; use a simpler one")
