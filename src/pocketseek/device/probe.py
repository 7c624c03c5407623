"""`check_device`: the plain facts of this machine. Nothing is measured and nothing is judged here.

Every fact that cannot be read is None: unknown is an answer, a guess is not. `root` stands for "/" so that tests (and a
mounted phone image) can be probed; only the processor's architecture is always that of the running machine.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from pocketseek.device import cgroup, cpu, memory, system
from pocketseek.settings import read_settings


@dataclass(frozen=True)
class DeviceFacts:
    """What check_device found; None means unknown, except where said otherwise.

    usable_cores: numbers of the cores this process may run on. performance_cores: the fast ones of them.
    cpu_quota: processors' worth of time that a container grants (None: no quota).
    instruction_sets: those that matter to the kernels, in Linux's spelling.
    memory_limit_bytes: the container's limit (None: no limit). memory_available_bytes: what can be taken now without
    swapping, that limit included. storage_free_bytes: on the disk of the data directory.
    """

    architecture: str
    cpu_model: str | None
    usable_cores: tuple[int, ...] | None
    performance_cores: tuple[int, ...] | None
    cpu_quota: float | None
    instruction_sets: tuple[str, ...] | None
    memory_total_bytes: int | None
    memory_available_bytes: int | None
    memory_limit_bytes: int | None
    data_dir: Path
    storage_free_bytes: int | None
    os_name: str | None
    kernel_release: str | None
    android_version: str | None
    phone_model: str | None
    soc_model: str | None
    termux: bool


def check_device(root: str | Path = "/", *, data_dir: Path | None = None) -> DeviceFacts:
    """Read the facts; never raises for a machine that says little.

    data_dir: whose disk's free space is asked for; by default the one pocketseek keeps its models in.
    """
    root = Path(root)
    data_dir = read_settings().home if data_dir is None else data_dir
    cores = cpu.usable_cores(root)
    total_bytes, available_bytes = memory.machine_memory(root)
    limit = cgroup.memory_limit(root)
    return DeviceFacts(
        architecture=platform.machine(),
        cpu_model=cpu.cpu_model(root),
        usable_cores=cores,
        performance_cores=cpu.performance_cores(root, cores) if cores else None,
        cpu_quota=cgroup.cpu_quota(root),
        instruction_sets=cpu.instruction_sets(root),
        memory_total_bytes=total_bytes,
        memory_available_bytes=_smaller(available_bytes, limit.available_bytes if limit else None),
        memory_limit_bytes=_tighter(limit, total_bytes),
        data_dir=data_dir,
        storage_free_bytes=system.free_storage_bytes(data_dir),
        os_name=system.os_name(root),
        kernel_release=system.kernel_release(root),
        android_version=system.android_property(root, "ro.build.version.release"),
        phone_model=system.phone_model(root),
        soc_model=system.soc_model(root),
        termux=system.is_termux(root),
    )


def _smaller(first: int | None, second: int | None) -> int | None:
    known = [value for value in (first, second) if value is not None]
    return min(known, default=None)


def _tighter(limit: cgroup.MemoryLimit | None, total_bytes: int | None) -> int | None:
    """A limit above the machine's memory limits nothing."""
    if limit is None or (total_bytes is not None and limit.limit_bytes >= total_bytes):
        return None
    return limit.limit_bytes
