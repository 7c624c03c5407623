from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from pocketseek.errors import BusyError, StorageError
from pocketseek.package import lock
from pocketseek.package.lock import destination_lock


def hold(destination: Path) -> None:
    with destination_lock(destination):
        pass


def test_only_one_may_hold_it_and_nothing_remains(tmp_path: Path) -> None:
    with destination_lock(tmp_path / "m"):
        with pytest.raises(BusyError, match="wait for it and try again"):
            hold(tmp_path / "m")
        hold(tmp_path / "other")
    hold(tmp_path / "m")
    assert os.listdir(tmp_path) == []


def test_a_file_left_by_a_dead_holder_does_not_lock(tmp_path: Path) -> None:
    (tmp_path / ".m.pocketseek-lock").touch()
    hold(tmp_path / "m")
    assert os.listdir(tmp_path) == []


def test_it_is_released_when_the_holder_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), destination_lock(tmp_path / "m"):
        raise KeyError
    hold(tmp_path / "m")


def test_a_lock_on_a_file_that_lost_its_name_is_not_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".m.pocketseek-lock"
    real = fcntl.flock
    inodes: list[int] = []

    def lose_the_first(descriptor: int, operation: int) -> None:
        inodes.append(os.fstat(descriptor).st_ino)
        real(descriptor, operation)
        if len(inodes) == 1:
            path.rename(tmp_path / "renamed")

    monkeypatch.setattr(lock.fcntl, "flock", lose_the_first)
    with destination_lock(tmp_path / "m"):
        assert path.stat().st_ino == inodes[-1]
    assert len(inodes) == 2


def test_many_threads_never_hold_it_together(tmp_path: Path) -> None:
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            try:
                with destination_lock(tmp_path / "m"):
                    inside += 1
                    most = max(most, inside)
                    inside -= 1
            except BusyError:
                continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        hold(tmp_path / "missing" / "m")
