"""The lines of the audit log as a chain: each has its number and the hash of the one before. What is wrong with it?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pocketseek.errors import FormatError
from pocketseek.package.paths import SHA256_PATTERN
from pocketseek.package.strict_json import Fields, JsonValue, load_object

MAX_LINE_BYTES = 8192
MAX_FILE_BYTES = 2_000_000  # of a file that is read
START = "0" * 64
EVENT = re.compile(r"[a-z][a-z-]{0,39}")
LINE_FIELDS = frozenset({"n", "time", "event", "prev"})
_HEAD = frozenset({"num_lines", "last", "first", "before_first", "num_bytes"})
_MAX_NUMBER = 2**53
_MOST_PROBLEMS = 20

ProblemKind = Literal[
    "unreadable",
    "gap",
    "changed",
    "cut",
    "last-changed",
    "head-missing",
    "head-damaged",
    "head-was-lost",
    "no-such-line",
]
SENTENCES: Mapping[ProblemKind, str] = {
    "unreadable": "the line after {number} cannot be read",
    "gap": "line {found} follows line {number}: lines are missing, put in or moved",
    "changed": "line {number} was changed, or line {found} was",
    "cut": "it should end with line {due} and ends with line {number}",
    "last-changed": "its last line, {number}, was changed",
    "head-missing": "{head} is missing, so nobody knows how many lines there should be",
    "head-damaged": "{head} is damaged, so nobody knows how many lines there should be",
    "head-was-lost": "line {number}: {head} was missing or damaged then; lines before it may be gone",
    "no-such-line": "no line has the hash {noted} that was noted",
}


@dataclass(frozen=True)
class ChainProblem:
    """What is wrong, as a sentence in English (`str`), and as what it is made of, to be told in another language."""

    kind: ProblemKind
    values: Mapping[str, str | int]

    def __str__(self) -> str:
        return SENTENCES[self.kind].format(**self.values)


def problem(kind: ProblemKind, **values: str | int) -> ChainProblem:
    return ChainProblem(kind, values)


@dataclass(frozen=True)
class Head:
    """num_lines: of all time, also those that are deleted by now. last: hash of the last line. first, before_first:
    number of the oldest line that is kept, and the hash that it continues. num_bytes: of the current file."""

    num_lines: int = 0
    last: str = START
    first: int = 1
    before_first: str = START
    num_bytes: int = 0


@dataclass(frozen=True)
class Event:
    """time_s: Unix time. fields: model, key and the like; texts, numbers, booleans."""

    number: int
    time_s: int
    name: str
    fields: Mapping[str, JsonValue]


def chain_problems(head: Head, lines: list[bytes]) -> list[ChainProblem]:
    """lines: all that are kept, the oldest first. The first 20 things that are wrong."""
    problems: list[ChainProblem] = []
    number, before, is_counted = head.first - 1, head.before_first, head.num_lines == head.first - 1
    for line in lines:
        try:
            read = parse_line(line)
        except FormatError:
            problems.append(problem("unreadable", number=number))
            continue
        if read.event.number < head.first and not problems:
            continue  # a file that a crash kept from being deleted
        problems += _link_problems(number, before, read)
        number, before = read.event.number, line_hash(line)
        is_counted = is_counted or (number == head.num_lines and before == head.last)
    if not is_counted:
        if number != head.num_lines:
            problems.append(problem("cut", due=head.num_lines, number=number))
        else:
            problems.append(problem("last-changed", number=number))
    return problems[:_MOST_PROBLEMS]


def _link_problems(number: int, before: str, line: _Line) -> list[ChainProblem]:
    found = line.event.number
    if found != number + 1:
        return [problem("gap", found=found, number=number)]
    return [] if line.prev == before else [problem("changed", number=number, found=found)]


def head_of(lines: Sequence[bytes], num_bytes: int = 0) -> Head:
    """For a log whose own was lost: as if the lines that are there and can be read were all. num_bytes: of the current
    file."""
    head = Head(num_bytes=num_bytes)
    for line in lines:
        with suppress(FormatError):
            read = parse_line(line)
            if head.last == START:
                head = replace(head, first=read.event.number, before_first=read.prev)
            head = replace(head, num_lines=read.event.number, last=line_hash(line))
    return head


def follows(line: bytes, head: Head) -> bool:
    """Whether the line is what comes after the last one that was counted."""
    try:
        read = parse_line(line)
    except FormatError:
        return False
    return read.event.number == head.num_lines + 1 and read.prev == head.last


@dataclass(frozen=True)
class _Line:
    event: Event
    prev: str


def parse_line(line: bytes) -> _Line:
    """Raises FormatError."""
    value = load_object(line, "audit.log", max_bytes=MAX_LINE_BYTES)
    fields = Fields(value, "audit.log", LINE_FIELDS, frozenset(value))
    event = Event(
        number=fields.integer("n", 1, _MAX_NUMBER),
        time_s=fields.integer("time", 0, _MAX_NUMBER),
        name=fields.text("event", EVENT),
        fields={name: item for name, item in value.items() if name not in LINE_FIELDS},
    )
    return _Line(event, fields.text("prev", SHA256_PATTERN))


def parse_head(data: bytes, path: Path) -> Head:
    """path: for the message. Raises FormatError."""
    fields = Fields(load_object(data, path.name, max_bytes=MAX_LINE_BYTES), path.name, _HEAD)
    return Head(
        num_lines=fields.integer("num_lines", 0, _MAX_NUMBER),
        last=fields.text("last", SHA256_PATTERN),
        first=fields.integer("first", 1, _MAX_NUMBER),
        before_first=fields.text("before_first", SHA256_PATTERN),
        num_bytes=fields.integer("num_bytes", 0, MAX_FILE_BYTES),
    )


def line_hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
