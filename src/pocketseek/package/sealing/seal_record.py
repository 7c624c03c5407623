"""`sealed.json` beside a manifest: with what the package is sealed, who may open it, and which files are sealed so far.

    magic, format_version, sealing (16 random bytes: which sealing this is), cipher, manifest (its SHA-256)
    slots    the data key, wrapped for each secret that opens it (key_slots.py)
    also     manifests (their SHA-256) of other versions of the model that this sealing holds: the one before an update,
             the one that it leads to; left out if there are none
    files    {"chunks/SHA256": SHA-256 of the sealed file, ...}: what is listed is sealed, the rest lies there plain
    mac      HMAC-SHA256 of all of the above under a key derived from the data key

`parse_record` is the only place where it is read; it takes any bytes. Everything but the mac can be checked without the
key, so that a sealed package can be listed and verified by who may not read it; with the key, `check_mac` comes first.
Versions come and go without the key (switch.py), so `also` and `files` may name what is there no more, until the record
is next written.
"""

from __future__ import annotations

import hmac
import json
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import get_args

from pocketseek.errors import FormatError, SealError
from pocketseek.package.entries import Manifest
from pocketseek.package.paths import (
    CHUNKS_NAME,
    FILES_NAME,
    SEAL_NAME,
    SEAL_TEMP_NAME,
    SEALED_SUFFIX,
    SEALING_PATTERN,
    SHA256_PATTERN,
)
from pocketseek.package.sealing.ciphers import Cipher, record_mac
from pocketseek.package.sealing.key_slots import MAX_SLOTS, KeySlot, Secret, open_slots, parse_slot
from pocketseek.package.storage import storage_errors, sync_dir, write_file
from pocketseek.package.strict_json import Fields, JsonValue, format_error, load_object

MAGIC = "pocketseek-sealed"
FORMAT_VERSION = 1
_MAX_BYTES = 4 * 1024 * 1024
_TOP = frozenset({"magic", "format_version", "sealing", "cipher", "manifest", "slots", "files", "mac"})
_OPTIONAL = frozenset({"also"})
_MOST_VERSIONS = 8


@dataclass(frozen=True)
class PackageFile:
    """A chunk or file of a package, by its plaintext. segments: SHA-256 of every 1 MiB of a chunk."""

    folder: str
    sha256: str
    num_bytes: int
    segments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As in sealed.json."""
        return f"{self.folder}/{self.sha256}"

    def plain_path(self, package_dir: Path) -> Path:
        return package_dir / self.folder / self.sha256

    def sealed_path(self, package_dir: Path) -> Path:
        return package_dir / self.folder / f"{self.sha256}{SEALED_SUFFIX}"


def files_of(manifest: Manifest) -> tuple[PackageFile, ...]:
    """Everything that is sealed, each once."""
    chunks = [PackageFile(CHUNKS_NAME, one.sha256, one.num_bytes, one.segments) for one in manifest.unique_chunks()]
    files = {one.sha256: PackageFile(FILES_NAME, one.sha256, one.num_bytes) for one in manifest.files.values()}
    return (*chunks, *files.values())


@dataclass(frozen=True)
class SealRecord:
    """sealing: 16 bytes. manifest: SHA-256 of manifest.json; also: of other versions. files: SHA-256 of the sealed file
    by `PackageFile.name`. mac: as it was read; `render` makes it anew."""

    sealing: bytes
    cipher: Cipher
    manifest: str
    slots: tuple[KeySlot, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    mac: str = ""
    also: tuple[str, ...] = ()

    def is_of(self, manifest_bytes: bytes) -> bool:
        """Whether that version of the model is sealed with it."""
        return sha256(manifest_bytes).hexdigest() in (self.manifest, *self.also)

    def has(self, file: PackageFile) -> bool:
        return file.name in self.files

    def with_file(self, file: PackageFile, sha256: str) -> SealRecord:
        return replace(self, files={**self.files, file.name: sha256})

    def without_file(self, file: PackageFile) -> SealRecord:
        return replace(self, files={name: hashed for name, hashed in self.files.items() if name != file.name})

    def unlock(self, secret: Secret, where: str) -> bytearray:
        """The data key, once the whole record is known to be by someone who had it. Raises SealError."""
        data_key = open_slots(self.slots, secret, self.sealing, where)
        if not hmac.compare_digest(self.mac, record_mac(data_key, self.sealing, self._body())):
            raise SealError(f"{where}: {SEAL_NAME} was changed by someone without the key; take it from a copy")
        return data_key

    def render(self, data_key: bytearray) -> bytes:
        mac = record_mac(data_key, self.sealing, self._body())
        return _canonical({**self._tree(), "mac": mac})

    def _body(self) -> bytes:
        return _canonical(self._tree())

    def _tree(self) -> dict[str, JsonValue]:
        also: dict[str, JsonValue] = {"also": list(self.also)} if self.also else {}
        return {
            **also,
            "magic": MAGIC,
            "format_version": FORMAT_VERSION,
            "sealing": self.sealing.hex(),
            "cipher": self.cipher,
            "manifest": self.manifest,
            "slots": [slot.render() for slot in self.slots],
            "files": dict(self.files),
        }


def parse_record(data: bytes) -> SealRecord:
    """Raises FormatError."""
    value = load_object(data, SEAL_NAME, max_bytes=_MAX_BYTES)
    if value.get("magic") != MAGIC:
        raise format_error(SEAL_NAME, f"no {MAGIC!r} magic")
    if value.get("format_version") != FORMAT_VERSION:
        raise FormatError(f"{SEAL_NAME}: its format is not known to this program; update pocketseek")
    fields = Fields(value, SEAL_NAME, _TOP, _OPTIONAL)
    slots = fields.items("slots")
    if not 1 <= len(slots) <= MAX_SLOTS:
        raise format_error(f"{SEAL_NAME}.slots", f"{len(slots)} of them")
    return SealRecord(
        sealing=bytes.fromhex(fields.text("sealing", SEALING_PATTERN)),
        cipher=_cipher(fields.raw("cipher")),
        manifest=fields.text("manifest", SHA256_PATTERN),
        slots=tuple(parse_slot(slot, f"{SEAL_NAME}.slots[{index}]") for index, slot in enumerate(slots)),
        files=_files(fields.mapping("files")),
        mac=fields.text("mac", SHA256_PATTERN),
        also=_versions(fields.items("also")) if fields.has("also") else (),
    )


def read_record(package_dir: Path) -> SealRecord | None:
    """None: the package is not sealed. Raises FormatError, StorageError."""
    path = package_dir / SEAL_NAME
    with storage_errors(path):
        try:
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
                raise format_error(str(path), "not a plain file, or too large")
            return parse_record(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except FormatError as error:
            raise FormatError(f"{package_dir}: {error}") from error


def check_record(package_dir: Path, record: SealRecord, manifest_bytes: bytes, manifest: Manifest) -> None:
    """Raises SealError if it belongs to another manifest."""
    known = {file.name for file in files_of(manifest)}
    if not record.is_of(manifest_bytes) or not (record.also or record.files.keys() <= known):
        raise SealError(
            f"{package_dir}: manifest.json is not the one that was sealed; "
            "take it from a copy, or install the model again"
        )


def write_record(package_dir: Path, record: SealRecord, data_key: bytearray) -> None:
    """Replace sealed.json in one step, which is on disk when this returns. Raises OSError."""
    temporary = package_dir / SEAL_TEMP_NAME
    temporary.unlink(missing_ok=True)  # whatever it is: nothing is written through a link
    try:
        write_file(temporary, record.render(data_key))
        os.chmod(temporary, 0o600)  # others shall not try passphrases on it
        os.replace(temporary, package_dir / SEAL_NAME)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_dir(package_dir)


def _cipher(value: JsonValue) -> Cipher:
    for cipher in get_args(Cipher):
        if value == cipher:
            known: Cipher = cipher
            return known
    raise format_error(f"{SEAL_NAME}.cipher", "an unknown cipher")


def _files(values: Mapping[str, JsonValue]) -> dict[str, str]:
    files: dict[str, str] = {}
    for name, hashed in values.items():
        folder, _, file = name.partition("/")
        if folder not in (CHUNKS_NAME, FILES_NAME) or not SHA256_PATTERN.fullmatch(file):
            raise format_error(f"{SEAL_NAME}.files", f"the name {name[:80]!r} is not allowed")
        files[name] = Fields({"sha256": hashed}, f"{SEAL_NAME}.files", frozenset({"sha256"})).text(
            "sha256", SHA256_PATTERN
        )
    return files


def _versions(values: Sequence[JsonValue]) -> tuple[str, ...]:
    if not 1 <= len(values) <= _MOST_VERSIONS:
        raise format_error(f"{SEAL_NAME}.also", f"{len(values)} of them")
    where = f"{SEAL_NAME}.also"
    return tuple(Fields({"v": one}, where, frozenset({"v"})).text("v", SHA256_PATTERN) for one in values)


def _canonical(tree: Mapping[str, JsonValue]) -> bytes:
    return json.dumps(tree, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"
