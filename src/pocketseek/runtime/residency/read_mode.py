"""How this device's storage is read fastest: past the page cache or through it, by how many threads, how much at once.

Neither is always better: direct I/O takes no processor time for copying and leaves the page cache alone, but some
systems read ahead better than anyone who asks (and some file systems, such as Android's shared storage, take the flag
and ignore it). So the ways are tried (read_probe.py). What was found is kept:

    <data directory>/storage/<hash of the file system>.json
    {"format": 2, "file_system": {...}, "direct": true, "num_readers": 2, "read_bytes": 1048576, "bytes_per_s": 1.2e9}

A missing, damaged or foreign file counts as none; one that cannot be written is left out. Where nothing can be found
out, because all of the model is in memory, say, the usual mode is taken for the time being and nothing is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pocketseek.errors import FormatError
from pocketseek.formats import MAX_CHUNK_BYTES
from pocketseek.package.paths import SEAL_NAME
from pocketseek.package.storage import write_file
from pocketseek.package.strict_json import Fields, JsonValue, load_object
from pocketseek.runtime.residency.plan import BLOCK_BYTES

_WHOLE_FILE_BYTES = 2 * MAX_CHUNK_BYTES  # its units, each rounded to blocks, may be a little more than a chunk
_DECRYPTING_TURN_BYTES = 8_000_000  # of 0, 4 and 8 million and all of a file, with 2 to 4 readers, the fastest
_DECRYPTING_READERS = 3
_FORMAT = 2
_MAX_BYTES = 4096
_MOST_READ_BYTES = 16 << 20
_FIELDS = frozenset({"format", "file_system", "direct", "num_readers", "read_bytes", "bytes_per_s"})


@dataclass(frozen=True)
class ReadMode:
    """bytes_per_s: what it reached. Of the readers, each reads a turn (`turn_bytes`) from its beginning to its end."""

    direct: bool
    num_readers: int
    read_bytes: int
    bytes_per_s: float


DEFAULT_READ_MODE = ReadMode(direct=False, num_readers=2, read_bytes=1 << 20, bytes_per_s=1e9)


def turn_bytes(mode: ReadMode, decrypts: bool = False) -> int:
    """How much that lies behind each other one reader reads alone: a unit, or as far as it goes where the system reads
    ahead, which it would do into the next one's turn, whose pages may have been read and dropped by then. A reader that
    also decrypts leaves storage alone meanwhile, so another one has to be at it: then the turns are shorter."""
    return 0 if mode.direct else _DECRYPTING_TURN_BYTES if decrypts else _WHOLE_FILE_BYTES


def beside_decrypting(mode: ReadMode) -> ReadMode:
    """With as many readers as it takes for storage to be busy while some of them decrypt."""
    return replace(mode, num_readers=max(mode.num_readers, _DECRYPTING_READERS))


def known_read_mode(data_dir: Path, package_dir: Path) -> ReadMode | None:
    """What was found earlier for the file system of the package."""
    path, file_system = _place(data_dir, package_dir)
    try:
        with path.open("rb") as file:
            fields = Fields(load_object(file.read(_MAX_BYTES + 1), path.name, max_bytes=_MAX_BYTES), path.name, _FIELDS)
        if fields.raw("format") != _FORMAT or fields.raw("file_system") != file_system:
            return None
        mode = ReadMode(
            fields.flag("direct"),
            fields.integer("num_readers", 1, 64),
            fields.integer("read_bytes", BLOCK_BYTES, _MOST_READ_BYTES),
            fields.number("bytes_per_s", 1.0, 1e12),
        )
        return mode if mode.read_bytes % BLOCK_BYTES == 0 else None
    except (OSError, FormatError):
        return None


def keep_read_mode(mode: ReadMode, data_dir: Path, package_dir: Path) -> None:
    """For the next time; nothing is written where there is no data directory."""
    path, file_system = _place(data_dir, package_dir)
    if not data_dir.is_dir():
        return
    data = json.dumps({"format": _FORMAT, "file_system": file_system, **asdict(mode)}).encode("ascii")
    temporary = path.with_suffix(f".{secrets.token_hex(8)}")
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        try:
            write_file(temporary, data)
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def _place(data_dir: Path, package_dir: Path) -> tuple[Path, JsonValue]:
    """The file, and what names the file system in it."""
    status, volume = os.stat(package_dir), os.statvfs(package_dir)
    file_system: dict[str, JsonValue] = {
        "device": status.st_dev,
        "blocks": volume.f_blocks,
        "block_bytes": volume.f_frsize,
    }
    if (package_dir / SEAL_NAME).exists():  # reading it includes decrypting
        file_system = {**file_system, "sealed": True}
    name = hashlib.sha256(json.dumps(file_system, sort_keys=True).encode()).hexdigest()[:32]
    return data_dir / "storage" / f"{name}.json", file_system
