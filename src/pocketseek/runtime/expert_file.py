"""Which experts a model used, kept from one start to the next, so that the right ones are read first: a small JSON file
per model.

    <data directory>/experts/<SHA-256 of the manifest>.json
    {"format": 1, "model": <SHA-256 of the manifest>, "policy": "decayed-frequency", "state": {...}}

It only ever saves reading: a missing, damaged or foreign file counts as none, and one that cannot be written is left
out. It is written when the engine closes, in one step, and only where a data directory already is. How often experts
were used tells a little about what was talked about; so where nothing may be left in the clear, nothing is kept.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pocketseek.errors import FormatError
from pocketseek.package.storage import write_file
from pocketseek.package.strict_json import Fields, JsonValue, load_object
from pocketseek.runtime.residency.expert_policies import ExpertPolicy

_FORMAT = 1
_MAX_BYTES = 4 << 20


class ExpertFile:
    """Teaches the policy at once, writes what it knows when it is closed."""

    def __init__(
        self,
        data_dir: Path,
        manifest_sha256: str,
        policy: ExpertPolicy,
        may_keep: Callable[[], bool] = lambda: True,
    ) -> None:
        """may_keep: asked before anything is read or written."""
        self._data_dir = data_dir
        self._policy = policy
        self._may_keep = may_keep
        self._origin: dict[str, JsonValue] = {"format": _FORMAT, "model": manifest_sha256, "policy": policy.name}
        self.path = data_dir / "experts" / f"{manifest_sha256}.json"
        if may_keep():
            self._read()
        self._before = policy.state()

    def close(self) -> None:
        """Nothing is written if nothing was learnt."""
        if self._data_dir.is_dir() and self._policy.state() != self._before and self._may_keep():
            with suppress(OSError):
                self._write()

    def _read(self) -> None:
        with suppress(OSError, FormatError):
            with self.path.open("rb") as file:
                value = load_object(file.read(_MAX_BYTES + 1), self.path.name, max_bytes=_MAX_BYTES)
            fields = Fields(value, self.path.name, frozenset({*self._origin, "state"}))
            if all(fields.raw(name) == wanted for name, wanted in self._origin.items()):
                self._policy.restore(fields.mapping("state"))

    def _write(self) -> None:
        data = json.dumps({**self._origin, "state": self._policy.state()}, separators=(",", ":")).encode("ascii")
        self.path.parent.mkdir(exist_ok=True)
        temporary = self.path.with_suffix(f".{secrets.token_hex(8)}")
        try:
            write_file(temporary, data)
            os.replace(temporary, self.path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
