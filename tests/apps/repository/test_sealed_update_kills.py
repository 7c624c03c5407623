"""kill -9 and a full disk at any point of updating a sealed model, and of going back: a whole, sealed version is there
that verifies, no plaintext is, and the same command again comes to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from apps.repository.published import end_and_come_back, install_new
from apps.repository.sealed_place import SealedPlace, make_sealed_place
from apps.repository.test_sealed_update import pulled_over, sealed_chunk
from apps.repository.test_update_kills import FullDisk
from package.crashes import count_lines, run_killed_at_line, run_killed_before_change
from package.samples import MEMORY_DISK, flip_bit

from pocketseek.apps.repository.update import roll_back
from pocketseek.errors import StorageError
from pocketseek.package.store import ModelStore

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

NUM_RANDOM_KILLS = 8
NUM_SLOW_KILLS = 200
SLOW = [pytest.mark.slow, pytest.mark.timeout(3000)]
COUNTS = [NUM_RANDOM_KILLS, pytest.param(NUM_SLOW_KILLS, marks=SLOW)]
NOTED_BYTES = 1000  # at the very end: when it was checked, which may be left out


@pytest.fixture
def place() -> Iterator[SealedPlace]:
    with TemporaryDirectory(dir=MEMORY_DISK) as folder:
        yield make_sealed_place(Path(folder))


def kill_at_random_lines(
    place: SealedPlace, count: int, prepare: Callable[[], object], action: Callable[[], object]
) -> None:
    prepare()
    num_lines = count_lines(action)
    draw = Random(f"{action}"[:20])
    for _ in range(count):
        prepare()
        run_killed_at_line(action, draw.randrange(num_lines))
        place.check_whole()
        end_and_come_back(place)


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=SLOW)])
def test_an_update_killed_before_a_change_leaves_old_or_new(place: SealedPlace, step: int) -> None:
    change, seen, was_killed = 0, set(), True
    while was_killed:
        place.install_old()
        was_killed = run_killed_before_change(place.update, change)
        seen.add(place.check_whole())
        end_and_come_back(place)
        change += step
    assert seen == {False, True}
    assert change > 60


@pytest.mark.parametrize("count", COUNTS)
def test_an_update_killed_at_random_lines_leaves_old_or_new(place: SealedPlace, count: int) -> None:
    kill_at_random_lines(place, count, place.install_old, place.update)


@pytest.mark.parametrize("count", [4, pytest.param(NUM_SLOW_KILLS, marks=SLOW)])
def test_a_pull_over_it_killed_at_random_lines_leaves_old_or_new(place: SealedPlace, count: int) -> None:
    kill_at_random_lines(place, count, place.install_old, partial(pulled_over, place))


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=SLOW)])
def test_a_rollback_killed_before_a_change_leaves_old_or_new(place: SealedPlace, step: int) -> None:
    change, was_killed = 0, True
    while was_killed:
        install_new(place)
        was_killed = run_killed_before_change(partial(roll_back, place.installed), change)
        is_new = place.check_whole()
        ModelStore(place.models).clean()
        assert place.check_whole() == is_new
        if is_new:
            roll_back(place.installed)
        assert not place.check_whole()
        change += step
    assert change > 10


@pytest.mark.parametrize("count", [4, pytest.param(NUM_SLOW_KILLS, marks=SLOW)])
def test_a_repair_killed_at_random_lines_goes_on(place: SealedPlace, count: int) -> None:
    def damage() -> None:
        place.install_old()
        pulled_over(place)
        flip_bit(sealed_chunk(place.installed), 20_000)

    damage()
    num_lines = count_lines(partial(pulled_over, place))
    draw = Random(7)
    for _ in range(count):
        damage()
        run_killed_at_line(partial(pulled_over, place), draw.randrange(num_lines))
        place.check_nothing_in_the_clear()
        pulled_over(place)
        assert place.check_whole()


@pytest.mark.parametrize("num_points", [6, pytest.param(100, marks=SLOW)])
def test_a_disk_that_fills_up_at_any_point_leaves_old_or_new(
    place: SealedPlace, monkeypatch: pytest.MonkeyPatch, num_points: int
) -> None:
    with monkeypatch.context() as patch:
        needed = FullDisk(patch, 1 << 40)
        place.update()
        total_bytes = (1 << 40) - needed.left - NOTED_BYTES
    for room_bytes in range(0, total_bytes, max(1, total_bytes // num_points)):
        place.install_old()
        with monkeypatch.context() as patch:
            FullDisk(patch, room_bytes)
            with pytest.raises(StorageError, match="the disk is full"):
                place.update()
        place.check_whole()
        end_and_come_back(place)
