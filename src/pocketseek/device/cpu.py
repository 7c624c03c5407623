"""The processor, from /proc and /sys: its name, the cores this process may use, the fast ones, instruction sets."""

from __future__ import annotations

from pathlib import Path

from pocketseek.device.known import Known
from pocketseek.device.reading import parse_number_list, read_fields, read_int, read_text

# What the kernels choose by; the rest of the flags says nothing about speed here.
_RELEVANT_SETS = (
    "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx_vnni",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip
# Shares of the best core. Little cores of a big.LITTLE chip have well under half of the big ones' capacity, but their
# frequency differs less, so that the second bound is the stricter one.
_FAST_CAPACITY_SHARE = 0.6
_FAST_FREQUENCY_SHARE = 0.8


def cpu_model(root: Path) -> str | None:
    """The name in /proc/cpuinfo: `model name`, or the `Hardware` line of older Android kernels."""
    fields = read_fields(root / "proc/cpuinfo")
    return fields.get("model name") or fields.get("Hardware") or None


def instruction_sets(root: Path) -> tuple[str, ...] | None:
    """The sets we care about that every processor has (a thread may be moved to any of them)."""
    text = read_text(root / "proc/cpuinfo") or ""
    lines = [line.partition(":") for line in text.splitlines()]
    per_core = [set(value.split()) for key, _, value in lines if key.strip() in ("flags", "Features")]
    if not per_core:
        return None
    common = set.intersection(*per_core)
    return tuple(name for name in _RELEVANT_SETS if name in common)


def has_aes(root: Path = Path("/")) -> bool:
    """Whether every processor has instructions for AES, as far as the system tells."""
    text = read_text(root / "proc/cpuinfo") or ""
    lines = [line.partition(":") for line in text.splitlines()]
    per_core = [value.split() for key, _, value in lines if key.strip() in ("flags", "Features")]
    return bool(per_core) and all("aes" in names for names in per_core)


def usable_cores(root: Path) -> tuple[int, ...] | None:
    """The affinity mask of this process, as sched_getaffinity gives it, read where a test can put another one."""
    listed = read_fields(root / "proc/self/status").get("Cpus_allowed_list")
    return parse_number_list(listed) if listed else None


def performance_cores(root: Path, cores: tuple[int, ...]) -> Known[tuple[int, ...]] | None:
    """The fast ones of `cores`, by the kernel's capacity figure where it exists, else by maximal frequency."""
    for name, share in (("cpu_capacity", _FAST_CAPACITY_SHARE), ("cpufreq/cpuinfo_max_freq", _FAST_FREQUENCY_SHARE)):
        speeds = {core: read_int(root / f"sys/devices/system/cpu/cpu{core}" / name) for core in cores}
        known = {core: speed for core, speed in speeds.items() if speed}
        if known and len(known) == len(cores):
            fastest = max(known.values())
            return Known(tuple(core for core in cores if known[core] >= share * fastest), name)
    return None
