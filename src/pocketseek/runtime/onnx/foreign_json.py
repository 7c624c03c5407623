"""JSON files of other programs beside a model: read without trust, unknown fields are theirs to have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pocketseek.errors import FormatError
from pocketseek.package.storage import storage_errors

_MAX_BYTES = 16 * 1024 * 1024  # tokenizer_config.json with a template in it; config.json has 2 kB
_REMEDY = "export or download the model again"


@dataclass(frozen=True)
class ForeignObject:
    """where: for messages, "config.json" or "genai_config.json: model.decoder"."""

    values: Mapping[str, object]
    where: str

    def inner(self, name: str) -> ForeignObject:
        """The object of that name, empty if there is none. Raises FormatError if it is something else."""
        value = self.values.get(name)
        if value is None:
            return ForeignObject({}, f"{self.where}: {name}")
        if not isinstance(value, Mapping):
            raise FormatError(f"{self.where}: {name} is not an object; {_REMEDY}")
        return ForeignObject(value, f"{self.where}: {name}")

    def integer(self, *names: str, default: int | None = None, highest: int = 2**26) -> int:
        """From 1 on; the first of these names that is there. Raises FormatError."""
        for name in names:
            value = self.values.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= highest:
                raise FormatError(f"{self.where}: {name} is not a whole number from 1 to {highest}; {_REMEDY}")
            return value
        if default is None:
            raise FormatError(f"{self.where} lacks {names[0]!r}; {_REMEDY}")
        return default

    def number(self, name: str, default: float) -> float:
        """Above 0. Raises FormatError."""
        value = self.values.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e18:
            raise FormatError(f"{self.where}: {name} is not a number above 0; {_REMEDY}")
        return float(value)

    def text(self, name: str, default: str) -> str:
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, str) or len(value) > 4096 or not value.isprintable():
            raise FormatError(f"{self.where}: {name} is not a line of text; {_REMEDY}")
        return value

    def flag(self, name: str) -> bool:
        return self.values.get(name) is True


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """Raises NotFoundError or StorageError; FormatError for a file that is longer."""
    with storage_errors(path), path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise FormatError(f"{path.name} has more than {max_bytes} bytes; {_REMEDY}")
    return data


def read_object(path: Path) -> ForeignObject:
    """Raises NotFoundError, StorageError, FormatError."""
    data = read_bytes(path, _MAX_BYTES)
    try:
        values = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not valid JSON; {_REMEDY}") from error
    if not isinstance(values, dict):
        raise FormatError(f"{path} is not a JSON object; {_REMEDY}")
    return ForeignObject(values, path.name)


def read_object_if_there(path: Path) -> ForeignObject | None:
    return read_object(path) if path.is_file() else None
