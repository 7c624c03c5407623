"""How this device's storage is read fastest: past the page cache or through it, by how many threads, how much at once.

Neither is always better: direct I/O takes no processor time for copying and leaves the page cache alone, but some
systems read ahead better than anyone who asks (and some file systems, such as Android's shared storage, take the flag
and ignore it). So the ways are tried, in turn and more than once, on the chunk files. What was found is kept:

    <data directory>/storage/<hash of the file system>.json
    {"format": 2, "file_system": {...}, "direct": true, "num_readers": 2, "read_bytes": 1048576, "bytes_per_s": 1.2e9}

A missing, damaged or foreign file counts as none; one that cannot be written is left out.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import secrets
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from pathlib import Path

from pocketseek.errors import FormatError
from pocketseek.formats import MAX_CHUNK_BYTES
from pocketseek.kernels.mapped import resident_bytes
from pocketseek.package.reader import Package
from pocketseek.package.storage import write_file
from pocketseek.package.strict_json import Fields, JsonValue, load_object
from pocketseek.runtime.residency.chunk_files import ChunkFiles
from pocketseek.runtime.residency.plan import BLOCK_BYTES, STRETCH_BYTES

ROUNDS = 2
_MORE_ROUNDS = 2  # for each of them, with those that may be the best
SAMPLE_BYTES = 48 << 20
_KIB = 1 << 10
# (readers, KiB at once). Through the page cache pieces should be small against what the system reads ahead; past it the
# device is busy only while there is more than one large piece to read.
_BUFFERED = ((2, 256), (1, 512), (2, 512), (3, 512), (1, 1024), (2, 1024))
_DIRECT = ((8, 256), (2, 1024), (4, 1024), (1, 2048), (2, 2048), (4, 2048))
_DIRECT_IS_GOOD = 0.9  # of the fastest way: its processor time is worth more than the difference
_WHOLE_FILE_BYTES = 2 * MAX_CHUNK_BYTES  # its units, each rounded to blocks, may be a little more than a chunk
_FORMAT = 2
_MAX_BYTES = 4096
_FIELDS = frozenset({"format", "file_system", "direct", "num_readers", "read_bytes", "bytes_per_s"})


@dataclass(frozen=True)
class ReadMode:
    """bytes_per_s: what it reached. Of the readers, each reads a turn (`turn_bytes`) from its beginning to its end."""

    direct: bool
    num_readers: int
    read_bytes: int
    bytes_per_s: float


DEFAULT_READ_MODE = ReadMode(direct=False, num_readers=2, read_bytes=1 << 20, bytes_per_s=1e9)


def turn_bytes(mode: ReadMode) -> int:
    """How much that lies behind each other one reader reads alone: a unit, or as far as it goes where the system reads
    ahead, which it would do into the next one's turn, whose pages may have been read and dropped by then."""
    return 0 if mode.direct else _WHOLE_FILE_BYTES


def read_mode_for(data_dir: Path, package: Package) -> ReadMode:
    """What is known, or what is found now and kept."""
    mode = known_read_mode(data_dir, package.path)
    if mode is None:
        mode = find_read_mode(package)
        keep_read_mode(mode, data_dir, package.path)
    return mode


def known_read_mode(data_dir: Path, package_dir: Path) -> ReadMode | None:
    """What was found earlier for the file system of the package."""
    path, file_system = _place(data_dir, package_dir)
    try:
        with path.open("rb") as file:
            fields = Fields(load_object(file.read(_MAX_BYTES + 1), path.name, max_bytes=_MAX_BYTES), path.name, _FIELDS)
        if fields.raw("format") != _FORMAT or fields.raw("file_system") != file_system:
            return None
        return ReadMode(
            fields.flag("direct"),
            fields.integer("num_readers", 1, 64),
            fields.integer("read_bytes", BLOCK_BYTES, 1 << 30),
            fields.number("bytes_per_s", 1.0, 1e12),
        )
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


def find_read_mode(
    package: Package,
    *,
    rounds: int = ROUNDS,
    sample_bytes: int = SAMPLE_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> ReadMode:
    """Try every way on the package's chunks `rounds` times in turn, then the best two of each kind twice as often
    again, and return the best by median.

    Reads 40 * sample_bytes by default, one or two seconds. progress(done, total) counts samples. A sample that finds
    its bytes in memory, because somebody has them mapped, says nothing and counts as fast: call it before the weights
    are used. Raises StorageError, IntegrityError.
    """
    files = ChunkFiles(package)
    try:
        ways = [ReadMode(False, readers, kib * _KIB, 0.0) for readers, kib in _BUFFERED]
        if _has_direct(package, files):
            ways += [ReadMode(True, readers, kib * _KIB, 0.0) for readers, kib in _DIRECT]
        places = cycle(_samples(package, sample_bytes))
        rates: dict[ReadMode, list[float]] = {way: [] for way in ways}
        num_trials = rounds * (len(ways) + _MORE_ROUNDS * len(_finalists(rates)))

        def measure(some: Sequence[ReadMode], num_rounds: int) -> None:
            for way in [*some] * num_rounds:
                rates[way].append(_rate(files, way, next(places)))
                if progress is not None:
                    progress(sum(len(found) for found in rates.values()), num_trials)

        measure(ways, rounds)
        finalists = _finalists(rates)
        measure(finalists, rounds * _MORE_ROUNDS)
        return _best([replace(way, bytes_per_s=statistics.median(rates[way])) for way in finalists])
    finally:
        files.close()


def _finalists(rates: Mapping[ReadMode, Sequence[float]]) -> list[ReadMode]:
    """The best two of each kind so far."""
    by_rate = sorted(rates, key=lambda way: -statistics.median(rates[way] or [0.0]))
    return [way for direct in (False, True) for way in [one for one in by_rate if one.direct == direct][:2]]


def _best(ways: Sequence[ReadMode]) -> ReadMode:
    fastest = max(ways, key=lambda way: way.bytes_per_s)
    direct = max((way for way in ways if way.direct), key=lambda way: way.bytes_per_s, default=fastest)
    return direct if direct.bytes_per_s >= _DIRECT_IS_GOOD * fastest.bytes_per_s else fastest


def _samples(package: Package, sample_bytes: int) -> list[list[tuple[int, int, int]]]:
    """Places to read, each a list of (chunk, offset, bytes) that lie behind each other as far as chunks go."""
    samples: list[list[tuple[int, int, int]]] = [[]]
    missing = sample_bytes
    for index, chunk in enumerate(package.manifest.chunks):
        offset = 0
        while offset < chunk.num_bytes:
            size = min(missing, chunk.num_bytes - offset)
            samples[-1].append((index, offset, size))
            offset = -(-(offset + size) // BLOCK_BYTES) * BLOCK_BYTES
            missing -= size
            if missing <= 0:
                samples.append([])
                missing = sample_bytes
    return samples[:-1] if len(samples) > 1 else samples


def _rate(files: ChunkFiles, way: ReadMode, sample: Sequence[tuple[int, int, int]]) -> float:
    """Bytes per second. The bytes are put out of the page cache first."""
    for chunk, offset, size in sample:
        files.evict(chunk, offset, size)
    files.use_direct(way.direct)
    turns = iter(list(_pieces(sample, max(min(turn_bytes(way), STRETCH_BYTES), way.read_bytes))))

    def read_some() -> int:
        num_bytes = 0
        with mmap.mmap(-1, way.read_bytes) as memory, memoryview(memory) as buffer:
            for turn in turns:  # next() of a list's iterator is atomic
                for chunk, offset, size in _pieces([turn], way.read_bytes):
                    with buffer[:size] as part:
                        files.read(chunk, offset, part)
                    num_bytes += size
        return num_bytes

    start_s = time.perf_counter()
    with ThreadPoolExecutor(way.num_readers) as threads:
        counts = [threads.submit(read_some) for _ in range(way.num_readers)]
        total = sum(count.result() for count in counts)
    elapsed_s = time.perf_counter() - start_s
    for chunk, offset, size in sample:
        files.forget(chunk, offset, size)
    return total / elapsed_s


def _pieces(sample: Sequence[tuple[int, int, int]], read_bytes: int) -> Iterator[tuple[int, int, int]]:
    for chunk, offset, size in sample:
        for start in range(offset, offset + size, read_bytes):
            rest = min(read_bytes, offset + size - start)
            yield chunk, start, -(-rest // BLOCK_BYTES) * BLOCK_BYTES


def _has_direct(package: Package, files: ChunkFiles) -> bool:
    """Can files be opened so, and does a read then leave the page cache alone?"""
    files.use_direct(True)
    if not files.is_direct:
        return False
    size = min(4 << 20, package.manifest.chunks[0].num_bytes // BLOCK_BYTES * BLOCK_BYTES)
    if not size:
        return False
    files.evict(0, 0, size)
    view = package.chunk(0)[:size]
    before = resident_bytes(view)
    with mmap.mmap(-1, size) as memory, memoryview(memory) as buffer:
        files.read(0, 0, buffer)
    after = resident_bytes(view)
    is_past_cache = before is None or after is None or after - before < size // 2
    return is_past_cache and files.is_direct


def _place(data_dir: Path, package_dir: Path) -> tuple[Path, JsonValue]:
    """The file, and what names the file system in it."""
    status, volume = os.stat(package_dir), os.statvfs(package_dir)
    file_system: JsonValue = {"device": status.st_dev, "blocks": volume.f_blocks, "block_bytes": volume.f_frsize}
    name = hashlib.sha256(json.dumps(file_system, sort_keys=True).encode()).hexdigest()[:32]
    return data_dir / "storage" / f"{name}.json", file_system
