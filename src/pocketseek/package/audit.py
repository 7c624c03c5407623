"""`audit.log` in the data directory: what was done with models, keys and tokens, one JSON line an event.

Each line has its number `n` and, as `prev`, the SHA-256 of the line before it, so a line that is changed, removed, put
in or moved breaks the chain. `audit.head` beside it has the number and hash of the last line, and where the oldest line
that is kept begins, so a cut end (or beginning) shows, too. At ROTATE_BYTES the file is renamed to
`audit.<number of its last line>.log` and the chain goes on in a new one; KEPT_FILES old ones stay, so all of it never
takes more than about 4 MB.

Order: a line is on the disk before the head that counts it, and the head forgets old lines before they are deleted.
After a crash there may be one line more than counted (taken over by the next writer), half a line (cut off by it) or a
file too many (ignored, deleted later); never something less. A log that was tampered with is not mended: the next line
goes on from the head, and the gap shows as long as it is kept.

What it cannot show: whoever may write these files can write a whole new history that is consistent. Note the head's
hash elsewhere from time to time (`audit verify --head HASH` compares). No prompt, answer, passphrase or token is ever
in it. Not for events that happen per token: a line costs a lock and a few syncs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pocketseek.errors import BusyError, FormatError, StorageError
from pocketseek.package.paths import SHA256_PATTERN
from pocketseek.package.private_file import open_private, private_lock, read_private, write_private
from pocketseek.package.storage import storage_errors, sync_dir, write_all
from pocketseek.package.strict_json import Fields, JsonValue, load_object

ROTATE_BYTES = 1_000_000
KEPT_FILES = 3
_MAX_LINE_BYTES = 8192
_MAX_TEXT = 512
_MAX_FILE_BYTES = 2 * ROTATE_BYTES
_MAX_NUMBER = 2**53
_START = "0" * 64
HEAD_LOST = "audit-head-lost"
_EVENT = re.compile(r"[a-z][a-z-]{0,39}")
_LINE = frozenset({"n", "time", "event", "prev"})
_HEAD = frozenset({"num_lines", "last", "first", "before_first", "num_bytes"})
_MOST_PROBLEMS = 20

Value = str | int | bool | None


@dataclass(frozen=True)
class Head:
    """num_lines: of all time, also those that are deleted by now. last: hash of the last line. first, before_first:
    number of the oldest line that is kept, and the hash that it continues. num_bytes: of the current file."""

    num_lines: int = 0
    last: str = _START
    first: int = 1
    before_first: str = _START
    num_bytes: int = 0


@dataclass(frozen=True)
class Event:
    """time_s: Unix time. fields: model, key and the like; texts, numbers, booleans."""

    number: int
    time_s: int
    name: str
    fields: Mapping[str, JsonValue]


@dataclass(frozen=True)
class AuditReport:
    """first: number of the oldest line that is kept. head: hash of the last line, to be noted elsewhere. problems: one
    line each; empty if the log is as it was written."""

    num_lines: int
    first: int
    head: str
    problems: tuple[str, ...] = ()


class AuditLog:
    """Cheap to make; the files need not exist. Any number of threads and processes may write."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, *, rotate_bytes: int = ROTATE_BYTES) -> None:
        self.path = path
        self.head_path = path.with_name(f"{path.stem}.head")
        self._clock = clock
        self._rotate_bytes = rotate_bytes

    def exists(self) -> bool:
        return os.path.lexists(self.path) or os.path.lexists(self.head_path)

    def write(self, event: str, **fields: Value) -> None:
        """Append an event; it is on the disk when this returns. Raises StorageError, BusyError, FormatError (head)."""
        if not _EVENT.fullmatch(event) or _LINE & fields.keys():
            raise ValueError(f"no name of an event, or of its fields: {event!r} {sorted(fields)}")
        with private_lock(self.path), storage_errors(self.path):
            found = self._head()
            head = self._settled(found or Head())
            if found is None and head.num_lines > 1:  # one line is what a crash after the very first may leave
                head = self._add(head, HEAD_LOST, {})
            self._add(self._rotated(head), event, fields)

    def note(self, event: str, **fields: Value) -> None:
        """As `write`, where the event must not fail because of the log: a model can be used on a full disk. Without a
        data directory nothing is written: a program that uses a package by its path makes none."""
        with suppress(StorageError, BusyError, FormatError):
            if self.path.parent.is_dir():
                self.write(event, **fields)

    def events(self) -> Iterator[Event]:
        """The oldest first; lines that cannot be read are left out (`verify` tells them)."""
        for line in self._lines():
            with suppress(FormatError):
                yield _parse_line(line).event

    def verify(self, noted_head: str | None = None) -> AuditReport:
        """noted_head: the hash of a line that was noted before; it must be there still. Raises StorageError, BusyError,
        FormatError (no head can be read)."""
        if not self.exists():  # nothing is made by asking
            return AuditReport(
                0, 1, _START, (f"no line has the hash {noted_head} that was noted",) if noted_head else ()
            )
        with private_lock(self.path):
            found, lines = self._head(), list(self._lines())
        head = found or Head()
        problems = _chain_problems(head, lines)
        if found is None and len(lines) > 1:
            problems.append(f"{self.head_path.name} is missing, so nobody knows how many lines there should be")
        if noted_head is not None and noted_head != head.before_first and noted_head not in map(_hash, lines):
            problems.append(f"no line has the hash {noted_head} that was noted")
        num_lines = max(head.num_lines, head.first - 1 + len(lines))
        return AuditReport(num_lines, head.first, _hash(lines[-1]) if lines else head.last, tuple(problems))

    def _add(self, head: Head, event: str, fields: Mapping[str, Value]) -> Head:
        line = self._line(head, event, fields)
        num_bytes = self._append(line)
        head = replace(head, num_lines=head.num_lines + 1, last=_hash(line), num_bytes=num_bytes)
        self._put_head(head)
        return head

    def _line(self, head: Head, event: str, fields: Mapping[str, Value]) -> bytes:
        short = {name: value[:_MAX_TEXT] if isinstance(value, str) else value for name, value in fields.items()}
        value = {"n": head.num_lines + 1, "time": int(self._clock()), "event": event, "prev": head.last, **short}
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")

    def _append(self, line: bytes) -> int:
        """Returns the size of the file then."""
        descriptor = open_private(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            write_all(descriptor, line + b"\n")
            os.fdatasync(descriptor)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def _head(self) -> Head | None:
        data = read_private(self.head_path, max_bytes=_MAX_LINE_BYTES)
        return None if data is None else _parse_head(data, self.head_path)

    def _put_head(self, head: Head) -> None:
        write_private(self.head_path, json.dumps(asdict(head), sort_keys=True).encode("ascii") + b"\n")

    def _settled(self, head: Head) -> Head:
        """Take over lines that were not counted yet and cut off half a line: what a crash may leave."""
        data = self._read(self.path)
        head = replace(head, num_bytes=min(head.num_bytes, len(data)))
        *whole, torn = data[head.num_bytes :].split(b"\n")
        for line in whole:
            if not _follows(line, head):
                break  # not ours: it stays, and shows
            size_bytes = head.num_bytes + len(line) + 1
            head = replace(head, num_lines=head.num_lines + 1, last=_hash(line), num_bytes=size_bytes)
        if torn:
            self._cut(len(data) - len(torn))
        return head

    def _cut(self, num_bytes: int) -> None:
        descriptor = open_private(self.path, os.O_WRONLY)
        try:
            os.ftruncate(descriptor, num_bytes)
        finally:
            os.close(descriptor)

    def _rotated(self, head: Head) -> Head:
        if head.num_bytes < self._rotate_bytes:
            return head
        os.replace(self.path, self.path.with_name(f"{self.path.stem}.{head.num_lines:012}{self.path.suffix}"))
        sync_dir(self.path.parent)
        head = replace(head, num_bytes=0)
        dropped = self._old_files()[:-KEPT_FILES]
        if dropped:
            last_number, last_line = _number_of(dropped[-1]), self._read(dropped[-1]).rstrip(b"\n").rpartition(b"\n")[2]
            head = replace(head, first=last_number + 1, before_first=_hash(last_line))
            self._put_head(head)
        for path in dropped:
            path.unlink()
        return head

    def _lines(self) -> Iterator[bytes]:
        for path in (*self._old_files(), self.path):
            yield from self._read(path).split(b"\n")[:-1]

    def _old_files(self) -> list[Path]:
        """The oldest first."""
        found = self.path.parent.glob(f"{self.path.stem}.{'[0-9]' * 12}{self.path.suffix}")
        return sorted(found)

    def _read(self, path: Path) -> bytes:
        return read_private(path, max_bytes=_MAX_FILE_BYTES) or b""


def _number_of(path: Path) -> int:
    """Of the last line of a file that was rotated away."""
    return int(path.name.split(".")[-2])


def _chain_problems(head: Head, lines: list[bytes]) -> list[str]:
    problems: list[str] = []
    number, before, is_counted = head.first - 1, head.before_first, head.num_lines == head.first - 1
    for line in lines:
        try:
            read = _parse_line(line)
        except FormatError:
            problems.append(f"the line after {number} cannot be read")
            continue
        if read.event.number < head.first and not problems:
            continue  # a file that a crash kept from being deleted
        problems += _link_problems(number, before, read)
        number, before = read.event.number, _hash(line)
        is_counted = is_counted or (number == head.num_lines and before == head.last)
    if not is_counted:
        end = f"it should end with line {head.num_lines} and ends with line {number}"
        problems.append(end if number != head.num_lines else f"its last line, {number}, was changed")
    return problems[:_MOST_PROBLEMS]


def _link_problems(number: int, before: str, line: _Line) -> list[str]:
    found = line.event.number
    if found != number + 1:
        return [f"line {found} follows line {number}: lines are missing, put in or moved"]
    return [] if line.prev == before else [f"line {number} was changed, or line {found} was"]


def _follows(line: bytes, head: Head) -> bool:
    try:
        read = _parse_line(line)
    except FormatError:
        return False
    return read.event.number == head.num_lines + 1 and read.prev == head.last


@dataclass(frozen=True)
class _Line:
    event: Event
    prev: str


def _parse_line(line: bytes) -> _Line:
    """Raises FormatError."""
    value = load_object(line, "audit.log", max_bytes=_MAX_LINE_BYTES)
    fields = Fields(value, "audit.log", _LINE, frozenset(value))
    event = Event(
        number=fields.integer("n", 1, _MAX_NUMBER),
        time_s=fields.integer("time", 0, _MAX_NUMBER),
        name=fields.text("event", _EVENT),
        fields={name: item for name, item in value.items() if name not in _LINE},
    )
    return _Line(event, fields.text("prev", SHA256_PATTERN))


def _parse_head(data: bytes, path: Path) -> Head:
    fields = Fields(load_object(data, path.name, max_bytes=_MAX_LINE_BYTES), path.name, _HEAD)
    return Head(
        num_lines=fields.integer("num_lines", 0, _MAX_NUMBER),
        last=fields.text("last", SHA256_PATTERN),
        first=fields.integer("first", 1, _MAX_NUMBER),
        before_first=fields.text("before_first", SHA256_PATTERN),
        num_bytes=fields.integer("num_bytes", 0, _MAX_FILE_BYTES),
    )


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
