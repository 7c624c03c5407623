"""Which JSON schemas are compiled at all: looked at before, since the library that compiles them cannot be stopped.

What grows out of bounds there (tried out with llguidance 1.9): strings that have to match several patterns at once, in
time and memory by two to the number of patterns (16 take gigabytes); `multipleOf`, by its value, and by the product of
two for one number (100 million take gigabytes); pairs of `patternProperties`; and for each token
of an answer, the number of optional properties and of chains of references. All else is bounded by its limits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction

from pocketseek.errors import UsageError

MAX_DEPTH = 64
MAX_REFERENCES = 256
MAX_PROPERTIES = 1000
MAX_PATTERN_PROPERTIES = 64
MAX_ALTERNATIVES = 500
MAX_PATTERNS_AT_ONCE = 10  # that one string may have to match, by allOf or beside $ref: 12 take a second and 65 MB

MAX_MULTIPLE = 10_000
MAX_MULTIPLES = 40_000  # of all of them together

_PATTERNS = ("pattern", "format")
_ANNOTATIONS = frozenset(
    ("$defs", "definitions", "$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated")
)


def check_schema(schema: Mapping[str, object]) -> None:
    """Raises UsageError for a schema beyond the bounds above, which the message names."""
    counts = dict.fromkeys(("$ref", "properties", "patternProperties", "alternatives"), 0)
    multiples = 0
    for node in _nodes(schema):
        counts["$ref"] += "$ref" in node
        counts["properties"] += _size(node.get("properties"))
        counts["patternProperties"] += _size(node.get("patternProperties"))
        counts["alternatives"] += _size(node.get("anyOf")) + _size(node.get("oneOf"))
        multiples += _multiple(node)
        if multiples > MAX_MULTIPLES:
            raise _beyond(f"multipleOf that are together above {MAX_MULTIPLES}")
        if _is_intersection(node):
            _check_intersection(node, schema)
    limits = (MAX_REFERENCES, MAX_PROPERTIES, MAX_PATTERN_PROPERTIES, MAX_ALTERNATIVES)
    for (name, count), limit in zip(counts.items(), limits, strict=True):
        if count > limit:
            raise _beyond(f"{count} {name}, more than {limit}")


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


def _is_intersection(node: Mapping[str, object]) -> bool:
    """Several schemas have to hold for one value; an allOf with one alone says nothing more than that one."""
    has_more = bool(node.keys() - _ANNOTATIONS - {"$ref", "allOf"})
    has_reference, num_parts = "$ref" in node, _size(node.get("allOf"))
    return num_parts + has_reference > 1 or (has_more and (num_parts > 0 or has_reference))


def _check_intersection(node: Mapping[str, object], root: Mapping[str, object]) -> None:
    """Of everything below the node, references followed: an upper bound for what meets in one value."""
    num_patterns, num_multiples = 0, 0
    seen: set[int] = set()
    waiting: list[object] = [node]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict) and id(value) not in seen:
            seen.add(id(value))
            num_patterns += sum(name in value for name in _PATTERNS)
            num_multiples += "multipleOf" in value
            waiting += [one for name, one in value.items() if name not in ("$defs", "definitions")]
            waiting.append(_referenced(value.get("$ref"), root))
        if num_patterns > MAX_PATTERNS_AT_ONCE:
            raise _beyond(f"strings that have to match more than {MAX_PATTERNS_AT_ONCE} patterns or formats at once")
        if num_multiples > 1:
            raise _beyond("numbers that have to be multiples of more than one")


def _multiple(node: Mapping[str, object]) -> int:
    """How many remainders its `multipleOf` has."""
    value = node.get("multipleOf", 0)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    multiple = Fraction(str(value)).numerator
    if abs(multiple) > MAX_MULTIPLE:
        raise _beyond(f"a multipleOf above {MAX_MULTIPLE}")
    return abs(multiple)


def _referenced(reference: object, root: Mapping[str, object]) -> object:
    """What "#/$defs/name" stands for; None for what cannot be found, which the library refuses."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    value: object = root
    for part in reference[1:].split("/")[1:]:
        if not isinstance(value, dict):
            return None
        value = value.get(part.replace("~1", "/").replace("~0", "~"))
    return value


def _size(value: object) -> int:
    return len(value) if isinstance(value, dict | list) else 0


def _beyond(what: str) -> UsageError:
    return UsageError(f"the JSON schema has {what}; use a simpler one")
