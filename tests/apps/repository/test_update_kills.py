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
from apps.repository.published import Place, end_and_come_back, install_new, make_place
from package.crashes import count_lines, run_killed_at_line, run_killed_before_change
from package.samples import MEMORY_DISK

from pocketseek.apps.repository.update import look, roll_back, update
from pocketseek.errors import StorageError
from pocketseek.package.origin import Origin, read_origin, write_origin
from pocketseek.package.settle import is_settled
from pocketseek.package.store import ModelStore

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

NUM_RANDOM_KILLS = 20
NUM_SLOW_KILLS = 300
COUNTS = [NUM_RANDOM_KILLS, pytest.param(NUM_SLOW_KILLS, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])]


@pytest.fixture
def place() -> Iterator[Place]:
    """Where syncing costs nothing."""
    with TemporaryDirectory(dir=MEMORY_DISK) as folder:
        yield make_place(Path(folder))


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


def test_where_it_comes_from_changes_with_the_version_and_not_before(place: Place) -> None:
    offer = look(place.installed, place.source).offer
    action = partial(update, place.installed, place.source, offer, address="https://new.example/m")
    seen = set()
    for change in (*range(14), 1000):
        write_origin(place.install_old(), Origin("https://old.example/m", "2026-01-31T12:00:00Z"))
        run_killed_before_change(action, change)
        ModelStore(place.models).clean()
        origin = read_origin(place.installed)
        assert origin is not None
        seen.add((place.check_whole(), origin.address))
    assert seen == {(False, "https://old.example/m"), (True, "https://new.example/m")}


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


@pytest.mark.parametrize("count", COUNTS)
def test_an_update_killed_at_random_lines_leaves_old_or_new(place: Place, count: int) -> None:
    kill_at_random_lines(place, count, place.install_old, place.update)


@pytest.mark.parametrize("count", COUNTS)
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
    problems = []
    for room_bytes in range(0, total_bytes, max(1, total_bytes // 25)):
        place.install_old()
        with monkeypatch.context() as patch:
            FullDisk(patch, room_bytes)
            try:
                place.update()
            except StorageError as error:
                problems.append(str(error))
            else:  # the very last bytes only note when it was checked
                assert place.check_whole()
        place.check_whole()
        end_and_come_back(place)
    assert len(problems) >= 25
    assert all("the disk is full" in problem for problem in problems)


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
