"""A control group of Linux that limits the memory of the processes put into it: what a phone does to an app, at will.

Both versions are used: 1 where a memory hierarchy is mounted, otherwise 2 where the memory controller was handed down.
A group is made below the one this process is in (version 2 demands a group without processes of its own, so it may be
one further up, but never above a limit). Making one takes rights that most users and containers do not have: ask
`unavailable` first. Everything counts: anonymous memory, file pages that these processes were the first to read, and
the kernel's share. Nothing swaps. If the limit cannot be kept, the kernel kills a process of the group (SIGKILL).
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from pocketseek.device.reading import read_fields, read_int, read_text
from pocketseek.errors import MemoryLimitError

_MOUNT = Path("/sys/fs/cgroup")
_PREFIX = "pocketseek-bench-"
_PROBE_BYTES = 64 << 20
_END_S = 10.0
_NUMBERS = itertools.count()


@dataclass(frozen=True)
class _Files:
    """How the versions call the same things. swap: written only where the kernel keeps count of it."""

    limit: str
    swap: str
    peak: str
    events: str


_V1 = _Files("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control")
_V2 = _Files("memory.max", "memory.swap.max", "memory.peak", "memory.events")


def unavailable(mount: Path = _MOUNT) -> str | None:
    """Why no group can be made here, in a few words; None if it can. Finds out by making one for a moment."""
    try:
        with MemoryGroup(_PROBE_BYTES, mount=mount):
            return None
    except MemoryLimitError as error:
        return str(error).partition(";")[0]


class MemoryGroup:
    """Use in `with`: entering makes the group, leaving ends what still runs in it and removes it.

    folder: where it is, while it is there. Raises MemoryLimitError on entering if it cannot be made.
    """

    def __init__(self, limit_bytes: int, *, mount: Path = _MOUNT) -> None:
        self.limit_bytes = limit_bytes
        self.folder: Path | None = None
        self._mount = mount
        self._files = _V1
        self._last_peak_bytes: int | None = None
        self._last_kills = 0

    def __enter__(self) -> Self:
        reasons: list[str] = []
        for parent, files in _places(self._mount):
            _remove_leftovers(parent)
            folder = parent / f"{_PREFIX}{os.getpid()}-{next(_NUMBERS)}"
            try:
                folder.mkdir()
            except OSError as error:
                reasons.append(f"{parent}: {error.strerror}")
                continue
            try:
                _try_to_enter(folder)
                _set_limit(folder, files, self.limit_bytes)
            except BaseException as error:  # also Ctrl-C: no empty group stays behind, and it is raised again
                folder.rmdir()
                if not isinstance(error, OSError):
                    raise
                reasons.append(f"{parent}: {error.strerror}")
                continue
            self.folder, self._files = folder, files
            return self
        why = reasons[0] if reasons else "there is no memory hierarchy to make one in"
        raise MemoryLimitError(f"no memory control group can be made ({why}); run as root, or go without a limit")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._last_peak_bytes, self._last_kills = self.peak_bytes, self.num_kills
        folder, self.folder = self.folder, None
        if folder is not None:
            _remove(folder)

    @property
    def peak_bytes(self) -> int | None:
        """The most that the group held so far, or ever did; None if the kernel does not say (version 2 before 5.19)."""
        if self.folder is None:
            return self._last_peak_bytes
        return peak_bytes(self.folder)

    @property
    def num_kills(self) -> int:
        """How many processes of it the kernel has killed for lack of memory."""
        if self.folder is None:
            return self._last_kills
        fields = read_fields(self.folder / self._files.events, None)
        kills = fields.get("oom_kill", "0")
        return int(kills) if kills.isdigit() else 0

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command that runs `command` in the group: a shell enters it and then becomes the command."""
        if self.folder is None:
            raise ValueError("the group is not there; use it in `with`")
        return ["sh", "-c", 'echo 0 > "$0" && exec "$@"', str(self.folder / "cgroup.procs"), *command]

    def run(self, command: Sequence[str]) -> int:
        """Run a command in the group, with our own input and output, until it ends. Returns its code (-9: killed).

        If we are interrupted meanwhile, it is asked to end, and killed if it does not.
        """
        process = subprocess.Popen(self.inside(command))
        try:
            return process.wait()
        except BaseException:  # Ctrl-C above all: the command does not outlive us, and it is raised again
            _end(process)
            raise


def peak_bytes(folder: Path) -> int | None:
    """Of the group in this folder; also for a process inside it."""
    return next((peak for files in (_V1, _V2) if (peak := read_int(folder / files.peak)) is not None), None)


def _places(mount: Path) -> Iterator[tuple[Path, _Files]]:
    """Folders to make a group in, the best first."""
    groups = dict(_own_groups())
    v1 = mount / "memory"
    if "memory" in groups and (v1 / _V1.limit).exists():
        own = v1 / groups["memory"]
        yield (own if own.is_dir() else v1), _V1  # in a container the path may be that of the host
    elif "" in groups and (mount / "cgroup.controllers").exists():
        for folder in (mount / groups[""], *(mount / parent for parent in groups[""].parents)):
            if "memory" in (read_text(folder / "cgroup.subtree_control") or "").split():
                yield folder, _V2
            if (read_text(folder / _V2.limit) or "max") != "max":
                return  # beside a group with a limit one would be outside of that limit


def _own_groups() -> Iterator[tuple[str, PurePosixPath]]:
    """(controller, path) of this process; the controller of version 2 is ""."""
    for line in (read_text(Path("/proc/self/cgroup")) or "").splitlines():
        _, names, path = [*line.split(":", 2), "", ""][:3]
        group = PurePosixPath(path.lstrip("/"))
        if ".." not in group.parts:
            yield from ((name, group) for name in names.split(","))


def _set_limit(folder: Path, files: _Files, limit_bytes: int) -> None:
    (folder / files.limit).write_text(str(limit_bytes))
    swap = folder / files.swap
    if swap.exists():
        swap.write_text(str(limit_bytes) if files is _V1 else "0")  # version 1 counts memory and swap together


def _try_to_enter(folder: Path) -> None:
    """Raises PermissionError if processes cannot be moved into it."""
    entered = subprocess.run(
        ["sh", "-c", 'echo 0 > "$0"', str(folder / "cgroup.procs")], stderr=subprocess.DEVNULL, check=False
    )
    if entered.returncode != 0:
        raise PermissionError(1, "processes cannot be moved into a new group")


def _remove(folder: Path) -> None:
    """Kills what is in it first; waits until the kernel has noticed."""
    give_up_s = time.monotonic() + _END_S
    while True:
        for pid in (read_text(folder / "cgroup.procs") or "").split():
            with suppress(OSError, ValueError):
                os.kill(int(pid), signal.SIGKILL)
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > give_up_s:
                return  # the next one to make a group here removes it
            time.sleep(0.01)
        else:
            return


def _remove_leftovers(parent: Path) -> None:
    """Groups of processes that were killed before they could remove theirs."""
    for folder in parent.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path(f"/proc/{pid}").exists():
            with suppress(OSError):
                folder.rmdir()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
