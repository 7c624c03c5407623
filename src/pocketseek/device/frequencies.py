"""How fast each core runs now (/sys/devices/system/cpu/cpufreq/policy*), and what the processor draws (RAPL)."""

from __future__ import annotations

from pathlib import Path

from pocketseek.device.reading import numbered_folders, parse_int, read_line, read_signed

_POLICIES = "sys/devices/system/cpu/cpufreq"
_POWERCAP = "sys/class/powercap"
_MOST_CORES = 4096
_LEAST_S = 0.5  # the counters move in steps of a millisecond; half a second is exact enough


def read_frequencies(root: Path) -> tuple[tuple[int, float], ...]:
    """(core, Hz) for every core of every policy that says so."""
    found = []
    for folder in numbered_folders(root / _POLICIES, "policy"):
        khz = read_signed(f"{folder}/scaling_cur_freq")
        if khz is not None and khz > 0:
            cores = read_line(f"{folder}/affected_cpus") or read_line(f"{folder}/related_cpus") or ""
            found += [(core, khz * 1000.0) for core in _cores(cores)]
    return tuple(sorted(found))


class PackagePower:
    """Mean power of the processor packages between two reads, from Intel's and AMD's energy counters; root only."""

    def __init__(self, root: Path) -> None:
        folders = numbered_folders(root / _POWERCAP, "intel-rapl:")
        self._folders = [str(folder) for folder in folders if (read_line(f"{folder}/name") or "")[:7] == "package"]
        self._before: tuple[float, list[int]] | None = None
        self._power_w: float | None = None

    def read(self, time_s: float) -> float | None:
        counters = [read_signed(f"{folder}/energy_uj") for folder in self._folders]
        known = [counter for counter in counters if counter is not None]
        if not known or len(known) != len(counters):
            self._before = self._power_w = None
        elif self._before is None:
            self._before = time_s, known
        elif time_s - self._before[0] >= _LEAST_S:
            used = [self._used_uj(*figures) for figures in zip(self._folders, self._before[1], known, strict=True)]
            self._power_w = sum(used) / 1e6 / (time_s - self._before[0])
            self._before = time_s, known
        return self._power_w

    def _used_uj(self, folder: str, before: int, now: int) -> int:
        """The counter starts again from 0 after its range."""
        return now - before if now >= before else now - before + (read_signed(f"{folder}/max_energy_range_uj") or 0)


def _cores(text: str) -> list[int]:
    numbers = (parse_int(word) for word in text.split())
    return [number for number in numbers if number is not None and number < _MOST_CORES]
