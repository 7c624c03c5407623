"""What an interrupted training goes on from: one file beside the output, replaced by rename.

A crash or a full disk leaves the checkpoint before. The file is safetensors; in its metadata `facts` is JSON with the
key (what the training depends on), the caller's facts, and the SHA-256 of all of these and the tensors' bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import UsageError
from pocketseek.package.install import remove_tree
from pocketseek.package.manifest import JsonValue
from pocketseek.package.storage import own_dir, storage_errors, sync_dir, write_file

Arrays = dict[str, NDArray[np.float32]]

_FILE, _TEMP, _FACTS = "state.safetensors", "state.new", "facts"


@dataclass(frozen=True)
class Kept:
    facts: dict[str, JsonValue]
    arrays: Arrays


class Checkpoint:
    """Of one output; its lock is held by the caller. key: JSON; another key is another training."""

    def __init__(self, output: Path, key: Mapping[str, JsonValue], what: str = "training") -> None:
        self.folder = output.with_name(f".{output.name}.pocketseek-training")
        self._key = dict(key)
        self._what = what

    @property
    def is_there(self) -> bool:
        return (self.folder / _FILE).exists()

    def load(self) -> Kept | None:
        """None if there is nothing. Raises UsageError if it belongs to a training with other settings, or is damaged;
        what is there stays until somebody says that it may go."""
        if not self.is_there:
            return None
        kept = self._read()
        if kept is None:
            raise UsageError(
                f"{self.folder} has an interrupted {self._what} that is damaged; give --fresh to begin anew, or "
                "another output"
            )
        found = kept.facts.pop("key")
        if found != self._key:
            raise UsageError(
                f"{self.folder} has an interrupted {self._what} that differs in {self._difference(found)}; "
                "give the same again to go on, --fresh to begin anew, or another output"
            )
        return kept

    def save(self, facts: Mapping[str, JsonValue], arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """Raises StorageError, and then what was there before is still there."""
        from safetensors.numpy import save

        said = {**facts, "key": self._key}
        told = json.dumps({**said, "sha256": _digest(said, arrays)})
        data = save({name: np.ascontiguousarray(values) for name, values in arrays.items()}, {_FACTS: told})
        temp = self.folder / _TEMP
        try:
            with storage_errors(self.folder):
                own_dir(self.folder)
                write_file(temp, data)
                os.replace(temp, self.folder / _FILE)
                sync_dir(self.folder)
        except BaseException:  # what was half written goes
            with suppress(OSError):
                temp.unlink(missing_ok=True)
            raise

    def remove(self) -> None:
        with storage_errors(self.folder):
            if self.folder.is_dir():
                remove_tree(self.folder)

    def _read(self) -> Kept | None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.folder / _FILE, framework="np") as file:
                facts = json.loads(file.metadata()[_FACTS])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
        except OSError as error:
            with storage_errors(self.folder):
                raise error
        except (SafetensorError, KeyError, TypeError, ValueError):
            return None
        if not isinstance(facts, dict) or facts.pop("sha256", None) != _digest(facts, arrays) or "key" not in facts:
            return None
        return Kept(facts, arrays)

    def _difference(self, found: JsonValue) -> str:
        there = found if isinstance(found, dict) else {}
        names = [name for name in {**self._key, **there} if self._key.get(name) != there.get(name)]
        return ", ".join(names) or "everything"


def _digest(facts: Mapping[str, JsonValue], arrays: Mapping[str, NDArray[np.float32]]) -> str:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + b"\0" + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
