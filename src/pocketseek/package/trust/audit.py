"""`audit.log` in the data directory: what was done with models, keys and tokens, one JSON line an event.

Each line has its number `n` and, as `prev`, the SHA-256 of the line before it, so a line that is changed, removed, put
in or moved breaks the chain. `audit.head` beside it has the number and hash of the last line, and where the oldest line
that is kept begins, so a cut end (or beginning) shows, too. At ROTATE_BYTES the file is renamed to
`audit.<number of its last line>.log` and the chain goes on in a new one; KEPT_FILES old ones stay, so all of it never
takes more than about 4 MB.

Order: a line is on the disk before the head that counts it, and the head forgets old lines before they are deleted.
After a crash there may be one line more than counted (taken over by the next writer), half a line (cut off by it) or a
file too many (ignored, deleted later); never something less. A log that was tampered with is not mended: the next line
goes on from the head, and the gap shows as long as it is kept. Where the head itself is missing or damaged, the log
goes on from its last line and says so in a line of its own, which `verify` tells as long as it is kept.

What it cannot show: whoever may write these files can write a whole new history that is consistent. Note the head's
hash elsewhere from time to time (`audit verify --head HASH` compares). No prompt, answer, passphrase or token is ever
in it. Not for events that happen per token: a line costs a lock and a few syncs.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pocketseek.errors import BusyError, FormatError, StorageError
from pocketseek.package.private_file import open_private, private_lock, read_private, write_private
from pocketseek.package.storage import storage_errors, sync_dir, write_all
from pocketseek.package.trust.audit_chain import (
    EVENT,
    LINE_FIELDS,
    MAX_FILE_BYTES,
    MAX_LINE_BYTES,
    START,
    ChainProblem,
    Event,
    Head,
    chain_problems,
    follows,
    head_of,
    line_hash,
    parse_head,
    parse_line,
    problem,
)

ROTATE_BYTES = MAX_FILE_BYTES // 2
KEPT_FILES = 3
REPEAT_S = 3600
_LAST_LINES = 64
_MAX_TEXT = 512
HEAD_LOST = "audit-head-lost"

Value = str | int | bool | None


@dataclass(frozen=True)
class AuditReport:
    """first: number of the oldest line that is kept. head: hash of the last line, to be noted elsewhere. found: what is
    wrong; empty if the log is as it was written."""

    num_lines: int
    first: int
    head: str
    found: tuple[ChainProblem, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each, in English."""
        return tuple(map(str, self.found))


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
        """Append an event; it is on the disk when this returns. Raises StorageError, BusyError, FormatError (a log so
        large that it is not ours)."""
        if not EVENT.fullmatch(event) or LINE_FIELDS & fields.keys():
            raise ValueError(f"no name of an event, or of its fields: {event!r} {sorted(fields)}")
        with private_lock(self.path), storage_errors(self.path):
            self._add(self._rotated(self._head_to_go_on()), event, fields)

    def note(self, event: str, **fields: Value) -> None:
        """As `write`, where the event must not fail because of the log: a model can be used on a full disk. Without a
        data directory nothing is written: a program that uses a package by its path makes none."""
        with suppress(StorageError, BusyError, FormatError):
            if self.path.parent.is_dir():
                self.write(event, **fields)

    def note_rarely(self, event: str, **fields: Value) -> None:
        """As `note`, but not what one of the last lines says already and was written within REPEAT_S: who does
        something a thousand times cannot push older lines out of the log."""
        with suppress(StorageError):
            if self._was_said(event, fields):
                return
        self.note(event, **fields)

    def _was_said(self, event: str, fields: Mapping[str, Value]) -> bool:
        now_s, wanted = self._clock(), _short(fields)
        lines = self._read(self.path).split(b"\n")[:-1]
        for line in reversed(lines[-_LAST_LINES:]):
            with suppress(FormatError):
                said = parse_line(line).event
                is_recent = now_s - REPEAT_S <= said.time_s <= now_s  # not what a clock that was wrong wrote
                if said.name == event and is_recent and said.fields == wanted:
                    return True
        return False

    def events(self) -> Iterator[Event]:
        """The oldest first; lines that cannot be read are left out (`verify` tells them)."""
        return self._events(self._lines())

    def verify(self, noted_head: str | None = None) -> AuditReport:
        """noted_head: the hash of a line that was noted before; it must be there still. Raises StorageError, BusyError,
        FormatError (a log so large that it is not ours)."""
        if not self.exists():  # nothing is made by asking
            return AuditReport(0, 1, START, (problem("no-such-line", noted=noted_head),) if noted_head else ())
        with private_lock(self.path):
            lines = list(self._lines())
            found, is_damaged = self._head()
        head = found or head_of(lines)
        problems = chain_problems(head, lines)
        if is_damaged or (found is None and len(lines) > 1):
            problems.append(problem("head-damaged" if is_damaged else "head-missing", head=self.head_path.name))
        problems += [
            problem("head-was-lost", number=event.number, head=self.head_path.name)
            for event in self._events(lines)
            if event.name == HEAD_LOST
        ]
        if noted_head is not None and noted_head != head.before_first and noted_head not in map(line_hash, lines):
            problems.append(problem("no-such-line", noted=noted_head))
        num_lines = max(head.num_lines, head.first - 1 + len(lines))
        return AuditReport(num_lines, head.first, line_hash(lines[-1]) if lines else head.last, tuple(problems))

    def _events(self, lines: Iterable[bytes]) -> Iterator[Event]:
        for line in lines:
            with suppress(FormatError):
                yield parse_line(line).event

    def _head_to_go_on(self) -> Head:
        found, is_damaged = self._head()
        head = self._settled(found or head_of(list(self._lines()), self._read(self.path).rfind(b"\n") + 1))
        if is_damaged or (found is None and head.num_lines > 1):  # a crash after the very first line may leave that
            head = self._add(head, HEAD_LOST, {"damaged": is_damaged})
        return head

    def _add(self, head: Head, event: str, fields: Mapping[str, Value]) -> Head:
        line = self._line(head, event, fields)
        num_bytes = self._append(line)
        head = replace(head, num_lines=head.num_lines + 1, last=line_hash(line), num_bytes=num_bytes)
        self._put_head(head)
        return head

    def _line(self, head: Head, event: str, fields: Mapping[str, Value]) -> bytes:
        value = {"n": head.num_lines + 1, "time": int(self._clock()), "event": event, "prev": head.last}
        value |= _short(fields)
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

    def _head(self) -> tuple[Head | None, bool]:
        """The head if there is one that can be read, and whether there is one that cannot."""
        try:
            data = read_private(self.head_path, max_bytes=MAX_LINE_BYTES)
            return (None if data is None else parse_head(data, self.head_path)), False
        except FormatError:
            return None, True

    def _put_head(self, head: Head) -> None:
        write_private(self.head_path, json.dumps(asdict(head), sort_keys=True).encode("ascii") + b"\n")

    def _settled(self, head: Head) -> Head:
        """Take over lines that were not counted yet and cut off half a line: what a crash may leave."""
        data = self._read(self.path)
        was_rotated = self._rotated_path(head).exists()  # and no head was written since: it counts bytes of that file
        head = replace(head, num_bytes=0 if was_rotated else min(head.num_bytes, len(data)))
        *whole, torn = data[head.num_bytes :].split(b"\n")
        for line in whole:
            if not follows(line, head):
                break  # not ours: it stays, and shows
            size_bytes = head.num_bytes + len(line) + 1
            head = replace(head, num_lines=head.num_lines + 1, last=line_hash(line), num_bytes=size_bytes)
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
        os.replace(self.path, self._rotated_path(head))
        sync_dir(self.path.parent)
        head = replace(head, num_bytes=0)
        dropped = self._old_files()[:-KEPT_FILES]
        if dropped:
            last_number, last_line = _number_of(dropped[-1]), self._read(dropped[-1]).rstrip(b"\n").rpartition(b"\n")[2]
            head = replace(head, first=last_number + 1, before_first=line_hash(last_line))
            self._put_head(head)
        for path in dropped:
            path.unlink()
        return head

    def _rotated_path(self, head: Head) -> Path:
        """Where the file goes, or went, whose last line is the head's."""
        return self.path.with_name(f"{self.path.stem}.{head.num_lines:012}{self.path.suffix}")

    def _lines(self) -> Iterator[bytes]:
        for path in (*self._old_files(), self.path):
            yield from self._read(path).split(b"\n")[:-1]

    def _old_files(self) -> list[Path]:
        """The oldest first."""
        found = self.path.parent.glob(f"{self.path.stem}.{'[0-9]' * 12}{self.path.suffix}")
        return sorted(found)

    def _read(self, path: Path) -> bytes:
        return read_private(path, max_bytes=MAX_FILE_BYTES) or b""


def _number_of(path: Path) -> int:
    """Of the last line of a file that was rotated away."""
    return int(path.name.split(".")[-2])


def _short(fields: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value[:_MAX_TEXT] if isinstance(value, str) else value for name, value in fields.items()}
