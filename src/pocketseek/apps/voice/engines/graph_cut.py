"""A network in ONNX format cut in two, at the one value that passes between its parts.

The library `onnx` is not to be had on phones, and not needed: a message of protobuf is a row of fields, which are
copied as they are or left out. Numbers of fields are those of onnx.proto3. What is read was fetched by somebody, so it
may be anything: whatever it is gives a cut, None or ValueError, and ONNX Runtime judges what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

_GRAPH = 7  # of a model
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12  # of a graph
_TAKES, _GIVES, _NODE_NAME, _ATTRIBUTE = 1, 2, 3, 5  # of a node
_SUBGRAPHS = frozenset((6, 11))  # of an attribute
_INITIALIZER_NAME = 8
_VALUE_NAME, _VALUE_TYPE = 1, 2
_FLOATS = b"\x0a\x02\x08\x01"  # a type: a tensor of float32, of any shape
_BYTES = 2  # a wire type
_FIXED = {1: 8, 5: 4}


@dataclass(frozen=True)
class Cut:
    """border: the value that the first part gives and the second one takes, in float32. The parts are made when they
    are asked for, since each is as large as its weights."""

    border: str
    first: Callable[[], bytes]
    second: Callable[[], bytes]


def cut(model: memoryview, is_second: Callable[[str], bool]) -> Cut | None:
    """is_second: whether a node of this name belongs to the second part. None where not exactly one value passes."""
    fields = list(_fields(model))
    graphs = [field for field in fields if field.number == _GRAPH]
    if len(graphs) != 1:
        raise ValueError(f"a model has one graph, not {len(graphs)}")
    graph = _Graph(graphs[0].value)
    border = graph.border(is_second)
    if border is None:
        return None
    rest = b"".join(field.whole for field in fields if field.number != _GRAPH)
    value = _field(_VALUE_NAME, border.encode()) + _field(_VALUE_TYPE, _FLOATS)
    return Cut(
        border,
        lambda: rest + _field(_GRAPH, graph.making(border, graph.inputs, _field(_OUTPUT, value))),
        lambda: rest + _field(_GRAPH, graph.making(graph.output_name, [_field(_INPUT, value)], graph.output, border)),
    )


class _Node(NamedTuple):
    """takes: also what its subgraphs use of the graph around them."""

    name: str
    takes: frozenset[str]
    gives: tuple[str, ...]
    whole: memoryview


class _Graph:
    """With one output, which is the first if there are several: others are left out."""

    def __init__(self, message: memoryview) -> None:
        fields = list(_fields(message))
        self._nodes = [_node(field) for field in fields if field.number == _NODE]
        self._weights = [
            (_text(field.value, _INITIALIZER_NAME), field.whole) for field in fields if field.number == _INITIALIZER
        ]
        self.inputs = [field.whole for field in fields if field.number == _INPUT]
        self._input_names = {_text(field.value, _VALUE_NAME) for field in fields if field.number == _INPUT}
        outputs = [field for field in fields if field.number == _OUTPUT]
        self.output = outputs[0].whole if outputs else memoryview(b"")
        self.output_name = _text(outputs[0].value, _VALUE_NAME) if outputs else ""

    def border(self, is_second: Callable[[str], bool]) -> str | None:
        """What the second part takes of the first, if that is one value and all."""
        later = [node for node in self._nodes if is_second(node.name)]
        taken = set[str]().union(*(node.takes for node in later))
        computed = {name for node in self._nodes if node.takes for name in node.gives}
        passed = taken & (computed | self._input_names) - {name for node in later for name in node.gives}
        if len(passed) != 1:
            return None
        (border,) = passed
        needed = {name for node in self._needed(self.output_name, border) for name in node.takes}
        return border if border in needed and not needed & (self._input_names - {border}) else None

    def making(
        self, name: str, inputs: Iterable[bytes | memoryview], output: bytes | memoryview, known: str = ""
    ) -> bytes:
        """The part that makes this value; known: a value that it is given."""
        nodes = self._needed(name, known)
        taken = {name for node in nodes for name in node.takes}
        weights = (whole for name, whole in self._weights if name in taken)
        title = _field(2, b"part")
        return b"".join((title, *(node.whole for node in nodes), *weights, *inputs, output))

    def _needed(self, name: str, known: str) -> list[_Node]:
        """In their order, in which each comes after those that it takes from."""
        wanted, needed = {name}, list[_Node]()
        for node in reversed(self._nodes):
            if wanted.intersection(node.gives):
                needed.append(node)
                wanted |= node.takes - {known}
        return needed[::-1]


class _Field(NamedTuple):
    """value: without tag and length."""

    number: int
    value: memoryview
    whole: memoryview


def _node(field: _Field) -> _Node:
    parts = list(_fields(field.value))
    gives = tuple(_string(part.value) for part in parts if part.number == _GIVES)
    return _Node(_text(field.value, _NODE_NAME), frozenset(_taken(parts)) - {""}, gives, field.whole)


def _taken(parts: Iterable[_Field]) -> Iterator[str]:
    for part in parts:
        if part.number == _TAKES:
            yield _string(part.value)
        elif part.number == _ATTRIBUTE:
            for inner in _fields(part.value):
                if inner.number in _SUBGRAPHS:
                    for one in _fields(inner.value):
                        if one.number == _NODE:
                            yield from _taken(_fields(one.value))


def _fields(message: memoryview) -> Iterator[_Field]:
    place = 0
    while place < len(message):
        start = place
        tag, place = _varint(message, place)
        number, wire = tag >> 3, tag & 7
        if wire == _BYTES:
            length, place = _varint(message, place)
        elif wire in _FIXED:
            length = _FIXED[wire]
        elif wire == 0:
            length = _varint(message, place)[1] - place
        else:
            raise ValueError(f"a field has wire type {wire}")
        if length > len(message) - place:
            raise ValueError("a field is cut off")
        yield _Field(number, message[place : place + length], message[start : place + length])
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """The number, and the place after it."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
    raise ValueError("a number is cut off, or too long")


def _field(number: int, value: bytes) -> bytes:
    return _number(number << 3 | _BYTES) + _number(len(value)) + value


def _number(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _text(message: memoryview, number: int) -> str:
    return next((_string(field.value) for field in _fields(message) if field.number == number), "")


def _string(value: memoryview) -> str:
    return str(value, "utf-8")  # UnicodeDecodeError is a ValueError
