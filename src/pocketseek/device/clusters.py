"""Groups of equal cores: design, highest frequency and capacity, the fastest group first.

A group is a set of cores with the same design (/proc/cpuinfo), the same cpuinfo_max_freq and the same cpu_capacity: on
phones that is what shares a clock. Cores of which none of the three is known are left out; a virtual machine may tell
the capacity alone. Not covered: cores that are switched off for good (they are in neither place).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketseek.device.core_parts import core_name
from pocketseek.device.known import Known
from pocketseek.device.physical_cores import PhysicalCores, count_cores
from pocketseek.device.reading import numbered_folders, parse_int, read_int, read_text

_CPUS = "sys/devices/system/cpu"


@dataclass(frozen=True)
class CoreCluster:
    """cores: numbers of their processors, several for a core with SMT; num_cores: how many cores that are, None: not
    known. part: name of the design ("Cortex-X4"). capacity: the kernel's, 1024 for the fastest."""

    cores: tuple[int, ...]
    max_frequency_hz: float | None
    part: str | None
    capacity: int | None
    num_cores: int | None = None


@dataclass(frozen=True)
class _Kind:
    part: str | None
    max_frequency_hz: float | None
    capacity: int | None


def core_clusters(root: Path, physical: PhysicalCores | None = None) -> Known[tuple[CoreCluster, ...]] | None:
    parts = _parts(root)
    folders = {int(folder.name.removeprefix("cpu")): folder for folder in numbered_folders(root / _CPUS, "cpu")}
    groups: dict[_Kind, list[int]] = {}
    for core in sorted(folders.keys() | parts.keys()):
        kind = _kind(root / _CPUS / f"cpu{core}", parts.get(core))
        if kind != _Kind(None, None, None):
            groups.setdefault(kind, []).append(core)
    clusters = [
        CoreCluster(
            tuple(cores),
            kind.max_frequency_hz,
            kind.part,
            kind.capacity,
            count_cores(cores, physical) if physical else None,
        )
        for kind, cores in groups.items()
    ]
    clusters.sort(key=lambda one: (one.capacity or 0, one.max_frequency_hz or 0, one.cores), reverse=True)
    return Known(tuple(clusters), _source(clusters)) if clusters else None


def highest_frequency_hz(clusters: Sequence[CoreCluster]) -> float | None:
    return max((one.max_frequency_hz for one in clusters if one.max_frequency_hz is not None), default=None)


def _kind(folder: Path, part: str | None) -> _Kind:
    frequency_khz = read_int(folder / "cpufreq/cpuinfo_max_freq")
    return _Kind(part, frequency_khz * 1e3 if frequency_khz else None, read_int(folder / "cpu_capacity") or None)


def _parts(root: Path) -> dict[int, str]:
    """Design of each core; those without a number or a known design are left out."""
    found: dict[int, str] = {}
    core, implementer = None, None
    for line in (read_text(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "processor":
            core, implementer = parse_int(value), None
        elif key == "CPU implementer":
            implementer = _hexadecimal(value)
        elif key == "CPU part" and core is not None and (name := core_name(implementer, _hexadecimal(value))):
            found[core] = name
    return found


def _hexadecimal(text: str) -> int | None:
    try:
        return int(text, 16) if text.startswith("0x") and len(text) <= 10 else None
    except ValueError:
        return None


def _source(clusters: Sequence[CoreCluster]) -> str:
    places = {
        "/proc/cpuinfo": any(one.part for one in clusters),
        "cpufreq/cpuinfo_max_freq": any(one.max_frequency_hz for one in clusters),
        "cpu_capacity": any(one.capacity for one in clusters),
    }
    return ", ".join(place for place, used in places.items() if used)
