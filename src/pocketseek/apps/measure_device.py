"""What this machine reaches: in memory, in arithmetic, in passes over weights, in storage. Measured once and kept.

    <data directory>/device.json
    {"format": 4, "device": {...}, "figures": {...}}

`device` in it is what the figures hold for: processor, kernels, threads, the file system of the data directory. Figures
of another one, and a damaged file, count as none. They are those of a machine with nothing else to do and not yet hot.
Memory's speed is the median of three measurements with the others between them: one alone has come out half as high
again, in a last-level cache that others had left empty. Storage is measured by measure_storage.py; and in the way that
streaming reads, as found by runtime/residency/read_probe.py, if a model is installed.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from dataclasses import fields as fields_of
from statistics import median

from pocketseek.apps.measure_storage import READ_SIZES, Rates, measure_long_read, measure_storage
from pocketseek.device.caches import largest_cache_bytes
from pocketseek.device.probe import DeviceFacts
from pocketseek.errors import FormatError, StorageError
from pocketseek.formats import FORMATS
from pocketseek.govern.expected_speed import FormatRates, MachineFigures
from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.measure import DEFAULT_BUFFER_BYTES, measure_limits, measure_read_bandwidth
from pocketseek.kernels.measure_pass import measure_passes
from pocketseek.package.reader import Package
from pocketseek.package.sealing.seal_record import read_record
from pocketseek.package.storage import write_file
from pocketseek.package.store import ModelStore
from pocketseek.package.strict_json import Fields, JsonValue, format_error, load_object
from pocketseek.runtime.opening import num_cores
from pocketseek.runtime.residency.read_mode import known_read_mode
from pocketseek.runtime.residency.read_probe import read_mode_for
from pocketseek.settings import Settings

_FORMAT = 4
_MAX_BYTES = 16 * 1024
_MOST_BUFFER_BYTES = 1 << 30
_MEMORY_TIMES = 3
_FIGURES = frozenset(field.name for field in fields_of(MachineFigures))
_PASS = frozenset(field.name for field in fields_of(FormatRates))

Progress = Callable[[int, int], None]


def measure_device(
    settings: Settings,
    facts: DeviceFacts,
    progress: Progress | None = None,
    storage_failed: Callable[[StorageError], None] = lambda error: None,
) -> MachineFigures:
    """Takes some seconds and up to 256 MB of memory (1 GB where caches are large); the figures are kept.
    progress(done, total) counts measurements. storage_failed: told why storage cannot be measured; there are no figures
    of it then, but those of memory and arithmetic.

    Raises MemoryLimitError if memory is refused.
    """
    total = 3 + len(READ_SIZES)

    def done(count: int) -> None:
        if progress is not None:
            progress(count, total)

    done(0)
    kernels = choose_kernels(settings.kernels).name
    threads = settings.num_threads or num_cores(facts)
    buffer_bytes = _buffer_bytes(facts.memory_available_bytes, largest_cache_bytes())
    measured_with = "scalar" if kernels == "reference" else kernels
    limits = measure_limits(measured_with, threads, buffer_bytes=buffer_bytes)
    done(1)
    passes = measure_passes(measured_with, threads, buffer_bytes=buffer_bytes)
    done(2)
    read_bandwidths = [limits.read_bandwidth_bytes_per_s]
    flash: Rates = ()
    direct: Rates = ()
    streaming_rate = long_rate = 0.0
    try:
        flash, direct = measure_storage(settings, lambda count: done(2 + count))
        read_bandwidths.append(measure_read_bandwidth(measured_with, threads, buffer_bytes=buffer_bytes))
        streaming_rate = _streaming_rate(settings)
        long_rate = measure_long_read(settings.models_dir)
    except StorageError as error:
        storage_failed(error)
    while len(read_bandwidths) < _MEMORY_TIMES:
        read_bandwidths.append(measure_read_bandwidth(measured_with, threads, buffer_bytes=buffer_bytes))
    figures = MachineFigures(
        kernels,
        threads,
        median(read_bandwidths),
        limits.int8_multiply_adds_per_s,
        limits.f32_multiply_adds_per_s,
        flash,
        direct,
        streaming_rate,
        long_rate,
        tuple(FormatRates(one.format, one.read_bytes_per_s, one.multiply_adds_per_s) for one in passes.formats),
        passes.layer_s,
    )
    done(total)
    _keep(settings, facts, figures)
    return figures


def _buffer_bytes(available_bytes: int | None, cache_bytes: int | None) -> int:
    """Eight times the largest cache where that is known, within a quarter of what is free."""
    wanted_bytes = min(max(DEFAULT_BUFFER_BYTES, 8 * (cache_bytes or 0)), _MOST_BUFFER_BYTES)
    return min(wanted_bytes, max(32 << 20, (available_bytes or DEFAULT_BUFFER_BYTES) // 4))


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


def _streaming_rate(settings: Settings) -> float:
    """In the way that streaming the largest installed model reads that is not sealed; 0.0 if there is none."""
    installed = [model for model in ModelStore(settings.models_dir).list() if read_record(model.path) is None]
    if not installed:
        return 0.0
    largest = max(installed, key=lambda model: model.manifest.num_bytes)
    known = known_read_mode(settings.home, largest.path)
    if known is None:
        with Package.open(largest.path) as package:
            known = read_mode_for(settings.home, package)
    return known.bytes_per_s


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
    if fields.flag("is_estimate"):
        raise format_error(where, "figures that were not measured")
    return MachineFigures(
        kernels=str(fields.raw("kernels")),
        num_threads=fields.integer("num_threads", 1, 1024),
        read_bandwidth_bytes_per_s=fields.number("read_bandwidth_bytes_per_s", 1.0, 1e14),
        int8_multiply_adds_per_s=fields.number("int8_multiply_adds_per_s", 1.0, 1e17),
        f32_multiply_adds_per_s=fields.number("f32_multiply_adds_per_s", 1.0, 1e17),
        flash=_parse_rates(fields.raw("flash"), where),
        direct=_parse_rates(fields.raw("direct"), where),
        streaming_bytes_per_s=fields.number("streaming_bytes_per_s", 0.0, 1e13),
        long_read_bytes_per_s=fields.number("long_read_bytes_per_s", 0.0, 1e13),
        passes=tuple(_parse_pass(item, where) for item in fields.items("passes")),
        layer_s=fields.number("layer_s", 0.0, 1.0),
    )


def _parse_pass(value: JsonValue, where: str) -> FormatRates:
    fields = Fields(value, where, _PASS)
    name = str(fields.raw("format"))
    if name not in FORMATS:
        raise format_error(where, "an unknown format of weights")
    return FormatRates(
        name, fields.number("read_bytes_per_s", 1.0, 1e14), fields.number("multiply_adds_per_s", 1.0, 1e17)
    )


def _parse_rates(value: JsonValue, where: str) -> Rates:
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise format_error(where, "no list of read speeds")
    pairs = [pair for pair in value if isinstance(pair, list)]
    rates = [Fields({"size": size, "rate": rate}, where, frozenset({"size", "rate"})) for size, rate in pairs]
    return tuple((one.integer("size", 1, 1 << 30), one.number("rate", 1.0, 1e13)) for one in rates)
