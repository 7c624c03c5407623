"""A folder that is used while something is unpacked and installed, by one process at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pocketseek.package.lock import destination_lock
from pocketseek.package.storage import check_free_space, storage_errors


@contextmanager
def work_folder(folder: Path, needed_bytes: int) -> Iterator[Path]:
    """Empty and ours alone, with that much room; removed with all it holds at the end.

    Raises StorageError, BusyError.
    """
    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    check_free_space(folder.parent, needed_bytes)
    with destination_lock(folder):
        shutil.rmtree(folder, ignore_errors=True)  # what a killed process left
        with storage_errors(folder):
            folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
