"""Cores, and the processors that the kernel counts for them: two or more where a core has SMT (hyper-threading).

From topology/core_cpus_list of each processor, or thread_siblings_list, as it was called before Linux 5.3. A processor
that is switched off has neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pocketseek.device.known import Known
from pocketseek.device.reading import numbered_folders, parse_number_list, read_line

_CPUS = "sys/devices/system/cpu"
_FILES = ("core_cpus_list", "thread_siblings_list")

PhysicalCores = tuple[tuple[int, ...], ...]


def physical_cores(root: Path) -> Known[PhysicalCores] | None:
    """The processors of each core, in the order of the first; None where the kernel does not tell."""
    found: dict[tuple[int, ...], str] = {}
    for folder in numbered_folders(root / _CPUS, "cpu"):
        for name in _FILES:
            processors = parse_number_list(read_line(str(folder / "topology" / name)) or "")
            if processors is not None and int(folder.name.removeprefix("cpu")) in processors:
                found.setdefault(processors, f"topology/{name}")
                break
    return Known(tuple(sorted(found)), ", ".join(dict.fromkeys(found.values()))) if found else None


def one_per_core(processors: Iterable[int], cores: PhysicalCores | None) -> tuple[int, ...]:
    """The first of these processors in each core; one that the kernel puts into no core is a core of its own."""
    core_of = {processor: core for core in cores or () for processor in core}
    first: dict[tuple[int, ...], int] = {}
    for processor in sorted(processors):
        first.setdefault(core_of.get(processor, (processor,)), processor)
    return tuple(sorted(first.values()))


def count_cores(processors: Iterable[int], cores: PhysicalCores | None) -> int:
    """How many cores these processors are."""
    return len(one_per_core(processors, cores))
