"""The chip table: what is published of phone chips, found by the names that Android and device trees give them.

The rows lie in chips.json beside this file, each with its sources; `parse_chips` is the one place that reads them, and
refuses what it does not expect. A figure on which sources differ, or that nobody publishes, is null. Several chips may
share a name (a codename, or one number for two clock bins): then the highest core frequency that the kernel tells
decides, and without one the row whose id is that name; if neither does, the chip is unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pocketseek.device.chip_fields import ChipFields, JsonValue, TableError
from pocketseek.device.known import Known

_FILE = Path(__file__).parent / "chips.json"
_FORMAT = 1
_SAME_FREQUENCY = 0.025  # kernels round (3187 MHz for "3.2 GHz"); clock bins of one design differ by 3 % and more
_NUMBER = re.compile(r"(?:sm|mt|s5e)\d{4}")  # MT6893Z/CZA, SM8550-AB: the package and the bin follow the number


@dataclass(frozen=True)
class Cluster:
    """Cores of one kind as the maker describes them."""

    num_cores: int
    core: str
    max_frequency_hz: float | None


@dataclass(frozen=True)
class Chip:
    """execution_provider: the one of ONNX Runtime that reaches the NPU ("QNN", "NNAPI", "CoreML"); None: not known.

    memory_bandwidth_bytes_per_s: the peak, bus width times data rate. source: what the figures were taken from.
    """

    id: str
    names: tuple[str, ...]
    marketing_name: str
    year: int
    process_nm: int | None
    clusters: tuple[Cluster, ...]
    gpu: str | None
    npu: str | None
    execution_provider: str | None
    memory_type: str | None
    memory_bandwidth_bytes_per_s: float | None
    source: str


@cache
def known_chips() -> tuple[Chip, ...]:
    return parse_chips(_FILE.read_bytes())


def parse_chips(data: bytes) -> tuple[Chip, ...]:
    """Raises TableError: the table is part of the program, so a wrong one is a fault of the program."""
    try:
        top = ChipFields(json.loads(data.decode("utf-8")), "chip table")
    except ValueError as error:
        raise TableError(f"chip table: not valid JSON ({error})") from error
    top.expect("format", "sources", "addresses", "chips")
    if top.whole("format", 1, 10**6) != _FORMAT:
        raise TableError("chip table: another format")
    sources = _with_addresses(top.object("sources"), top.object("addresses"))
    chips = tuple(_parse_chip(ChipFields(row, "chip table"), sources) for row in top.array("chips"))
    ids = [chip.id for chip in chips]
    if len(set(ids)) != len(ids):
        raise TableError("chip table: an id comes twice")
    return chips


def find_chip(names: Iterable[Known[str]], max_frequency_hz: float | None = None) -> Known[Chip] | None:
    """The chip that the first telling name belongs to. max_frequency_hz: of the fastest core, as the kernel says."""
    for known in names:
        for name in _spellings(known.value):
            chip = _choose(name, [chip for chip in known_chips() if name in chip.names], max_frequency_hz)
            if chip is not None:
                return Known(chip, f"chip table: {chip.id} (by {known.source})")
    return None


def _choose(name: str, chips: Sequence[Chip], max_frequency_hz: float | None) -> Chip | None:
    if len(chips) > 1 and max_frequency_hz is not None:
        chips = [chip for chip in chips if _fits(chip, max_frequency_hz)] or chips
    if len(chips) == 1:
        return chips[0]
    return next((chip for chip in chips if chip.id.lower() == name), None)


def _fits(chip: Chip, frequency_hz: float) -> bool:
    known = [cluster.max_frequency_hz for cluster in chip.clusters if cluster.max_frequency_hz is not None]
    return bool(known) and abs(max(known) / frequency_hz - 1) <= _SAME_FREQUENCY


def _spellings(name: str) -> list[str]:
    """ "Qualcomm Technologies, Inc SM8250" -> itself, its last word, the number without what follows it."""
    whole = name.strip().lower().replace(" ", "_")
    last = whole.rpartition("_")[2]
    numbers = [match.group() for word in (whole, last) if (match := _NUMBER.match(word))]
    return list(dict.fromkeys([whole, last, *numbers]))


def _parse_chip(row: ChipFields, sources: dict[str, str]) -> Chip:
    row.expect(
        *("id", "names", "marketing_name", "year", "process_nm", "clusters", "gpu", "npu", "execution_provider"),
        *("memory_type", "memory_bus_bits", "memory_data_rate_mt_per_s", "sources"),
    )
    row = row.named(row.text("id"))
    bus_bits, rate = row.maybe_whole("memory_bus_bits", 8, 1024), row.maybe_whole("memory_data_rate_mt_per_s", 1, 10**5)
    names = row.texts("names")
    if any(name != name.lower() or " " in name for name in names):
        raise TableError(f"{row.where}: a name with capitals or blanks is never found")
    return Chip(
        id=row.text("id"),
        names=names,
        marketing_name=row.text("marketing_name"),
        year=row.whole("year", 2015, 2100),
        process_nm=row.maybe_whole("process_nm", 1, 100),
        clusters=tuple(_parse_cluster(value, row.where) for value in row.array("clusters")),
        gpu=row.maybe_text("gpu"),
        npu=row.maybe_text("npu"),
        execution_provider=row.maybe_text("execution_provider", ("QNN", "NNAPI", "CoreML")),
        memory_type=row.maybe_text("memory_type"),
        memory_bandwidth_bytes_per_s=bus_bits / 8 * rate * 1e6 if bus_bits and rate else None,
        source="; ".join(_source(name, sources, row.where) for name in row.texts("sources")),
    )


def _parse_cluster(value: JsonValue, where: str) -> Cluster:
    row = ChipFields(value, where)
    row.expect("num_cores", "core", "max_frequency_mhz")
    frequency_mhz = row.maybe_whole("max_frequency_mhz", 100, 10_000)
    return Cluster(row.whole("num_cores", 1, 64), row.text("core"), frequency_mhz * 1e6 if frequency_mhz else None)


def _with_addresses(sources: Mapping[str, JsonValue], addresses: Mapping[str, JsonValue]) -> dict[str, str]:
    """What each source is, and where it is read where that is known."""
    if unknown := sorted(set(addresses) - set(sources)):
        raise TableError(f"chip table: an address of {unknown[0]}, which is no source")
    return {name: f"{text}, {addresses[name]}" if name in addresses else f"{text}" for name, text in sources.items()}


def _source(name: str, sources: dict[str, str], where: str) -> str:
    if name not in sources:
        raise TableError(f"{where}: the source {name} is not described")
    return sources[name]
