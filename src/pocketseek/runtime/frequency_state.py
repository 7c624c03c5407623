"""What must be known to put processor frequencies back, kept where a killed process cannot take it along.

    <folder>/frequency-caps.json      {"format": 1, "boot": <boot id>, "policies": {"policy0":
                                       {"original_khz": 3187200, "ours_khz": [1996800]}}}
    <folder>/frequency-caps.holders   flock'ed (shared) by every process whose caps are in force
    <folder>/frequency-caps.lock      flock'ed by whoever reads or writes the two others, for an instant

The folder is one of the machine's, or the data directory (`frequency_caps.state_folder`).
The file is replaced in one step. Damaged, foreign, or from before the last start of the machine (which resets the
frequencies) it counts as empty. The kernel drops the locks of a process that is killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pocketseek.errors import FormatError
from pocketseek.package.storage import sync_dir, write_file
from pocketseek.package.strict_json import Fields, JsonValue, as_integer, format_error, load_object

POLICY = re.compile(r"policy\d{1,4}")
HIGHEST_KHZ = 20_000_000
_FORMAT = 1
_MAX_BYTES = 64 * 1024
_PATIENCE_S = 2.0
_TRY_AGAIN_S = 0.02


@dataclass(frozen=True)
class Cap:
    """original_khz: what to put back. ours_khz: values that we wrote or were about to write."""

    original_khz: int
    ours_khz: tuple[int, ...]


class FrequencyState:
    """Raises OSError where the folder cannot be written. One thread at a time."""

    def __init__(self, home: Path, boot_id: str) -> None:
        self._home = home
        self._boot_id = boot_id
        self._path = home / "frequency-caps.json"
        self._holder: int | None = None

    @property
    def is_holding(self) -> bool:
        return self._holder is not None

    @property
    def is_there(self) -> bool:
        return self._path.exists()

    @contextmanager
    def exclusive(self, *, patience_s: float = _PATIENCE_S) -> Iterator[bool]:
        """The right to read and change all of it; False if somebody else kept it for so long."""
        descriptor = _open(self._home / "frequency-caps.lock")
        try:
            yield _lock_within(descriptor, patience_s)
        finally:
            os.close(descriptor)

    def hold(self) -> None:
        """From now on this process's caps are in force."""
        if self._holder is None:
            descriptor = _open(self._home / "frequency-caps.holders")
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # inside `exclusive` nobody holds it exclusively
            self._holder = descriptor

    def let_go(self) -> None:
        if self._holder is not None:
            os.close(self._holder)
            self._holder = None

    def is_held(self) -> bool:
        """Whether caps of any living process are in force; ask inside `exclusive`."""
        descriptor = _open(self._home / "frequency-caps.holders")
        try:
            return not _lock_within(descriptor, 0.0)
        finally:
            os.close(descriptor)

    def load(self) -> dict[str, Cap]:
        try:
            with self._path.open("rb") as file:
                value = load_object(file.read(_MAX_BYTES + 1), self._path.name, max_bytes=_MAX_BYTES)
            fields = Fields(value, self._path.name, frozenset({"format", "boot", "policies"}))
            if fields.raw("format") != _FORMAT or fields.raw("boot") != self._boot_id:
                return {}
            return {_policy(name): _cap(cap, name) for name, cap in fields.mapping("policies").items()}
        except (FileNotFoundError, FormatError):
            return {}

    def save(self, caps: Mapping[str, Cap]) -> None:
        if not caps:
            self._path.unlink(missing_ok=True)
            return
        policies = {
            name: {"original_khz": cap.original_khz, "ours_khz": list(cap.ours_khz)} for name, cap in caps.items()
        }
        value = {"format": _FORMAT, "boot": self._boot_id, "policies": policies}
        temporary = self._path.with_suffix(".partial")
        try:
            write_file(temporary, json.dumps(value).encode("ascii"))
            os.replace(temporary, self._path)
            sync_dir(self._home)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def _policy(name: str) -> str:
    if not POLICY.fullmatch(name):
        raise format_error(name[:40], "no name of a frequency policy")
    return name


def _cap(value: JsonValue, where: str) -> Cap:
    if not isinstance(value, dict):
        raise format_error(where, "no cap")
    fields = Fields(value, where, frozenset({"original_khz", "ours_khz"}))
    ours_khz = tuple(as_integer(item, where, 1, HIGHEST_KHZ) for item in fields.items("ours_khz"))
    return Cap(fields.integer("original_khz", 1, HIGHEST_KHZ), ours_khz)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _lock_within(descriptor: int, patience_s: float) -> bool:
    end_s = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end_s:
                return False
            time.sleep(_TRY_AGAIN_S)
