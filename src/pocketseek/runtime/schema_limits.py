"""What a JSON schema may ask of the library that compiles it, found by reading it, before anything is compiled.

Patterns that hold for the same string are intersected, which takes time and memory exponential in their number and is
not covered by the library's own limits; the remainders of several `multipleOf` multiply in the same way. So a bound of
both is worked out for every place of an instance: parts that hold together (`allOf`, `$ref` beside others ...) add up,
of alternatives the one with most patterns counts. The bound is never too low; it may be too high.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce

MAX_DEPTH = 100  # of values in the document, and of schemas in each other with references followed
MAX_REFERENCES = 300
MAX_PATTERNS = 5  # that hold for one string, with `format` and a limit of its length
MAX_REMAINDERS = 10_000  # of a multipleOf; where several hold together their product, times ten
MAX_ALL_REMAINDERS = 40_000

_ALTERNATIVES = ("anyOf", "oneOf")
_PLACES = ("items", "additionalItems", "additionalProperties", "contains", "propertyNames", "unevaluatedProperties")
_MANY_PLACES = ("properties", "patternProperties", "prefixItems", "dependentSchemas", "items")


class TooComplexError(ValueError):
    """The schema is beyond a limit; the text says which."""


@dataclass(frozen=True)
class _Load:
    """At most this many patterns, and remainders of a division, at one place."""

    num_patterns: int = 0
    num_remainders: int = 1

    def beside(self, other: _Load) -> _Load:
        """Both hold for the same value."""
        return _Load(self.num_patterns + other.num_patterns, self._times(other))

    def or_else(self, other: _Load) -> _Load:
        """One or the other holds for the same value; remainders of both are kept while it is written."""
        return _Load(max(self.num_patterns, other.num_patterns), self._times(other))

    def _times(self, other: _Load) -> int:
        """Alternatives may make many such pairs, hence the ten."""
        mine, others = self.num_remainders, other.num_remainders
        return min(10 * mine * others if mine > 1 and others > 1 else mine * others, MAX_REMAINDERS + 1)

    def instead(self, other: _Load) -> _Load:
        """They are for different values."""
        return _Load(max(self.num_patterns, other.num_patterns), max(self.num_remainders, other.num_remainders))


_NOTHING = _Load()


def check_schemas(schemas: Sequence[Mapping[str, object]]) -> None:
    """Of one grammar. Raises TooComplexError. The schemas are as JSON is read, nested to any depth."""
    for schema in schemas:
        _check(schema)
    nodes = (node for schema in schemas for node in _values(schema) if isinstance(node, dict))
    if sum(_remainders(node) for node in nodes if "multipleOf" in node) > MAX_ALL_REMAINDERS:
        raise TooComplexError("the multipleOf in it are too large altogether")


def _check(schema: Mapping[str, object]) -> None:
    values = list(_values(schema))
    nodes = [value for value in values if isinstance(value, dict)]
    num_references = sum("$ref" in node for node in nodes)
    if num_references > MAX_REFERENCES:
        raise TooComplexError(f"it has {num_references} references ($ref), at most {MAX_REFERENCES} are possible")
    every = reduce(_Load.beside, map(_own, nodes), _NOTHING)
    load = _Reader(schema, every).load(schema, 0)
    for node in nodes:  # also what only a reference that is not understood here leads to
        load = load.instead(_own(node))
    if load.num_patterns > MAX_PATTERNS:
        raise TooComplexError(f"up to {load.num_patterns} patterns hold for one text, at most {MAX_PATTERNS} can")
    if load.num_remainders > MAX_REMAINDERS:
        raise TooComplexError(f"a multipleOf, or several together, need more than {MAX_REMAINDERS} remainders")


class _Reader:
    def __init__(self, root: Mapping[str, object], every: _Load) -> None:
        self._root = root
        self._every = every  # what the whole schema has: the bound where a cycle leads into a combination
        self._known: dict[int, _Load | None] = {}  # None: being read
        self._num_combining = 0

    def load(self, node: object, depth: int) -> _Load:
        if not isinstance(node, dict):
            return _NOTHING
        if depth > MAX_DEPTH:
            raise TooComplexError("its references are nested too deep")
        if id(node) in self._known:
            known = self._known[id(node)]
            return known if known is not None else self._every if self._num_combining else _NOTHING
        self._known[id(node)] = None
        load = self._read(node, depth + 1)
        self._known[id(node)] = load
        return load

    def _read(self, node: Mapping[str, object], depth: int) -> _Load:
        groups = [[part] for part in _list(node.get("allOf"))]
        groups += [_list(node[key]) for key in _ALTERNATIVES if key in node]
        if "$ref" in node:
            groups.append([self._target(node["$ref"])])
        places = [node[key] for key in _PLACES if key in node]
        places += [part for key in _MANY_PLACES for part in _list(node.get(key))]
        is_combining = len(groups) > 1 or bool(groups and (places or _own(node) != _NOTHING))
        self._num_combining += is_combining
        load = reduce(_Load.instead, (self.load(place, depth) for place in places), _own(node))
        for group in groups:
            load = load.beside(reduce(_Load.or_else, (self.load(part, depth) for part in group), _NOTHING))
        self._num_combining -= is_combining
        return load

    def _target(self, reference: object) -> object:
        """Of a reference within the document; others the library refuses."""
        place: object = self._root
        for step in str(reference).removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(place, dict):
                place = place.get(name)
            elif isinstance(place, list) and name.isdecimal() and len(name) < 7 and int(name) < len(place):
                place = place[int(name)]
            else:
                return None
        return place


def _own(node: Mapping[str, object]) -> _Load:
    """What the node says itself of a text or a number."""
    has_length = "minLength" in node or "maxLength" in node
    return _Load(("pattern" in node) + ("format" in node) + has_length, _remainders(node))


def _remainders(node: Mapping[str, object]) -> int:
    step = node.get("multipleOf")
    if isinstance(step, bool) or not isinstance(step, int | float):
        return 1
    if not 1e-9 < step <= MAX_REMAINDERS:
        return MAX_REMAINDERS + 1
    parts = Decimal(str(step)).normalize().as_tuple()
    digits = int("".join(map(str, parts.digits)))
    return max(1, digits * 10 ** abs(int(parts.exponent)) if int(parts.exponent) < 0 else int(step))


def _list(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _values(root: object) -> Iterable[object]:
    """All values of the document. Raises TooComplexError if they are nested too deep."""
    level, depth = [root], 0
    while level:
        if depth > MAX_DEPTH:
            raise TooComplexError(f"it is nested deeper than {MAX_DEPTH}")
        yield from level
        level, depth = [part for value in level for part in _list(value)], depth + 1
