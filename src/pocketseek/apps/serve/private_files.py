"""Whose files: each access token has its own, and so has who needs no token (private_stores.py does it for chats)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from threading import Lock

from pocketseek.apps.serve.access import Caller
from pocketseek.apps.serve.file_reading import FileReading, ReadWish
from pocketseek.apps.serve.kept_files import FileStore

_WITHOUT_TOKEN = "local"


class PrivateFiles:
    """Opens a folder when it is first wanted, and goes on reading what was not read there; closes all."""

    def __init__(self, folder: Path, *, key: bytes | None = None) -> None:
        self.reading = FileReading()
        self._folder = folder
        self._key = key
        self._stores: dict[str, FileStore] = {}
        self._lock = Lock()

    def of(self, caller: Caller) -> FileStore:
        """From any thread; opening asks the disk."""
        name = hashlib.sha256(caller.name.encode()).hexdigest()[:16] if caller.has_token else _WITHOUT_TOKEN
        with self._lock:
            if (store := self._stores.get(name)) is None:
                store = self._stores[name] = FileStore(self._folder / name, key=self._key)
                for file in store.list():
                    if file.status == "uploaded":
                        self.reading.begin(store, file, ReadWish())
            return store

    def close(self) -> None:
        self.reading.close()
        with self._lock:
            for store in self._stores.values():
                store.close()
            self._stores.clear()
