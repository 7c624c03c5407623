"""How many patterns, and remainders of a `multipleOf`, meet in one value of what a JSON schema describes: a bound.

Patterns that hold for the same string are intersected by the library that compiles the schema, in time and memory by
two to their number; remainders multiply, also those of alternatives. So for every place of a value, parts that hold
together (`allOf`, and `$ref`, `anyOf`, `oneOf` beside anything) add up, of alternatives the one with most patterns
counts, and values at different places do not meet. The bound is never too low; it may be too high.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce

from pocketseek.errors import UsageError

_MAX_LEVELS = 100  # of schemas in each other, references followed
_MOST_REMAINDERS = 10**9  # more than any limit; counted no further

_ALTERNATIVES = ("anyOf", "oneOf")
_PLACES = ("items", "additionalItems", "additionalProperties", "contains", "propertyNames", "unevaluatedProperties")
_MANY_PLACES = ("properties", "patternProperties", "prefixItems", "dependentSchemas", "items")


@dataclass(frozen=True)
class Load:
    """Of one place. is_met: the remainders are those of several `multipleOf`."""

    num_patterns: int = 0
    num_remainders: int = 1
    is_met: bool = False

    def beside(self, other: Load) -> Load:
        """Both hold for the same value."""
        return self._with(other, self.num_patterns + other.num_patterns)

    def or_else(self, other: Load) -> Load:
        """One or the other holds for the same value; remainders of both are kept while it is written."""
        return self._with(other, max(self.num_patterns, other.num_patterns))

    def instead(self, other: Load) -> Load:
        """They are for different values."""
        larger = max(self, other, key=lambda load: (load.is_met, load.num_remainders))
        return Load(max(self.num_patterns, other.num_patterns), larger.num_remainders, larger.is_met)

    def _with(self, other: Load, num_patterns: int) -> Load:
        mine, others = self.num_remainders, other.num_remainders
        is_met = self.is_met or other.is_met or (mine > 1 and others > 1)
        return Load(num_patterns, min(mine * others, _MOST_REMAINDERS), is_met)


NO_LOAD = Load()


def load_of(schema: Mapping[str, object]) -> Load:
    """The worst place. Raises UsageError for references that cannot be followed here and are not simply wrong."""
    every = reduce(Load.beside, map(_own, _objects(schema)), NO_LOAD)
    return _Reader(schema, every).load(schema, 0)


def num_remainders(node: Mapping[str, object]) -> int:
    """Of a node's own multipleOf, e.g. 100 for 0.01 since two digits are kept; 1 if it has none."""
    value = node.get("multipleOf", 1)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not value:
        return 1
    parts = Fraction(str(value))
    return min(max(abs(parts.numerator), parts.denominator), _MOST_REMAINDERS)


class _Reader:
    def __init__(self, root: Mapping[str, object], every: Load) -> None:
        self._root = root
        self._every = every  # of all nodes: the bound where a cycle leads through a combination
        self._known: dict[int, Load | None] = {}  # None: being read
        self._num_combining = 0

    def load(self, node: object, level: int) -> Load:
        if not isinstance(node, dict):
            return NO_LOAD
        if level > _MAX_LEVELS:
            raise UsageError(f"the JSON schema has more than {_MAX_LEVELS} levels of references; use a simpler one")
        if id(node) in self._known:
            known = self._known[id(node)]
            return known if known is not None else self._every if self._num_combining else NO_LOAD
        self._known[id(node)] = None
        load = self._known[id(node)] = self._read(node, level + 1)
        return load

    def _read(self, node: Mapping[str, object], level: int) -> Load:
        groups = [[part] for part in _list(node.get("allOf"))]
        groups += [_list(node[key]) for key in _ALTERNATIVES if key in node]
        if "$ref" in node:
            groups.append([self._target(node["$ref"])])
        places = [node[key] for key in _PLACES if key in node]
        places += [part for key in _MANY_PLACES for part in _list(node.get(key))]
        is_combining = len(groups) > 1 or bool(groups and (places or _own(node) != NO_LOAD))
        self._num_combining += is_combining
        load = _own(node)
        for place in places:
            load = load.instead(self.load(place, level))
        for group in groups:
            load = load.beside(reduce(Load.or_else, [self.load(part, level) for part in group], NO_LOAD))
        self._num_combining -= is_combining
        return load

    def _target(self, reference: object) -> object:
        """Of a reference from the top of the document; None if there is nothing."""
        if not isinstance(reference, str):
            return None  # the library says so
        if not (reference == "#" or reference.startswith("#/")) or "%" in reference:
            raise UsageError(f"the JSON schema has the $ref {reference!r:.60}; use one like '#/$defs/name'")
        place: object = self._root
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(place, dict):
                place = place.get(name)
            elif isinstance(place, list) and name.isascii() and name.isdecimal() and len(name) < 7:
                place = place[int(name)] if int(name) < len(place) else None
            else:
                return None
        return place


def _own(node: Mapping[str, object]) -> Load:
    """What the node says itself of a string or a number."""
    has_length = "minLength" in node or "maxLength" in node
    return Load(("pattern" in node) + ("format" in node) + has_length, num_remainders(node))


def _list(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _objects(root: object) -> list[Mapping[str, object]]:
    waiting, found = [root], list[Mapping[str, object]]()
    while waiting:
        value = waiting.pop()
        found += [value] if isinstance(value, dict) else []
        waiting += _list(value)
    return found
