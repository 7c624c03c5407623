"""Room for what works beside an engine: it makes way before the guest comes, or the guest is told that it cannot."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from fakes import random_request
from tiny_models import tiny_model, write_hf

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.device.memory import process_memory
from pocketseek.device.memory_watch import MemoryFacts, MemoryWatch
from pocketseek.errors import MemoryLimitError
from pocketseek.govern import governor
from pocketseek.govern.elastic import group_reserve_bytes
from pocketseek.govern.memory_budget import MemoryBudget
from pocketseek.govern.split import Footprint
from pocketseek.runtime.guests import Guests, RoomState
from pocketseek.runtime.load import load
from pocketseek.runtime.memory_use import MemoryUse
from pocketseek.runtime.residency.weights import Weights

MIB = 1 << 20
GROUP_BYTES = 64 << 30


class Host:
    """Does as it is told, when it is asked."""

    def __init__(self) -> None:
        self.states = [RoomState(0, True)]
        self.num_asked = 0
        self.is_there = True

    def ask(self, done: Callable[[], None]) -> bool:
        self.num_asked += 1
        if self.is_there:
            done()
        return self.is_there

    def state(self) -> RoomState:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


def guests_of(host: Host, clock: Callable[[], float] = lambda: 0.0) -> Guests:
    guests = Guests(clock)
    guests.connect(host.ask, host.state, lambda: False)
    return guests


def test_a_lease_counts_at_once_and_until_it_is_given_back() -> None:
    guests = guests_of(Host())
    lease = guests.lease("ears", 5 * MIB)
    assert (guests.coming_bytes, guests.here_bytes) == (5 * MIB, 0)
    lease.opened()
    assert (guests.coming_bytes, guests.here_bytes) == (0, 5 * MIB)
    lease.release()
    lease.release()
    assert (guests.coming_bytes, guests.here_bytes) == (0, 0)


def test_two_of_one_name_are_two() -> None:
    guests = guests_of(Host())
    first, _second = guests.lease("ears", MIB), guests.lease("ears", MIB)
    first.release()
    assert guests.coming_bytes == MIB


def test_what_does_not_fit_is_told_with_what_is_missing_and_stays_leased_by_nobody() -> None:
    host = Host()
    host.states = [RoomState(30_000_000, True)]
    guests = guests_of(host)
    with pytest.raises(MemoryLimitError, match="ears needs about 53 MB beside the language model and 30 MB"):
        guests.lease("ears", 50 * MIB)
    assert guests.coming_bytes == 0


def test_who_has_to_finish_is_waited_for() -> None:
    host = Host()
    host.states = [RoomState(0, False), RoomState(0, False), RoomState(0, True)]
    guests_of(host).lease("ears", MIB)
    assert host.num_asked == 3


def test_but_not_for_ever() -> None:
    host, seconds = Host(), iter(range(100))
    host.states = [RoomState(0, False)]
    guests = guests_of(host, lambda: next(seconds))
    with pytest.raises(MemoryLimitError, match="did not make room for ears in time"):
        guests.lease("ears", MIB, patience_s=3)
    assert guests.coming_bytes == 0


def test_an_engine_that_is_closed_takes_no_room() -> None:
    host = Host()
    host.is_there = False
    guests_of(host).lease("ears", MIB)


class Machine:
    """A process of a known size in a container with room for `spare_bytes` more than the least that works."""

    spare_bytes = 64 * MIB
    least_bytes = 0
    most_bytes = 0

    def __init__(self) -> None:
        self.own_bytes = process_memory().anonymous_bytes or 0

    def read(self) -> MemoryFacts:
        spare_bytes = self.spare_bytes if self.least_bytes else 4096 * MIB  # until it is known
        bound_bytes = (self.least_bytes + spare_bytes) * 64 // 63 + 1
        room_bytes = max(0, bound_bytes + group_reserve_bytes(GROUP_BYTES) - self.own_bytes)
        return MemoryFacts(
            group_limit_bytes=GROUP_BYTES, group_room_bytes=room_bytes, own_anonymous_bytes=self.own_bytes
        )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine, footprint = Machine(), MemoryUse.footprint

    def noted(use: MemoryUse) -> Footprint:
        found = footprint(use)
        if not use.guests.coming_bytes and not use.guests.here_bytes:
            machine.least_bytes, machine.most_bytes = found.least_bytes, found.most_bytes
        return found

    monkeypatch.setattr(MemoryWatch, "read", lambda watch: machine.read())
    monkeypatch.setattr(MemoryUse, "footprint", noted)
    monkeypatch.setattr("pocketseek.runtime.executor.Weights", partial(Weights, unit_bytes=48_000))
    monkeypatch.setattr(governor, "BASE_STEP_BYTES", 64 << 10)
    return machine


class WatchedBudget(MemoryBudget):
    made: MemoryBudget

    def __init__(self, total_bytes: int) -> None:
        super().__init__(total_bytes)
        WatchedBudget.made = self


def test_weights_make_way_before_the_guest_comes_and_no_token_changes(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketseek.runtime.start.MemoryBudget", WatchedBudget)
    model = tiny_model("qwen2", hidden=256, intermediate=512, num_layers=6)
    package = convert_checkpoint(write_hf(tmp_path / "hf", model), tmp_path / "model", models_dir=tmp_path)
    request = random_request(1, 40, 60)
    with load(package, kv_bytes=4 * MIB, prefix_store_bytes=0) as engine:
        expected = list(engine.stream(request))
        budget = WatchedBudget.made
        before = budget.leases()
        lease = engine.guests.lease("ears", 62 * MIB)
        after = budget.leases()
        assert after["process"] >= before["process"] + 62 * MIB
        assert after["weights"] < before["weights"]
        assert budget.over_bytes == 0
        assert list(engine.stream(request)) == expected
        machine.own_bytes += 50 * MIB  # less than it said
        lease.opened()
        engine.apply_limits()
        assert list(engine.stream(request)) == expected
        with pytest.raises(MemoryLimitError, match="mouth needs"):
            engine.guests.lease("mouth", 300 * MIB)
        assert engine.guests.coming_bytes == 0
        assert list(engine.stream(request)) == expected
