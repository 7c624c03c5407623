"""The facts of a device as rows for a person: the short screen, and the list of every fact with its source."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

from pocketseek.cli import messages
from pocketseek.cli.console import format_bytes
from pocketseek.cli.device import device_messages as m
from pocketseek.cli.messages import Message, Words
from pocketseek.device.accelerators import Accelerator
from pocketseek.device.chips import Chip
from pocketseek.device.clusters import CoreCluster
from pocketseek.device.execution_provider import ExecutionProvider
from pocketseek.device.permissions import Permissions
from pocketseek.device.physical_cores import count_cores
from pocketseek.device.probe import DeviceFacts

Row = tuple[str, str]
_NOT_SHOWN = ("sources",)
_CAN_BE_NONE = ("cpu_quota", "memory_limit_bytes")  # of these, None with a source says that there is none


def short_rows(facts: DeviceFacts, words: Words) -> list[Row]:
    """What matters, in order: the device, what computes, memory, storage, what is allowed. Unknown rows are left out,
    but for those that every device has."""
    rows: list[tuple[Message, str | None]] = [
        (m.PHONE, facts.phone_model or facts.pc_model),
        (m.SYSTEM, _system(facts, words) or words(messages.UNKNOWN)),
        (m.CHIP, _chip(facts, words)),
        (m.PROCESSOR, _processor(facts) or words(messages.UNKNOWN)),
        (m.CORES, _cores(facts, words)),
        (m.QUOTA, f"{facts.cpu_quota:g}" if facts.cpu_quota else None),
        (m.SETS, _joined(facts.instruction_sets, words)),
        (m.GPU, _accelerators(facts.accelerators, "gpu")),
        (m.NPU, _accelerators(facts.accelerators, "npu")),
        (m.PROVIDER, _provider(facts.execution_provider, words)),
        (m.MEMORY, _memory(facts, words)),
        (m.LIMIT, format_bytes(facts.memory_limit_bytes) if facts.memory_limit_bytes else None),
        (m.SWAP, _swap(facts, words)),
        (m.STORAGE, _storage(facts, words)),
        (m.ACCESS, _access(facts.permissions, words)),
    ]
    return [(words(label), value) for label, value in rows if value]


def source_rows(facts: DeviceFacts, words: Words) -> list[tuple[str, str, str]]:
    """(field, value, where it was read) of every fact, in the order of DeviceFacts."""
    values = {field.name: getattr(facts, field.name) for field in dataclasses.fields(facts)}
    return [
        (name, _value(name, value, facts.sources.get(name, ""), words), facts.sources.get(name, ""))
        for name, value in values.items()
        if name not in _NOT_SHOWN
    ]


def _value(name: str, value: object, source: str, words: Words) -> str:
    is_none = (name in _CAN_BE_NONE and value is None) or (name == "accelerators" and value == ())
    if is_none and source:
        return words(messages.NONE)
    if name == "physical_cores" and isinstance(value, tuple):
        return " ".join(",".join(str(processor) for processor in core) for core in value)
    return format_bytes(value) if name.endswith("_bytes") and isinstance(value, int) else _plain(value, words)


def _chip(facts: DeviceFacts, words: Words) -> str | None:
    chip = facts.chip
    if chip is None:
        return facts.soc_model
    name = words(m.CHIP_VALUE, name=chip.marketing_name, id=chip.id, year=chip.year)
    return f"{name}{words(m.PART_COMMA)}{chip.process_nm} nm" if chip.process_nm else name


def _cores(facts: DeviceFacts, words: Words) -> str:
    usable, fast = facts.usable_cores, facts.performance_cores
    unknown = words(messages.UNKNOWN)
    counts = unknown
    if usable:
        num_usable = count_cores(usable, facts.physical_cores)
        num_fast = count_cores(fast, facts.physical_cores) if fast else unknown
        message = m.CORES_USABLE if num_usable == len(usable) else m.CORES_USABLE_SMT
        counts = words(message, usable=num_usable, fast=num_fast, threads=len(usable))
    named = [_cluster(cluster, words) for cluster in facts.clusters if cluster.part or cluster.max_frequency_hz]
    return "\n".join([*named, counts])


def _cluster(cluster: CoreCluster, words: Words) -> str:
    """ "3 × Cortex-A720 3.15 GHz"; a core with SMT is one core."""
    number = cluster.num_cores or len(cluster.cores)
    name = f"{number} × {cluster.part}" if cluster.part else f"{number} ×"
    frequency = f"{cluster.max_frequency_hz / 1e9:.2f} GHz" if cluster.max_frequency_hz else ""
    if not cluster.part and not frequency:
        frequency = words(m.CAPACITY, capacity=cluster.capacity)
    text = f"{name} {frequency}".rstrip()
    if number == len(cluster.cores):
        return text
    return words(m.CLUSTER_SMT, cluster=text, threads=len(cluster.cores))


def _processor(facts: DeviceFacts) -> str | None:
    if facts.cpu_model and facts.architecture:
        return f"{facts.cpu_model} ({facts.architecture})"
    return facts.cpu_model or facts.architecture


def _accelerators(found: tuple[Accelerator, ...] | None, kind: str) -> str | None:
    return "; ".join(_accelerator(one) for one in found or () if one.kind == kind) or None


def _accelerator(one: Accelerator) -> str:
    return f"{one.name} ({one.driver})" if one.name and one.driver else one.name or one.driver or "?"


def _provider(provider: ExecutionProvider | None, words: Words) -> str | None:
    return f"{provider.name}: {words(m.REASONS[provider.reason])}" if provider else None


def _memory(facts: DeviceFacts, words: Words) -> str:
    unknown = words(messages.UNKNOWN)
    available, total = (format_bytes(n, unknown) for n in (facts.memory_available_bytes, facts.memory_total_bytes))
    is_known = (available, total) != (unknown, unknown)
    parts = [words(messages.MEMORY_VALUE, available=available, total=total) if is_known else unknown]
    if facts.chip and facts.chip.memory_type:
        parts.append(facts.chip.memory_type)
        if rate := facts.chip.memory_bandwidth_bytes_per_s:
            parts.append(words(m.MEMORY_SPEED, rate=f"{rate / 1e9:.1f} GB/s"))
    return words(m.PART_COMMA).join(parts)


def _swap(facts: DeviceFacts, words: Words) -> str | None:
    if not facts.swap_total_bytes:
        return None
    total, zram_bytes = format_bytes(facts.swap_total_bytes), facts.zram_bytes
    if zram_bytes is None:
        return total
    if zram_bytes == 0:
        return words(m.SWAP_STORAGE, total=total)
    if zram_bytes >= facts.swap_total_bytes:
        return words(m.SWAP_ZRAM, total=total)
    return words(m.SWAP_MIXED, total=total, zram=format_bytes(zram_bytes))


def _storage(facts: DeviceFacts, words: Words) -> str:
    unknown = words(messages.UNKNOWN)
    parts: list[str] = []
    if facts.storage_free_bytes is not None:
        total = format_bytes(facts.storage_total_bytes, unknown)
        parts.append(words(m.STORAGE_VALUE, free=format_bytes(facts.storage_free_bytes), total=total))
    kind = facts.storage_kind
    if kind:
        name = words(m.KINDS[kind]) if kind in m.KINDS else kind
        parts.append(f"{name} {facts.storage_version}" if facts.storage_version else name)
    parts += [facts.storage_filesystem] if facts.storage_filesystem else []
    parts += [words(m.STORAGE_AT, path=facts.data_dir)] if facts.data_dir else []
    return words(m.PART_COMMA).join(parts) or unknown


def _access(permissions: Permissions | None, words: Words) -> str | None:
    if permissions is None:
        return None
    rights = {name: getattr(permissions, name) for name in m.PERMISSIONS}
    lines = [
        words(message, what=words(m.LIST_COMMA).join(what))
        for message, wanted in ((m.ACCESS_GRANTED, True), (m.ACCESS_REFUSED, False))
        if (what := [words(m.PERMISSIONS[name]) for name, value in rights.items() if value is wanted])
    ]
    return "\n".join(lines) or None


def _joined(names: tuple[str, ...] | None, words: Words) -> str:
    if names is None:
        return words(messages.UNKNOWN)
    return " ".join(names) or words(messages.NONE)


def _system(facts: DeviceFacts, words: Words) -> str:
    return words(m.PART_COMMA).join(_system_parts(facts, words))


def _system_parts(facts: DeviceFacts, words: Words) -> Iterator[str]:
    if facts.android_version:
        level = f" (API {facts.android_api_level})" if facts.android_api_level is not None else ""
        yield f"Android {facts.android_version}{level}"
    if facts.termux:
        yield words(m.TERMUX_API if facts.termux_api else m.TERMUX)
    if facts.os_name:
        yield facts.os_name
    if facts.kernel_release:
        yield f"Linux {facts.kernel_release}"
    if facts.selinux in ("enforcing", "permissive"):
        yield f"SELinux {facts.selinux}"


def _plain(value: object, words: Words) -> str:
    """One fact, short: what a thing is called rather than all that is known of it."""
    if value is None or value == ():
        return words(messages.UNKNOWN)
    if isinstance(value, bool):
        return words(m.YES if value else m.NO)
    if isinstance(value, CoreCluster):
        return _cluster(value, words)
    if isinstance(value, Accelerator):
        return _accelerator(value)
    if isinstance(value, Chip):
        return value.marketing_name
    if isinstance(value, ExecutionProvider):
        return value.name
    if isinstance(value, Permissions):
        return _plain(dataclasses.asdict(value), words)
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_plain(one, words)}" for name, one in value.items())
    if isinstance(value, tuple):
        return ("; " if isinstance(value[0], CoreCluster | Accelerator) else " ").join(
            _plain(one, words) for one in value
        )
    return f"{value:g}" if isinstance(value, float) else str(value) if isinstance(value, str | int | Path) else "?"
