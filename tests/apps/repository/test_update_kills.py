"""kill -9 and a full disk at any point of update and rollback: a whole, verifying version is there, and the same
command again comes to its end."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from apps.repository.published import Place, make_place
from package.crashes import count_lines, run_killed_at_line, run_killed_before_change
from package.samples import MEMORY_DISK

from pocketseek.apps.repository.update import roll_back
from pocketseek.errors import StorageError
from pocketseek.package.paths import PREVIOUS_NAME
from pocketseek.package.store import ModelStore
from pocketseek.package.switch import is_settled

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

NUM_RANDOM_KILLS = 20
NUM_SLOW_KILLS = 300


@pytest.fixture
def place() -> Iterator[Place]:
    """Where syncing costs nothing."""
    with TemporaryDirectory(dir=MEMORY_DISK) as folder:
        yield make_place(Path(folder))


def install_new(place: Place) -> None:
    place.install_old()
    place.update()


def end_and_come_back(place: Place) -> None:
    """After a kill: the same again, then back, then all that is left is what belongs there."""
    place.update()
    assert place.check_whole()
    ModelStore(place.models).clean()
    assert os.listdir(place.models) == ["m"]
    assert is_settled(place.installed)
    roll_back(place.installed)
    assert not place.check_whole()
    assert not (place.installed / PREVIOUS_NAME).exists()


def test_an_update_killed_before_any_change_leaves_old_or_new(place: Place) -> None:
    change = 0
    seen = set()
    while True:
        place.install_old()
        killed = run_killed_before_change(place.update, change)
        seen.add(place.check_whole())
        end_and_come_back(place)
        if not killed:
            break
        change += 3 if change > 12 else 1
    assert seen == {False, True}
    assert change > 60


def test_a_rollback_killed_before_any_change_leaves_old_or_new(place: Place) -> None:
    change, killed = 0, True
    while killed:
        install_new(place)
        killed = run_killed_before_change(partial(roll_back, place.installed), change)
        is_new = place.check_whole()
        ModelStore(place.models).clean()
        assert place.check_whole() == is_new
        assert is_settled(place.installed)
        if is_new:
            roll_back(place.installed)
        assert not place.check_whole()
        change += 1
    assert change > 10


def kill_at_random_lines(place: Place, count: int, prepare: Callable[[], object], action: Callable[[], object]) -> None:
    prepare()
    num_lines = count_lines(action)
    draw = random.Random(f"{action}"[:20])
    for _ in range(count):
        prepare()
        run_killed_at_line(action, draw.randrange(num_lines))
        place.check_whole()
        end_and_come_back(place)


@pytest.mark.parametrize("count", [NUM_RANDOM_KILLS, pytest.param(NUM_SLOW_KILLS, marks=pytest.mark.slow)])
def test_an_update_killed_at_random_lines_leaves_old_or_new(place: Place, count: int) -> None:
    kill_at_random_lines(place, count, place.install_old, place.update)


@pytest.mark.parametrize("count", [NUM_RANDOM_KILLS, pytest.param(NUM_SLOW_KILLS, marks=pytest.mark.slow)])
def test_a_rollback_killed_at_random_lines_leaves_old_or_new(place: Place, count: int) -> None:
    kill_at_random_lines(place, count, partial(install_new, place), partial(roll_back, place.installed))


class FullDisk:
    """Writing fails after so many bytes, as on a disk that is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
        self.left = num_bytes
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, descriptor: int, data: memoryview) -> int:
        if self.left < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.left -= len(data)
        return self._write(descriptor, data)


def test_a_disk_that_fills_up_at_any_point_leaves_old_or_new(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        needed = FullDisk(patch, 1 << 40)
        place.update()
        total_bytes = (1 << 40) - needed.left
    for room_bytes in range(0, total_bytes, max(1, total_bytes // 25)):
        place.install_old()
        with monkeypatch.context() as patch:
            FullDisk(patch, room_bytes)
            with pytest.raises(StorageError, match="the disk is full"):
                place.update()
        place.check_whole()
        end_and_come_back(place)


def test_a_rollback_on_a_full_disk_leaves_old_or_new(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for room_bytes in range(8):
        install_new(place)
        with monkeypatch.context() as patch:
            FullDisk(patch, room_bytes)
            with suppress(StorageError):
                roll_back(place.installed)
        if place.check_whole():
            roll_back(place.installed)
        assert not place.check_whole()
