"""What this machine reaches at most: reading memory, multiplying bytes, reading its storage. Measured once and kept.

    <data directory>/device.json
    {"format": 1, "device": {...}, "figures": {...}}

`device` in it is what the figures hold for: processor, kernels, threads, the file system of the data directory. Figures
of another one, and a damaged file, count as none. They are those of a machine with nothing else to do and not yet hot.
Storage is read by one reader in reads of several sizes, nothing of it in memory before, from the largest chunk of an
installed model or from a file that is written for it and removed again; and in the way that streaming reads, as found
by runtime/residency/read_probe.py, if a model is installed.
"""

from __future__ import annotations

import json
import os
import secrets
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from pocketseek.device.probe import DeviceFacts
from pocketseek.errors import FormatError, StorageError
from pocketseek.govern.model_verdict import MachineFigures
from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.measure import DEFAULT_BUFFER_BYTES, measure_limits
from pocketseek.package.reader import Package
from pocketseek.package.storage import write_file
from pocketseek.package.store import ModelStore
from pocketseek.package.strict_json import Fields, JsonValue, format_error, load_object
from pocketseek.runtime.opening import num_cores
from pocketseek.runtime.residency.read_mode import known_read_mode
from pocketseek.runtime.residency.read_probe import read_mode_for
from pocketseek.settings import Settings

READ_SIZES = (64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20)
_SAMPLE_BYTES = 96 << 20
_LEAST_SAMPLE_BYTES = 24 << 20
_SIZE_LIMIT_S = 1.5  # for the reads of one size
_ROUNDS = 3
_FORMAT = 1
_MAX_BYTES = 16 * 1024
_RATES = ("read_bandwidth_bytes_per_s", "int8_multiply_adds_per_s", "streaming_bytes_per_s")
_FIGURES = frozenset({"kernels", "num_threads", "flash", *_RATES})

Progress = Callable[[int, int], None]


def measure_device(settings: Settings, facts: DeviceFacts, progress: Progress | None = None) -> MachineFigures:
    """Takes some seconds and up to 256 MB of memory; the figures are kept. progress(done, total) counts measurements.

    Raises MemoryLimitError if memory is refused, StorageError if nothing can be read or written.
    """
    total = 2 + len(READ_SIZES)

    def done(count: int) -> None:
        if progress is not None:
            progress(count, total)

    done(0)
    kernels = choose_kernels(settings.kernels).name
    threads = settings.num_threads or num_cores(facts)
    buffer_bytes = min(DEFAULT_BUFFER_BYTES, max(32 << 20, (facts.memory_available_bytes or DEFAULT_BUFFER_BYTES) // 4))
    measured_with = "scalar" if kernels == "reference" else kernels
    limits = measure_limits(measured_with, threads, buffer_bytes=buffer_bytes)
    done(1)
    flash = measure_flash(settings, lambda count: done(1 + count))
    figures = MachineFigures(
        kernels,
        threads,
        limits.read_bandwidth_bytes_per_s,
        limits.int8_multiply_adds_per_s,
        flash,
        _streaming_rate(settings),
    )
    done(total)
    _keep(settings, facts, figures)
    return figures


def known_figures(settings: Settings, facts: DeviceFacts) -> MachineFigures | None:
    """What was measured before, if it holds for this device and these settings."""
    path = settings.home / "device.json"
    try:
        with path.open("rb") as file:
            value = load_object(file.read(_MAX_BYTES + 1), path.name, max_bytes=_MAX_BYTES)
        fields = Fields(value, path.name, frozenset({"format", "device", "figures"}))
        if fields.raw("format") != _FORMAT or fields.raw("device") != _device(settings, facts):
            return None
        return _parse(fields.raw("figures"), path.name)
    except (OSError, FormatError):
        return None


def measure_flash(settings: Settings, progress: Callable[[int], None]) -> tuple[tuple[int, float], ...]:
    """(bytes of one read, bytes per second) for each of READ_SIZES."""
    largest = _largest_chunk(settings.models_dir)
    if largest is not None:
        return _measure_reads(largest, progress)
    settings.home.mkdir(parents=True, exist_ok=True)
    path = settings.home / f".measure-{secrets.token_hex(8)}"
    try:
        _write_sample(path)
        return _measure_reads(path, progress)
    finally:
        path.unlink(missing_ok=True)


def _measure_reads(path: Path, progress: Callable[[int], None]) -> tuple[tuple[int, float], ...]:
    rates: list[tuple[int, float]] = []
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror}); check the storage") from error
    try:
        num_bytes = min(os.fstat(file).st_size, _SAMPLE_BYTES)
        for count, size in enumerate(READ_SIZES, start=1):
            rates.append((size, _rate(file, num_bytes, size)))
            progress(count)
    finally:
        os.close(file)
    return tuple(rates)


def _streaming_rate(settings: Settings) -> float:
    """In the way that streaming the largest installed model reads; 0.0 if none is installed."""
    installed = ModelStore(settings.models_dir).list()
    if not installed:
        return 0.0
    largest = max(installed, key=lambda model: model.manifest.num_bytes)
    known = known_read_mode(settings.home, largest.path)
    if known is None:
        with Package.open(largest.path) as package:
            known = read_mode_for(settings.home, package)
    return known.bytes_per_s


def _rate(file: int, num_bytes: int, read_bytes: int) -> float:
    """Median of some rounds over the same bytes, which are put out of the page cache before each."""
    rates = []
    buffer = memoryview(bytearray(read_bytes))
    until_s = time.monotonic() + _SIZE_LIMIT_S
    for _ in range(_ROUNDS):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        start_s, total = time.perf_counter(), 0
        for offset in range(0, num_bytes, read_bytes):
            total += os.preadv(file, [buffer], offset)
        rates.append(total / max(1e-9, time.perf_counter() - start_s))
        if time.monotonic() > until_s:
            break
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    return statistics.median(rates)


def _largest_chunk(models_dir: Path) -> Path | None:
    chunks = [(path.stat().st_size, path) for path in models_dir.glob("*/chunks/*") if path.is_file()]
    size, path = max(chunks, default=(0, None))
    return path if size >= _LEAST_SAMPLE_BYTES else None


def _write_sample(path: Path) -> None:
    piece = os.urandom(1 << 20)  # some storage compresses
    try:
        with path.open("xb") as file:
            for _ in range(_SAMPLE_BYTES >> 20):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(
            f"{path.parent} has no room for {_SAMPLE_BYTES >> 20} MiB to measure with ({error.strerror}); free some"
        ) from error


def _device(settings: Settings, facts: DeviceFacts) -> dict[str, JsonValue]:
    volume = os.statvfs(settings.home if settings.home.is_dir() else "/")
    return {
        "processor": facts.cpu_model or facts.soc_model or facts.architecture,
        "kernels": choose_kernels(settings.kernels).name,
        "threads": settings.num_threads or num_cores(facts),
        "blocks": volume.f_blocks,
    }


def _keep(settings: Settings, facts: DeviceFacts, figures: MachineFigures) -> None:
    """Nothing is lost where it cannot be written: it is measured again."""
    value = {"format": _FORMAT, "device": _device(settings, facts), "figures": asdict(figures)}
    temporary = settings.home / f".device-{secrets.token_hex(8)}"
    with suppress(OSError):
        settings.home.mkdir(parents=True, exist_ok=True)
        try:
            write_file(temporary, json.dumps(value).encode("ascii"))
            os.replace(temporary, settings.home / "device.json")
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def _parse(value: JsonValue, where: str) -> MachineFigures:
    fields = Fields(value, where, _FIGURES)
    flash = fields.raw("flash")
    if not isinstance(flash, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in flash):
        raise format_error(where, "no list of read speeds")
    rates = [Fields({"size": size, "rate": rate}, where, frozenset({"size", "rate"})) for size, rate in flash]
    return MachineFigures(
        kernels=str(fields.raw("kernels")),
        num_threads=fields.integer("num_threads", 1, 1024),
        read_bandwidth_bytes_per_s=fields.number("read_bandwidth_bytes_per_s", 1.0, 1e14),
        int8_multiply_adds_per_s=fields.number("int8_multiply_adds_per_s", 1.0, 1e17),
        flash=tuple((one.integer("size", 1, 1 << 30), one.number("rate", 1.0, 1e13)) for one in rates),
        streaming_bytes_per_s=fields.number("streaming_bytes_per_s", 0.0, 1e13),
    )
