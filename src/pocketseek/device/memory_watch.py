"""How much memory there is at this moment: of the machine, of the container, taken by this process, and the stalls.

Made for being asked several times a second: the folders of the groups are found once, and again only when the system
moved the process to another group. Every fact that cannot be read is None; nothing is judged here. `root` stands for
"/", except for the page faults, which are always those of the running process.

Not covered: version 1's limit on memory and swap together (memory.memsw) and its soft limit; pages locked with mlock,
which neither the machine's nor the group's figures count as memory that could be had.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

from pocketseek.device.cgroup import NO_LIMIT_BYTES, group_folders
from pocketseek.device.pressure import line_value, stall_us, whole_number
from pocketseek.device.reading import read_bytes

_ROOT = Path("/")
_UNIFIED = "unified"  # where version 2 is mounted beside version 1


@dataclass(frozen=True)
class MemoryFacts:
    """What is known now; None: unknown, or no limit.

    machine_available_bytes: what the machine could give without swapping, file cache that can go counted as free.
    own_anonymous_bytes: in memory and backed by no file.
    group_limit_bytes: the tightest limit on the way up (version 2: of memory.max and memory.high). group_room_bytes:
    the tightest of limit - usage + file cache, at least 0: what the group could take if its file pages were dropped.
    stall_us: time during which some task waited for memory, in all (PSI). stall_is_own: of the process's own group
    (version 2); otherwise of the whole machine, where it may be the trouble of some other container.
    major_faults: page faults of this process that read from storage, in all.
    """

    machine_total_bytes: int | None = None
    machine_available_bytes: int | None = None
    own_anonymous_bytes: int | None = None
    group_limit_bytes: int | None = None
    group_room_bytes: int | None = None
    stall_us: int | None = None
    stall_is_own: bool = False
    major_faults: int | None = None


@dataclass(frozen=True)
class _Group:
    """One folder's files, and how its version calls the file cache in memory.stat."""

    limits: tuple[str, ...]
    usage: str
    stat: str
    cache_fields: tuple[bytes, bytes]


class MemoryWatch:
    """Keeps where to look. One thread at a time."""

    def __init__(self, root: Path = _ROOT) -> None:
        self._root = root
        self._meminfo = str(root / "proc/meminfo")
        self._status = str(root / "proc/self/status")
        self._membership_file = str(root / "proc/self/cgroup")
        self._membership = read_bytes(self._membership_file)
        self._find_groups()

    def read(self) -> MemoryFacts:
        self._follow_moves()
        machine, own = read_bytes(self._meminfo), read_bytes(self._status)
        limit_bytes, room_bytes = self._read_groups()
        anonymous_bytes = _kilobytes(own, b"RssAnon:")
        if anonymous_bytes is not None:
            anonymous_bytes += _kilobytes(own, b"RssShmem:") or 0
        return MemoryFacts(
            machine_total_bytes=_kilobytes(machine, b"MemTotal:"),
            machine_available_bytes=_kilobytes(machine, b"MemAvailable:"),
            own_anonymous_bytes=anonymous_bytes,
            group_limit_bytes=limit_bytes,
            group_room_bytes=room_bytes,
            stall_us=stall_us(read_bytes(self._pressure)) if self._pressure else None,
            stall_is_own=self._pressure_is_own,
            major_faults=resource.getrusage(resource.RUSAGE_SELF).ru_majflt,
        )

    def _follow_moves(self) -> None:
        membership = read_bytes(self._membership_file)
        if membership != self._membership:
            self._membership = membership
            self._find_groups()

    def _find_groups(self) -> None:
        v1 = list(group_folders(self._root, "memory"))
        v2 = [*group_folders(self._root, ""), *group_folders(self._root, "", mount_name=_UNIFIED)]
        groups = [_group_v1(folder) for folder in v1] + [_group_v2(folder) for folder in v2]
        self._groups = tuple(group for group in groups if any(read_bytes(file) is not None for file in group.limits))
        self._pressure, self._pressure_is_own = self._find_pressure(v2)

    def _find_pressure(self, groups: list[Path]) -> tuple[str | None, bool]:
        """The nearest that says how long it stalls. The root group is the whole machine: it alone has no cgroup.type,
        which tells it from a container's own group that is mounted as a root."""
        for group in groups:
            file = str(group / "memory.pressure")
            if stall_us(read_bytes(file)) is not None:
                return file, read_bytes(str(group / "cgroup.type")) is not None
        file = str(self._root / "proc/pressure/memory")
        return (file, False) if stall_us(read_bytes(file)) is not None else (None, False)

    def _read_groups(self) -> tuple[int | None, int | None]:
        """(tightest limit, tightest room)."""
        limits_bytes, rooms_bytes = [], []
        for group in self._groups:
            limit_bytes = _limit_bytes(group)
            if limit_bytes is not None:
                limits_bytes.append(limit_bytes)
                rooms_bytes.append(_room_bytes(group, limit_bytes))
        return min(limits_bytes, default=None), min((room for room in rooms_bytes if room is not None), default=None)


def read_memory(root: Path = _ROOT) -> MemoryFacts:
    """One look, for those who look once."""
    return MemoryWatch(root).read()


def _group_v1(folder: Path) -> _Group:
    return _Group(
        limits=(str(folder / "memory.limit_in_bytes"),),
        usage=str(folder / "memory.usage_in_bytes"),
        stat=str(folder / "memory.stat"),
        cache_fields=(b"total_active_file ", b"total_inactive_file "),
    )


def _group_v2(folder: Path) -> _Group:
    return _Group(
        limits=(str(folder / "memory.max"), str(folder / "memory.high")),
        usage=str(folder / "memory.current"),
        stat=str(folder / "memory.stat"),
        cache_fields=(b"active_file ", b"inactive_file "),
    )


def _limit_bytes(group: _Group) -> int | None:
    numbers = [whole_number(read_bytes(file)) for file in group.limits]
    return min((number for number in numbers if number is not None and number < NO_LIMIT_BYTES), default=None)


def _room_bytes(group: _Group, limit_bytes: int) -> int | None:
    usage_bytes = whole_number(read_bytes(group.usage))
    if usage_bytes is None:
        return None
    stat = read_bytes(group.stat)
    cache_bytes = sum(whole_number(line_value(stat, name)) or 0 for name in group.cache_fields)
    return max(0, limit_bytes - max(0, usage_bytes - cache_bytes))


def _kilobytes(text: bytes | None, name: bytes) -> int | None:
    number, _, unit = (line_value(text, name) or b"").partition(b" ")
    parsed = whole_number(number)
    return parsed * 1024 if parsed is not None and unit == b"kB" else None
