"""Finding out how storage is read best, by reading: chunk files of a package, in one way after the other, in turn.

Only bytes that are not in memory say anything about storage. So samples are put out of the page cache first, and what
stays there all the same, because somebody has it mapped, is left out; if too little remains, nothing is found out.
The samples are as large as fits into about LIMIT_S by what the first one took. Of a sealed package, reading includes
decrypting.
"""

from __future__ import annotations

import mmap
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle
from pathlib import Path

from pocketseek.kernels.mapped import resident_bytes
from pocketseek.package.reader import Package
from pocketseek.runtime.residency.plan import BLOCK_BYTES, STRETCH_BYTES
from pocketseek.runtime.residency.read_mode import (
    DEFAULT_READ_MODE,
    ReadMode,
    keep_read_mode,
    known_read_mode,
    turn_bytes,
)
from pocketseek.runtime.residency.weight_files import WeightFiles, open_files

LIMIT_S = 2.0
ROUNDS = 2
_MORE_ROUNDS = 2  # for each of them, with those that may be the best
SAMPLE_BYTES = 48 << 20
_FIRST_SAMPLE_BYTES = 16 << 20
_LEAST_SAMPLE_BYTES = 2 << 20
_MOST_SAMPLES = 10
_PIECE_BYTES = 1 << 20  # in which one looks for what is in memory
_COLD = 64  # no more than this part of a piece may be in memory
_KIB = 1 << 10
# (readers, KiB at once). Through the page cache pieces should be small against what the system reads ahead; past it the
# device is busy only while there is more than one large piece to read.
_BUFFERED = ((2, 256), (1, 512), (2, 512), (3, 512), (1, 1024), (2, 1024))
_DIRECT = ((8, 256), (2, 1024), (4, 1024), (1, 2048), (2, 2048), (4, 2048))
_DIRECT_IS_GOOD = 0.9  # of the fastest way: its processor time is worth more than the difference

Sample = Sequence[tuple[int, int, int]]
"""(chunk, offset, bytes) of places that are read one after the other."""


def read_mode_for(data_dir: Path, package: Package) -> ReadMode:
    """What is known, or what is found now and kept; the usual mode, and nothing is kept, if nothing can be found."""
    mode = known_read_mode(data_dir, package.path)
    if mode is None:
        mode = find_read_mode(package)
        if mode is None:
            return DEFAULT_READ_MODE
        keep_read_mode(mode, data_dir, package.path)
    return mode


def find_read_mode(
    package: Package,
    *,
    rounds: int = ROUNDS,
    sample_bytes: int = SAMPLE_BYTES,
    limit_s: float = LIMIT_S,
    progress: Callable[[int, int], None] | None = None,
) -> ReadMode | None:
    """Try every way on the package's chunks `rounds` times in turn, then the best two of each kind twice as often
    again, and return the best by median; None if there is nothing to read that is not in memory.

    Takes about limit_s, reading at most 40 * sample_bytes. progress(done, total) counts samples. Raises StorageError,
    IntegrityError; and OSError, RuntimeError or MemoryError if the system has no memory or no thread for it.
    """
    files = open_files(package)
    try:
        samples = cold_samples(package, files, sample_bytes)
        if not samples:
            return None
        ways = [ReadMode(False, readers, kib * _KIB, 0.0) for readers, kib in _BUFFERED]
        if leaves_cache_alone(package, files, samples[0]):
            ways += [ReadMode(True, readers, kib * _KIB, 0.0) for readers, kib in _DIRECT]
        rates: dict[ReadMode, list[float]] = {way: [] for way in ways}
        num_trials = rounds * (len(ways) + _MORE_ROUNDS * len(_finalists(rates)))
        first_rate = _rate(files, DEFAULT_READ_MODE, _cut(samples[-1], _FIRST_SAMPLE_BYTES))
        places = cycle([_cut(sample, int(first_rate * limit_s / num_trials)) for sample in samples])

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


def cold_samples(package: Package, files: WeightFiles, sample_bytes: int) -> list[Sample]:
    """Some places of so many bytes each, the last perhaps of fewer, in which next to nothing is in memory; they lie
    behind each other as far as that goes. Without a core nobody tells, and everything counts."""
    samples: list[list[tuple[int, int, int]]] = [[]]
    missing = sample_bytes
    for index, chunk in enumerate(package.manifest.chunks):
        files.evict(index, 0, chunk.num_bytes)
        for offset in range(0, chunk.num_bytes, _PIECE_BYTES):
            size = min(_PIECE_BYTES, chunk.num_bytes - offset)
            if not _is_cold(files, index, offset, size):
                continue
            samples[-1].append((index, offset, size))
            missing -= size
            if missing <= 0:
                samples.append([])
                missing = sample_bytes
        if len(samples) > _MOST_SAMPLES:
            break
    whole = samples[:-1] if len(samples) > 1 else samples
    return [sample for sample in whole if sum(size for _, _, size in sample) >= min(sample_bytes, _LEAST_SAMPLE_BYTES)]


def _is_cold(files: WeightFiles, chunk: int, offset: int, num_bytes: int) -> bool:
    there = resident_bytes(files.view(chunk)[offset : offset + num_bytes])
    return there is None or there <= num_bytes // _COLD


def _cut(sample: Sample, num_bytes: int) -> Sample:
    """Its beginning: at least a few MB."""
    num_bytes = max(num_bytes, _LEAST_SAMPLE_BYTES)
    kept: list[tuple[int, int, int]] = []
    for chunk, offset, size in sample:
        if num_bytes > 0:
            kept.append((chunk, offset, size))
            num_bytes -= size
    return kept


def _rate(files: WeightFiles, way: ReadMode, sample: Sample) -> float:
    """Bytes per second. The bytes are put out of the page cache first."""
    for chunk, offset, size in sample:
        files.evict(chunk, offset, size)
    files.use_direct(way.direct)
    turns = iter(list(_turns(sample, max(min(turn_bytes(way), STRETCH_BYTES), way.read_bytes))))

    def read_some() -> int:
        num_bytes = 0
        with mmap.mmap(-1, way.read_bytes) as memory, memoryview(memory) as buffer:
            for chunk, offset, size in turns:  # next() of a list's iterator is atomic
                for start in range(0, size, way.read_bytes):
                    rest = min(way.read_bytes, size - start)
                    with buffer[: -(-rest // BLOCK_BYTES) * BLOCK_BYTES] as part:
                        files.read(chunk, offset + start, part)
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


def _turns(sample: Sample, most_bytes: int) -> Iterator[tuple[int, int, int]]:
    """The same places, those that lie behind each other put together, and then cut to at most so many bytes."""
    runs: list[tuple[int, int, int]] = []
    for chunk, offset, size in sample:
        if runs and runs[-1][0] == chunk and sum(runs[-1][1:]) == offset:
            runs[-1] = chunk, runs[-1][1], runs[-1][2] + size
        else:
            runs.append((chunk, offset, size))
    for chunk, offset, size in runs:
        for start in range(0, size, most_bytes):
            yield chunk, offset + start, min(most_bytes, size - start)


def leaves_cache_alone(package: Package, files: WeightFiles, sample: Sample) -> bool:
    """Can files be opened for direct I/O, and does such a read then leave the page cache alone? Read where nothing is
    in memory, or else one would not see it."""
    files.use_direct(True)
    if not files.is_direct:
        return False
    chunk, offset, size = sample[0]
    size = size // BLOCK_BYTES * BLOCK_BYTES
    files.evict(chunk, offset, size)
    if not size or not _is_cold(files, chunk, offset, size):
        return False
    with mmap.mmap(-1, size) as memory, memoryview(memory) as buffer:
        files.read(chunk, offset, buffer)
    after = resident_bytes(files.view(chunk)[offset : offset + size])
    return files.is_direct and (after is None or after < size // 2)
