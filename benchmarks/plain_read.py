"""How fast the storage delivers a model's files to somebody who only reads them: the best of a few ways.

    python benchmarks/plain_read.py FOLDER [--mb 600]

Ways: O_DIRECT or buffered (files announced as sequential; pages dropped as soon as they were read), 1 to 8 threads,
pieces of 1 or 4 MiB handed out in the order of the files. Which is best differs between devices, so all are tried. The
page cache is dropped before each (small_memory.py says how). Ends in a JSON line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import mmap
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from pocketseek.apps.page_cache import drop_cached_pages

MIB = 1024 * 1024
MODES, THREADS, PIECES = ("direct", "buffered"), (1, 2, 4, 8), (MIB, 4 * MIB)


@dataclass(frozen=True)
class Way:
    mode: str
    threads: int
    piece_bytes: int

    def __str__(self) -> str:
        return f"{self.mode}, {self.threads} threads, {self.piece_bytes // MIB} MiB"


def all_ways() -> list[Way]:
    return [Way(*way) for way in itertools.product(MODES, THREADS, PIECES)]


def survey(folder: Path, total_bytes: int) -> dict[Way, float]:
    """Bytes per second of every way that works here, the best first."""
    rates = {way: rate for way in all_ways() if (rate := read_rate(folder, way, total_bytes)) is not None}
    return dict(sorted(rates.items(), key=lambda item: -item[1]))


def read_rate(folder: Path, way: Way, total_bytes: int) -> float | None:
    """Bytes per second; None if the file system refuses (O_DIRECT does not work everywhere)."""
    drop_cached_pages(folder)
    flags = os.O_RDONLY | (os.O_DIRECT if way.mode == "direct" else 0)
    with ExitStack() as stack:
        try:
            work = list(pieces(folder, flags, way, total_bytes, stack))
            seconds, num_bytes = read_all(work, way)
        except OSError:
            return None
    return num_bytes / seconds


def pieces(folder: Path, flags: int, way: Way, total_bytes: int, stack: ExitStack) -> Iterator[tuple[int, int]]:
    """(descriptor, offset) of every piece, largest files first, until it is enough."""
    files = sorted((file for file in folder.rglob("*") if file.is_file()), key=lambda file: -file.stat().st_size)
    left_bytes = total_bytes
    for file in files:
        if left_bytes <= 0:
            return
        descriptor = os.open(file, flags)
        stack.callback(os.close, descriptor)
        if way.mode == "buffered":
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        for offset in range(0, min(file.stat().st_size, left_bytes), way.piece_bytes):
            yield descriptor, offset
        left_bytes -= file.stat().st_size


def read_all(work: list[tuple[int, int]], way: Way) -> tuple[float, int]:
    """(seconds, bytes). Raises the OSError of a thread that failed."""
    queue, lock = iter(work), threading.Lock()
    num_bytes, errors = [0] * way.threads, list[OSError]()

    def read(number: int) -> None:
        buffer = mmap.mmap(-1, way.piece_bytes)  # begins at a page, as O_DIRECT wants it
        while True:
            with lock:
                piece = next(queue, None)
            if piece is None:
                return
            descriptor, offset = piece
            try:
                got = os.preadv(descriptor, [buffer], offset)
                if way.mode == "buffered":
                    os.posix_fadvise(descriptor, offset, got, os.POSIX_FADV_DONTNEED)
            except OSError as error:
                errors.append(error)
                return
            num_bytes[number] += got

    threads = [threading.Thread(target=read, args=(number,)) for number in range(way.threads)]
    start_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return time.perf_counter() - start_s, sum(num_bytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mb", type=int, default=600, help="how much each way reads (default: %(default)s)")
    arguments = parser.parse_args()
    rates = survey(arguments.folder, arguments.mb * 1_000_000)
    for way, rate in rates.items():
        print(f"{way!s:32} {rate / 1e9:6.2f} GB/s")
    ways = [{**asdict(way), "bytes_per_s": rate} for way, rate in rates.items()]
    print(json.dumps({"benchmark": "plain_read", "ways": ways}))


if __name__ == "__main__":
    main()
