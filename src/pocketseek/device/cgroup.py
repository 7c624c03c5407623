"""What a container allows this process: the tightest memory limit and processor quota on the way up to the root.

Both cgroup versions are read. Inside a container the path in /proc/self/cgroup may be the host's, so the files at the
mount itself are looked at as well. Not covered: memory.high (it slows a process down, it does not kill it), which
`device/memory_watch.py` counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pocketseek.device.reading import parse_int, read_fields, read_int, read_text

NO_LIMIT_BYTES = 1 << 60  # version 1 says "no limit" with the largest multiple of a page


@dataclass(frozen=True)
class MemoryLimit:
    """limit_bytes: killed above it. available_bytes: what is left of it, file cache that can go counted as free."""

    limit_bytes: int
    available_bytes: int


@dataclass(frozen=True)
class _Names:
    """How the versions call the same things."""

    limit: str
    usage: str
    inactive_file: str


_V1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Names("memory.max", "memory.current", "inactive_file")


def memory_limit(root: Path) -> MemoryLimit | None:
    """The tightest limit; None if there is none."""
    found = [_read_limit(folder, _V2) for folder in group_folders(root, "")]
    found += [_read_limit(folder, _V1) for folder in group_folders(root, "memory")]
    limits = [limit for limit in found if limit]
    if not limits:
        return None
    return MemoryLimit(min(x.limit_bytes for x in limits), min(x.available_bytes for x in limits))


def cpu_quota(root: Path) -> float | None:
    """How many processors' worth of time the process gets; None without a quota."""
    quotas = [_quota_v2(folder) for folder in group_folders(root, "")] + [
        _quota_v1(folder) for folder in group_folders(root, "cpu")
    ]
    return min((quota for quota in quotas if quota), default=None)


def is_told(root: Path) -> bool:
    """Whether the groups of this process can be seen, so that a limit that is not found is none."""
    return read_text(root / "proc/self/cgroup") is not None and os.access(root / "sys/fs/cgroup", os.R_OK | os.X_OK)


def group_folders(root: Path, controller: str, *, mount_name: str | None = None) -> Iterator[Path]:
    """The folders of this process's group and of all groups above it. controller "" is version 2.

    mount_name: the folder of the mount below /sys/fs/cgroup, where it has another name than the controller.
    """
    mount = root / "sys/fs/cgroup" / (controller if mount_name is None else mount_name)
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, names, path = [*line.split(":", 2), "", ""][:3]
        group = PurePosixPath(path.lstrip("/"))
        if controller in names.split(",") and ".." not in group.parts:
            yield from (mount / folder for folder in (group, *group.parents))


def _read_limit(folder: Path, names: _Names) -> MemoryLimit | None:
    limit = read_int(folder / names.limit)
    if limit is None or limit >= NO_LIMIT_BYTES:
        return None
    usage = read_int(folder / names.usage)
    if usage is None:
        return MemoryLimit(limit, limit)
    cache = parse_int(read_fields(folder / "memory.stat", None).get(names.inactive_file, "")) or 0
    return MemoryLimit(limit, max(0, limit - max(0, usage - cache)))


def _quota_v2(folder: Path) -> float | None:
    quota, _, period = (read_text(folder / "cpu.max") or "").partition(" ")
    return _ratio(parse_int(quota), parse_int(period))


def _quota_v1(folder: Path) -> float | None:
    return _ratio(read_int(folder / "cpu.cfs_quota_us"), read_int(folder / "cpu.cfs_period_us"))  # quota -1: none


def _ratio(quota_us: int | None, period_us: int | None) -> float | None:
    return quota_us / period_us if quota_us and period_us else None
