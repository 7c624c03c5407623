"""What `pocketseek doctor` finds."""

from __future__ import annotations

from typing import NamedTuple


class Check(NamedTuple):
    """A finding. A warning is worth knowing and no reason to fail."""

    name: str
    ok: bool
    detail: str
    warning: bool = False

    @property
    def mark(self) -> str:
        return "!!" if not self.ok else "! " if self.warning else "ok"
