"""What was learnt about the time of passes, kept from one start to the next: a small JSON file per model and device.

    <data directory>/costs/<hash of model and device>.json
    {"format": 2, "model": <SHA-256 of the manifest>, "device": {...}, "curves": {"2": [[tokens, seconds], ...]}}

It only ever saves a few passes of learning: a missing, damaged or foreign file counts as none, and one that cannot be
written is left out. It is written when the engine closes, in one step, and only where a data directory already is.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from pocketseek.errors import FormatError
from pocketseek.package.storage import write_file
from pocketseek.package.strict_json import Fields, JsonValue, format_error, load_object
from pocketseek.runtime.cost_model import MAX_TOKENS, CostModel, CostPoint, PassCosts

_FORMAT = 2  # curves of format 1 took waiting for mapped pages for computing
_MAX_BYTES = 64 * 1024
_MAX_CURVES = 64
_MAX_SECONDS = 3600.0


class CostFile:
    """Reads at once, writes when it is closed."""

    def __init__(
        self,
        data_dir: Path,
        manifest_sha256: str,
        device: Mapping[str, str],
        is_theirs: Callable[[], bool] = lambda: True,
    ) -> None:
        """device: everything that the times depend on besides threads and cores, in words. is_theirs: whether it was
        this device to the end; what was observed of another is not kept."""
        self._data_dir = data_dir
        self._is_theirs = is_theirs
        self._origin: dict[str, JsonValue] = {"format": _FORMAT, "model": manifest_sha256, "device": dict(device)}
        name = hashlib.sha256(json.dumps(self._origin, sort_keys=True).encode()).hexdigest()[:32]
        self.path = data_dir / "costs" / f"{name}.json"
        self.costs = PassCosts(self._read())

    def close(self) -> None:
        """Save what was observed; nothing is written if nothing was."""
        if self.costs.num_observed and self._data_dir.is_dir() and self._is_theirs():
            with suppress(OSError):
                self._write()

    def _read(self) -> dict[str, CostModel]:
        try:
            with self.path.open("rb") as file:
                value = load_object(file.read(_MAX_BYTES + 1), self.path.name, max_bytes=_MAX_BYTES)
            fields = Fields(value, self.path.name, frozenset({*self._origin, "curves"}))
            if any(fields.raw(name) != wanted for name, wanted in self._origin.items()):
                return {}
            return {key: CostModel(_points(value, key)) for key, value in fields.mapping("curves").items()}
        except (OSError, FormatError):
            return {}

    def _write(self) -> None:
        models = list(self.costs.models.items())[-_MAX_CURVES:]
        curves = {key: [list(point) for point in model.points] for key, model in models if model.points}
        data = json.dumps({**self._origin, "curves": curves}, separators=(",", ":")).encode("ascii")
        self.path.parent.mkdir(exist_ok=True)
        temporary = self.path.with_suffix(f".{secrets.token_hex(8)}")
        try:
            write_file(temporary, data)
            os.replace(temporary, self.path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def _points(value: JsonValue, where: str) -> list[CostPoint]:
    if not isinstance(value, list):
        raise format_error(where, "no list of points")
    return [_point(pair, where) for pair in value]


def _point(pair: JsonValue, where: str) -> CostPoint:
    if not isinstance(pair, list) or len(pair) != 2:
        raise format_error(where, "a point is not a pair")
    fields = Fields({"tokens": pair[0], "seconds": pair[1]}, where, frozenset({"tokens", "seconds"}))
    return CostPoint(fields.number("tokens", 1, MAX_TOKENS), fields.number("seconds", 1e-9, _MAX_SECONDS))
