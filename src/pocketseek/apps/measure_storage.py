"""How fast this device's storage is read by one reader, in reads of several sizes, through the page cache and past it.

Read is the largest chunk of an installed model, or a file that is written for it and removed again. Bytes that are in
memory say nothing about storage: they are put out of the page cache before, and a file of which something stays there,
because a program that runs has it mapped, is not taken. Where direct reads are not possible there are none. Every part
has its time limit, so that slow storage is read less of instead of longer.

What storage reaches for a tenth of a second it may not keep up: caches, of the device or of a host, end.
So where models of LONG_BYTES and more are installed their chunks are read one after another, too.
"""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pocketseek.errors import StorageError
from pocketseek.kernels.mapped import resident_bytes
from pocketseek.settings import Settings

READ_SIZES = (64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20)
SAMPLE_BYTES = 96 << 20
LEAST_SAMPLE_BYTES = 24 << 20
LONG_BYTES, MOST_LONG_BYTES = 256 << 20, 4 << 30
_LONG_LIMIT_S = 4.0
_LEAST_WRITTEN_BYTES = 8 << 20  # of a card that writes 2 MB/s
_SIZE_LIMIT_S = 0.6  # for the reads of one size in one way
_WRITE_LIMIT_S = 4.0  # then what is written is enough, if it is _LEAST_WRITTEN_BYTES
_MOST_CHUNKS = 8  # that are looked at
_COLD = 64  # no more than this part of a file may be in memory

Rates = tuple[tuple[int, float], ...]
"""(bytes of one read, bytes per second) for each of READ_SIZES."""


def measure_storage(settings: Settings, progress: Callable[[int], None]) -> tuple[Rates, Rates]:
    """(through the page cache, past it). progress(count) counts read sizes. Raises StorageError."""
    chunk = _cold_chunk(settings.models_dir)
    if chunk is not None:
        return _measure(chunk, progress)
    path = settings.home / f".measure-{secrets.token_hex(8)}"
    try:
        _write_sample(path)
        return _measure(path, progress)
    finally:
        if path.exists():  # its folder may be none
            path.unlink()


def measure_long_read(models_dir: Path) -> float:
    """Bytes per second through the page cache over as many cold chunks as the time allows, in the largest reads; 0.0
    where there are less than LONG_BYTES of them. A chunk that cannot be read ends it: `verify` is for that."""
    total_bytes, elapsed_s = 0, 0.0
    for chunk in _by_size(models_dir):
        if elapsed_s >= _LONG_LIMIT_S or total_bytes >= MOST_LONG_BYTES:
            break
        if not _is_cold(chunk):
            continue
        try:
            read_bytes, read_s = _read(chunk, READ_SIZES[-1], 0, limit_s=_LONG_LIMIT_S - elapsed_s)
        except OSError:
            break
        total_bytes += read_bytes
        elapsed_s += read_s
    return total_bytes / elapsed_s if total_bytes >= LONG_BYTES else 0.0


def _measure(path: Path, progress: Callable[[int], None]) -> tuple[Rates, Rates]:
    """Both ways in turn for each size."""
    buffered: list[tuple[int, float]] = []
    direct: list[tuple[int, float]] = []
    for count, size in enumerate(READ_SIZES, start=1):
        try:
            buffered.append((size, _rate(path, size, 0)))
            if _can_read_directly(path):
                direct.append((size, _rate(path, size, os.O_DIRECT)))
        except OSError as error:
            raise StorageError(f"{path} cannot be read ({error.strerror}); check the storage") from error
        progress(count)
    return tuple(buffered), tuple(direct)


def _can_read_directly(path: Path) -> bool:
    """Some file systems refuse when the file is opened, some when it is read."""
    try:
        _rate(path, mmap.PAGESIZE, os.O_DIRECT, limit_s=0.0)
    except OSError:
        return False
    return True


def _rate(path: Path, read_bytes: int, flags: int, *, limit_s: float = _SIZE_LIMIT_S) -> float:
    total_bytes, elapsed_s = _read(path, read_bytes, flags, limit_s=limit_s)
    return total_bytes / elapsed_s


def _read(path: Path, read_bytes: int, flags: int, *, limit_s: float) -> tuple[int, float]:
    """From the beginning of the file on, as far as the time goes: (bytes, seconds)."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        num_bytes = min(os.fstat(file).st_size, SAMPLE_BYTES) // read_bytes * read_bytes
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        total = 0
        with mmap.mmap(-1, read_bytes) as buffer:  # at the border of a page, as direct reads want it
            start_s = time.perf_counter()
            while total < num_bytes and (total == 0 or time.perf_counter() - start_s < limit_s):
                count = os.preadv(file, [buffer], total)
                if count == 0:
                    break  # somebody cut it short
                total += count
            elapsed_s = time.perf_counter() - start_s
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)
    return total, max(1e-9, elapsed_s)


def _cold_chunk(models_dir: Path) -> Path | None:
    """The largest chunk that is large enough and does not stay in memory."""
    return next((path for path in _by_size(models_dir)[:_MOST_CHUNKS] if _is_cold(path)), None)


def _by_size(models_dir: Path) -> list[Path]:
    """Chunks that are large enough, the largest first."""
    chunks = sorted((path.stat().st_size, path) for path in models_dir.glob("*/chunks/*") if path.is_file())
    return [path for size, path in reversed(chunks) if size >= LEAST_SAMPLE_BYTES]


def _is_cold(path: Path) -> bool:
    """After it was put out of memory as far as it goes. Without a core nobody tells, and it counts as cold."""
    try:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                there = resident_bytes(np.frombuffer(mapped, np.uint8))
                size = len(mapped)
    except OSError:
        return False
    return there is None or there <= size // _COLD


def _write_sample(path: Path) -> None:
    piece = os.urandom(1 << 20)  # some storage compresses
    until_s = time.monotonic() + _WRITE_LIMIT_S
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            for written_bytes in range(0, SAMPLE_BYTES, len(piece)):
                if written_bytes >= _LEAST_WRITTEN_BYTES and time.monotonic() > until_s:
                    break
                file.write(piece)
                file.flush()
                os.fsync(file.fileno())  # now, or all of it would be waited for at the end
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"{path.parent} has no room for {SAMPLE_BYTES >> 20} MiB to measure with ({error.strerror}); free some"
            ) from error
        raise StorageError(
            f"{path.parent}: {error.strerror or error}; set POCKETSEEK_HOME to a folder that can be written"
        ) from error
