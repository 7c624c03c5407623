"""`check_device`: the plain facts of this machine, each with where it was read. Nothing is measured or judged here.

Every fact that cannot be read is None: unknown is an answer, a guess is not. `root` stands for "/" so that tests (and a
mounted phone image) can be probed. What only the running machine can be asked is unknown of another root: `uname`, the
size of its disk, what a process may do there; and nothing below it is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pocketseek.device import cgroup, cpu, memory, system
from pocketseek.device.accelerators import Accelerator, find_accelerators
from pocketseek.device.chips import Chip, find_chip
from pocketseek.device.clusters import CoreCluster, core_clusters, highest_frequency_hz
from pocketseek.device.execution_provider import ExecutionProvider, choose_provider
from pocketseek.device.known import SourceBook
from pocketseek.device.permissions import Permissions, check_permissions, selinux_context, selinux_mode
from pocketseek.device.physical_cores import PhysicalCores, physical_cores
from pocketseek.device.properties import read_properties
from pocketseek.device.reading import is_here
from pocketseek.device.storage_kind import storage_kind
from pocketseek.device.swap import read_swap
from pocketseek.settings import read_settings


@dataclass(frozen=True)
class DeviceFacts:
    """What check_device found; None means unknown, except where said otherwise. docs/device-details.md has every field.

    usable_cores: numbers of the cores this process may run on. performance_cores: the fast ones of them.
    physical_cores: the processors of each core, two or more with SMT.
    cpu_quota: processors' worth of time that a container grants (None: no quota if it has a source, else unknown).
    instruction_sets: those that matter to the kernels, in Linux's spelling.
    memory_limit_bytes: the container's limit (None as for the quota). memory_available_bytes: what can be taken now
    without swapping, that limit included. storage_free_bytes: on the disk of the data directory.
    accelerators: empty if there are none, None if that is not known.
    clusters: of all cores, the fastest first; empty if nothing is known of them. chip: the row of the chip table.
    sources: for each known field where it was read.
    """

    architecture: str | None
    cpu_model: str | None
    usable_cores: tuple[int, ...] | None
    performance_cores: tuple[int, ...] | None
    cpu_quota: float | None
    instruction_sets: tuple[str, ...] | None
    memory_total_bytes: int | None
    memory_available_bytes: int | None
    memory_limit_bytes: int | None
    data_dir: Path | None
    storage_free_bytes: int | None
    os_name: str | None
    kernel_release: str | None
    android_version: str | None
    phone_model: str | None
    soc_model: str | None
    termux: bool
    pc_model: str | None = None
    android_api_level: int | None = None
    termux_api: bool | None = None
    selinux: str | None = None
    selinux_context: str | None = None
    permissions: Permissions | None = None
    clusters: tuple[CoreCluster, ...] = ()
    physical_cores: PhysicalCores | None = None
    chip: Chip | None = None
    accelerators: tuple[Accelerator, ...] | None = None
    execution_provider: ExecutionProvider | None = None
    swap_total_bytes: int | None = None
    swap_free_bytes: int | None = None
    zram_bytes: int | None = None
    zram_compression: float | None = None
    storage_total_bytes: int | None = None
    storage_filesystem: str | None = None
    storage_device: str | None = None
    storage_kind: str | None = None
    storage_version: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)


def check_device(root: str | Path = "/", *, data_dir: Path | None = None) -> DeviceFacts:
    """Read the facts; never raises for a machine that says little, or says it wrongly.

    data_dir: whose disk is asked about; by default the one pocketseek keeps its models in, of another root that of
    Termux, if it is there.
    """
    root = Path(root)
    data_dir = _data_dir(root) if data_dir is None else data_dir
    properties, book = read_properties(root), SourceBook()
    physical = book.keep("physical_cores", physical_cores(root))
    cores, clusters = cpu.usable_cores(root), book.keep("clusters", core_clusters(root, physical)) or ()
    chip = book.keep("chip", find_chip(system.chip_names(root, properties), highest_frequency_hz(clusters)))
    architecture = book.keep("architecture", system.architecture(root, properties))
    api_level = book.keep("android_api_level", system.android_api_level(properties))
    accelerators = _accelerators(root, chip, book, is_android=bool(properties))
    provider = choose_provider(
        architecture, chip, api_level, has_npu=any(accelerator.kind == "npu" for accelerator in accelerators or ())
    )
    total_bytes, available_bytes = memory.machine_memory(root)
    limit = cgroup.memory_limit(root)
    free_bytes, size_bytes = system.storage_bytes(data_dir) if data_dir and is_here(root) else (None, None)
    swap, storage = read_swap(root), storage_kind(root, data_dir, properties)
    note, keep = book.note, book.keep
    return DeviceFacts(
        architecture=architecture,
        cpu_model=note("cpu_model", cpu.cpu_model(root), "/proc/cpuinfo"),
        usable_cores=note("usable_cores", cores, "/proc/self/status: Cpus_allowed_list"),
        performance_cores=keep("performance_cores", cpu.performance_cores(root, cores) if cores else None),
        cpu_quota=_limit("cpu_quota", cgroup.cpu_quota(root), root, book),
        instruction_sets=note("instruction_sets", cpu.instruction_sets(root), "/proc/cpuinfo"),
        memory_total_bytes=note("memory_total_bytes", total_bytes, "/proc/meminfo: MemTotal"),
        memory_available_bytes=note(
            "memory_available_bytes",
            _smaller(available_bytes, limit.available_bytes if limit else None),
            "/proc/meminfo: MemAvailable" + (", cgroup" if limit else ""),
        ),
        memory_limit_bytes=_limit("memory_limit_bytes", _tighter(limit, total_bytes), root, book),
        data_dir=note("data_dir", data_dir, "settings" if is_here(root) else f"/{system.TERMUX_HOME}"),
        storage_free_bytes=note("storage_free_bytes", free_bytes, "statvfs"),
        os_name=keep("os_name", system.os_name(root)),
        kernel_release=note("kernel_release", system.kernel_release(root), "/proc/sys/kernel/osrelease"),
        android_version=keep("android_version", properties.known("ro.build.version.release")),
        phone_model=keep("phone_model", system.phone_model(root, properties)),
        soc_model=keep("soc_model", system.soc_model(properties)),
        termux=note("termux", system.is_termux(root), f"/{system.TERMUX_PREFIX}"),
        pc_model=keep("pc_model", system.pc_model(root)),
        android_api_level=api_level,
        termux_api=note("termux_api", system.has_termux_api(root), "termux-battery-status"),
        selinux=keep("selinux", selinux_mode(root, properties)),
        selinux_context=note("selinux_context", selinux_context(root), "/proc/self/attr/current"),
        permissions=note("permissions", check_permissions(root) if is_here(root) else None, "tried"),
        clusters=clusters,
        physical_cores=physical,
        chip=chip,
        accelerators=accelerators,
        execution_provider=note("execution_provider", provider, "chip table, ONNX Runtime's documentation"),
        swap_total_bytes=note("swap_total_bytes", swap.total_bytes, "/proc/meminfo: SwapTotal"),
        swap_free_bytes=note("swap_free_bytes", swap.free_bytes, "/proc/meminfo: SwapFree"),
        zram_bytes=note("zram_bytes", swap.zram_bytes, "/proc/swaps"),
        zram_compression=note("zram_compression", swap.zram_compression, "/sys/block/zram*/mm_stat"),
        storage_total_bytes=note("storage_total_bytes", size_bytes, "statvfs"),
        storage_filesystem=keep("storage_filesystem", storage.filesystem),
        storage_device=keep("storage_device", storage.device),
        storage_kind=keep("storage_kind", storage.kind),
        storage_version=keep("storage_version", storage.version),
        sources=book.sources,
    )


def _data_dir(root: Path) -> Path | None:
    if is_here(root):
        return read_settings().home
    return Path("/") / system.TERMUX_HOME if (root / system.TERMUX_HOME).is_dir() else None


def _accelerators(
    root: Path, chip: Chip | None, book: SourceBook, *, is_android: bool
) -> tuple[Accelerator, ...] | None:
    found = find_accelerators(root, chip, is_android=is_android)
    sources = dict.fromkeys(one.source for one in found or ())
    return book.note("accelerators", found, ", ".join(sources) or "/sys/class")


N = TypeVar("N", int, float)


def _limit(name: str, value: N | None, root: Path, book: SourceBook) -> N | None:
    """That there is no limit is a fact with a source, where the groups can be seen."""
    if value is not None or cgroup.is_told(root):
        book.sources[name] = "cgroup"
    return value


def _smaller(first: int | None, second: int | None) -> int | None:
    known = [value for value in (first, second) if value is not None]
    return min(known, default=None)


def _tighter(limit: cgroup.MemoryLimit | None, total_bytes: int | None) -> int | None:
    """A limit above the machine's memory limits nothing."""
    if limit is None or (total_bytes is not None and limit.limit_bytes >= total_bytes):
        return None
    return limit.limit_bytes
