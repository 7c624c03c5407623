"""`seal.json` of a data directory: who opens what is sealed there beside the models, conversations and documents.

    {"magic": "pocketseek-data", "format_version": 1, "sealing": HEX, "slots": [...]}       slots as in sealed.json
    "is_ending": true, besides: it is being unsealed

The data directory is sealed from when this file is there until it is gone. Its data key never leaves it; databases and
computed pages have keys of their own, derived from that. `parse_data_seal` is the only place where it is read.

The file has the only way to the keys. So who seals or unseals holds `data_seal_lock` all along, and who begins a file
under a key makes sure, by `DatabaseKey.standing`, that the key is still that of the directory and stays so meanwhile.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from pocketseek.errors import BusyError, FormatError, SealError, UsageError
from pocketseek.package.lock import destination_lock
from pocketseek.package.paths import SEALING_PATTERN
from pocketseek.package.sealing.ciphers import KEY_BYTES, derived_key, wipe
from pocketseek.package.sealing.key_slots import MAX_SLOTS, KeySlot, Secret, new_slot, open_slots, parse_slot
from pocketseek.package.storage import storage_errors, sync_dir, write_file
from pocketseek.package.strict_json import Fields, format_error, load_object

DATA_SEAL_NAME = "seal.json"
MAGIC = "pocketseek-data"
_HOW = "POCKETSEEK_DATA_KEY=FILE"  # which every command takes that opens conversations or documents
FORMAT_VERSION = 1
_MAX_BYTES = 64 * 1024
_TOP = frozenset({"magic", "format_version", "sealing", "slots"})
_OPTIONAL = frozenset({"is_ending"})
_SEALING_BYTES = 16
_TEMP_PREFIX = f".{DATA_SEAL_NAME}-"
_WAIT_S = 10.0
_STEP_S = 0.02


class DatabaseKey(bytes):
    """The key of the databases, which knows whose it is. home: None: of nothing on the disk, as in tests."""

    home: Path | None
    sealing: bytes

    def __new__(cls, key: bytes, home: Path | None, sealing: bytes) -> DatabaseKey:
        made = super().__new__(cls, key)
        made.home, made.sealing = home, sealing
        return made

    @contextmanager
    def standing(self) -> Iterator[None]:
        """The directory is sealed with this key, and stays so inside. Raises SealError (it is not any more), BusyError
        (it is being sealed or unsealed), FormatError, StorageError."""
        if self.home is None:
            yield
            return
        self._check(self.home)
        with _in_turn(self.home):
            self._check(self.home)
            yield

    def _check(self, home: Path) -> None:
        found = read_data_seal(home)
        if found is None or found.sealing != self.sealing:
            raise SealError(f"{home} is not sealed with this key any more; end this program and start it again")
        if found.is_ending:
            raise BusyError(
                f"{home} is being unsealed; wait, or run `pocketseek unseal --data` again if that was interrupted"
            )


@dataclass(frozen=True)
class DataKeys:
    """Of 32 bytes each. databases: of all SQLite files; pages: of computed pages and their names."""

    databases: bytes
    pages: bytes


@dataclass(frozen=True)
class DataSeal:
    """sealing: which one this is. is_ending: it is being unsealed. home: where it was read."""

    sealing: bytes
    slots: tuple[KeySlot, ...]
    is_ending: bool = False
    home: Path | None = field(default=None, compare=False)

    def open(self, secret: Secret, where: str) -> DataKeys:
        """Raises SealError, UnsupportedError."""
        data_key = open_slots(self.slots, secret, self.sealing, where, how=_HOW)
        try:
            return _keys(data_key, self.sealing, self.home)
        finally:
            wipe(data_key)

    def render(self) -> bytes:
        tree = {
            "magic": MAGIC,
            "format_version": FORMAT_VERSION,
            "sealing": self.sealing.hex(),
            "slots": [slot.render() for slot in self.slots],
            **({"is_ending": True} if self.is_ending else {}),
        }
        return json.dumps(tree, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def parse_data_seal(data: bytes) -> DataSeal:
    """Raises FormatError."""
    value = load_object(data, DATA_SEAL_NAME, max_bytes=_MAX_BYTES)
    if value.get("magic") != MAGIC:
        raise format_error(DATA_SEAL_NAME, f"no {MAGIC!r} magic")
    if value.get("format_version") != FORMAT_VERSION:
        raise FormatError(f"{DATA_SEAL_NAME}: its format is not known to this program; update pocketseek")
    fields = Fields(value, DATA_SEAL_NAME, _TOP, _OPTIONAL)
    slots = fields.items("slots")
    if not 1 <= len(slots) <= MAX_SLOTS:
        raise format_error(f"{DATA_SEAL_NAME}.slots", f"{len(slots)} of them")
    return DataSeal(
        bytes.fromhex(fields.text("sealing", SEALING_PATTERN)),
        tuple(parse_slot(slot, f"{DATA_SEAL_NAME}.slots[{index}]") for index, slot in enumerate(slots)),
        fields.flag("is_ending") if fields.has("is_ending") else False,
    )


def read_data_seal(home: Path) -> DataSeal | None:
    """None: the data directory is not sealed. Raises FormatError, StorageError."""
    path = home / DATA_SEAL_NAME
    with storage_errors(path):
        try:
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
                raise format_error(str(path), "not a plain file, or too large")
            return replace(parse_data_seal(path.read_bytes()), home=home)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except FormatError as error:
            raise FormatError(f"{home}: {error}") from error


def new_data_seal(home: Path, secret: Secret) -> DataKeys:
    """From now on the data directory is sealed. By who holds its lock. Raises UsageError (it is already),
    StorageError."""
    if read_data_seal(home) is not None:
        raise UsageError(f"{home} is sealed already; `pocketseek passwd --data` changes what opens it")
    data_key, sealing = bytearray(secrets.token_bytes(KEY_BYTES)), secrets.token_bytes(_SEALING_BYTES)
    try:
        _write(home, DataSeal(sealing, (new_slot(secret, sealing, data_key),)))
        return _keys(data_key, sealing, home)
    finally:
        wipe(data_key)


def mark_data_seal(home: Path, seal: DataSeal, *, is_ending: bool) -> None:
    """Whether it is being unsealed. By who holds its lock. Raises StorageError."""
    if seal.is_ending != is_ending:
        _write(home, replace(seal, is_ending=is_ending))


def change_data_secret(home: Path, secret: Secret, get_new: Callable[[], Secret]) -> None:
    """What opens it from now on; the keys stay. Raises SealError, UsageError, BusyError, StorageError."""
    with data_seal_lock(home):
        seal = read_data_seal(home)
        if seal is None:
            raise UsageError(f"{home} is not sealed; seal it first (`pocketseek seal --data`)")
        data_key = open_slots(seal.slots, secret, seal.sealing, str(home), how=_HOW)
        try:
            _write(home, replace(seal, slots=(new_slot(get_new(), seal.sealing, data_key),)))
        finally:
            wipe(data_key)


def remove_data_seal(home: Path) -> None:
    """When nothing that is sealed is left. By who holds its lock."""
    path = home / DATA_SEAL_NAME
    with storage_errors(path):
        _sweep(home)
        path.unlink(missing_ok=True)
        sync_dir(home)


@contextmanager
def data_seal_lock(home: Path) -> Iterator[None]:
    """One at a time. Raises BusyError at once, StorageError."""
    with storage_errors(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with destination_lock(home / DATA_SEAL_NAME):
        yield


@contextmanager
def _in_turn(home: Path) -> Iterator[None]:
    """The lock, after whoever has it for a moment. Raises BusyError."""
    until_s = time.monotonic() + _WAIT_S
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(data_seal_lock(home))
                break
            except BusyError:
                if time.monotonic() > until_s:
                    raise
                time.sleep(_STEP_S)
        yield


def _keys(data_key: bytearray, sealing: bytes, home: Path | None) -> DataKeys:
    return DataKeys(
        DatabaseKey(derived_key(data_key, sealing, b"pocketseek databases 1"), home, sealing),
        derived_key(data_key, sealing, b"pocketseek pages 1"),
    )


def _sweep(home: Path) -> None:
    """Remove what a killed writer left: the data key is in it, under a passphrase that may be an old one."""
    for left in home.glob(f"{_TEMP_PREFIX}*"):
        left.unlink(missing_ok=True)


def _write(home: Path, seal: DataSeal) -> None:
    path = home / DATA_SEAL_NAME
    temporary = home / f"{_TEMP_PREFIX}{secrets.token_hex(8)}"
    with storage_errors(path):
        _sweep(home)
        try:
            write_file(temporary, seal.render())
            os.chmod(temporary, 0o600)
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync_dir(home)
