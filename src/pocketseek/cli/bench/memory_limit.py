"""`--memory` of a benchmark: the command runs again in a child, in a group that the kernel keeps below the limit.

The child has our input and output and prints the figures itself; `--memory-group` tells it where it is. Where no group
can be made there is no child, and only what pocketseek does by itself keeps the limit.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketseek.cli.bench import bench_messages
from pocketseek.cli.console import format_bytes, note
from pocketseek.cli.messages import Words
from pocketseek.errors import MemoryLimitError


@dataclass(frozen=True)
class MemoryLimit:
    """group: the folder of the group that this process is in; None: nobody enforces the limit."""

    limit_bytes: int
    group: Path | None

    def facts(self) -> dict[str, object]:
        return {"limit_bytes": self.limit_bytes, "enforced": self.group is not None, "peak_bytes": self._peak_bytes()}

    def rows(self, words: Words) -> list[tuple[str, str]]:
        message = bench_messages.ENFORCED if self.group else bench_messages.NOT_ENFORCED
        rows = [(words(bench_messages.LIMIT), words(message, size=format_bytes(self.limit_bytes)))]
        if self.group:
            rows.append((words(bench_messages.GROUP_PEAK), format_bytes(self._peak_bytes())))
        return rows

    def _peak_bytes(self) -> int | None:
        from pocketseek.apps.memory_group import peak_bytes

        return None if self.group is None else peak_bytes(self.group)


def run_limited(limit_bytes: int, command: Sequence[str], words: Words) -> int | None:
    """Run `pocketseek COMMAND ...` in a group and return its exit code; None if no group can be made (a line says why).

    Raises MemoryLimitError if the kernel killed it.
    """
    from pocketseek.apps.memory_group import MemoryGroup, unavailable

    reason = unavailable()
    if reason is not None:
        note(words(bench_messages.NO_GROUP, size=format_bytes(limit_bytes), reason=reason))
        return None
    with MemoryGroup(limit_bytes) as group:
        inside = ("--memory-group", str(group.folder))
        code = group.run([sys.executable, "-P", "-m", "pocketseek", *command[:1], *inside, *command[1:]])
    if code == -signal.SIGKILL:
        raise MemoryLimitError(
            f"killed: it needs more than {format_bytes(limit_bytes)} of memory; "
            "give --memory more, or use a smaller model"
        )
    return code if code >= 0 else 128 - code
