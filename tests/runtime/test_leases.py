"""Through a whole engine: what is leased is at most what the governor said, however that jumps, and no token changes.

The total of a MemoryBudget falls with its leases, so that they are below it says nothing. They are compared with the
governor's own word: after it fell no lease may make the excess more, and when a pass begins there is none.
"""

from __future__ import annotations

import random
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fakes import random_request
from tiny_models import tiny_model, write_hf

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.device.memory import process_memory
from pocketseek.device.memory_watch import MemoryFacts, MemoryWatch
from pocketseek.govern import elastic, governor, split
from pocketseek.govern.elastic import group_reserve_bytes
from pocketseek.govern.governor import MemoryGovernor
from pocketseek.govern.memory_budget import MemoryBudget
from pocketseek.govern.split import Footprint
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.load import load
from pocketseek.runtime.memory_use import MemoryUse
from pocketseek.runtime.residency.weights import Weights
from pocketseek.runtime.work import Logits, Work
from pocketseek.types import TokenEvent

MIB = 1 << 20
NUM_CHANGES = 50
LOOKS_PER_LEVEL = 4  # the budget grows after three
GROUP_BYTES = 64 << 30


class KnownGovernor(MemoryGovernor):
    """Looks every two seconds of its own clock."""

    made: ClassVar[list[KnownGovernor]] = []

    def __init__(self, *rest: Any, **options: Any) -> None:
        seconds = count(step=2.0)
        super().__init__(*rest, clock=lambda: next(seconds), **options)
        self.made.append(self)

    @property
    def said_bytes(self) -> int:
        assert self.status is not None
        return self.status.budget_bytes


class CheckedBudget(MemoryBudget):
    """Says so at once if a lease makes it more than the governor said, or by more than before."""

    made: ClassVar[list[CheckedBudget]] = []

    def __init__(self, total_bytes: int) -> None:
        super().__init__(total_bytes)
        self.num_changes = 0
        self.num_leases = 0
        self.num_over = 0
        self._last_bytes = total_bytes
        self.made.append(self)

    @property
    def excess_bytes(self) -> int:
        return max(0, self.leased_bytes - KnownGovernor.made[-1].said_bytes)

    def lease(self, name: str, num_bytes: int) -> None:
        excess_bytes = self.excess_bytes
        super().lease(name, num_bytes)
        self.num_leases += 1
        self.num_over += excess_bytes > 0
        assert self.excess_bytes <= excess_bytes, "a lease made it more than it should be"
        assert self.over_bytes == self.excess_bytes

    def approach(self, num_bytes: int) -> int:
        self.num_changes += num_bytes != self._last_bytes
        self._last_bytes = num_bytes
        return super().approach(num_bytes)


class Machine:
    """A container whose room, and a process whose size, jump every few looks once `jumps` is set.

    The least that works is what the engine said last; half of the time there is little more than that.
    """

    def __init__(self, generator: random.Random) -> None:
        self.random = generator
        self.jumps = False
        self.least_bytes = 0
        self.page_bytes = 0
        self.use: MemoryUse | None = None
        self._num_looks = count()
        self._own_bytes = process_memory().anonymous_bytes or 0
        self._more_bytes, self._base_bytes = 4096 * MIB, 0  # this process holds whatever other tests have loaded

    def read(self, watch: MemoryWatch) -> MemoryFacts:
        if self.jumps and next(self._num_looks) % LOOKS_PER_LEVEL == 0:
            tight_bytes = self.page_bytes + self.random.randrange(24 * self.page_bytes)
            self._more_bytes = self.random.choice([tight_bytes, self.random.randrange(300 * MIB)])
            self._base_bytes = self.random.randrange(40 * MIB)
        own_bytes = self._own_bytes + self._base_bytes
        bound_bytes = (self.least_bytes + self._more_bytes) * 64 // 63 + 1  # 1/64 is kept away from
        room_bytes = max(0, bound_bytes + group_reserve_bytes(GROUP_BYTES) - own_bytes)
        return MemoryFacts(group_limit_bytes=GROUP_BYTES, group_room_bytes=room_bytes, own_anonymous_bytes=own_bytes)

    def footprint(self, footprint: Footprint, use: MemoryUse) -> Footprint:
        self.use = use
        self.least_bytes, self.page_bytes = footprint.least_bytes, footprint.page_bytes
        return footprint


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    machine = Machine(random.Random(seed))
    footprint = MemoryUse.footprint
    monkeypatch.setattr(MemoryWatch, "read", lambda watch: machine.read(watch))
    monkeypatch.setattr(MemoryUse, "footprint", lambda use: machine.footprint(footprint(use), use))
    monkeypatch.setattr("pocketseek.runtime.executor.Weights", partial(Weights, unit_bytes=48_000))
    monkeypatch.setattr(governor, "BASE_STEP_BYTES", 64 << 10)  # a tiny model has less than the usual steps
    monkeypatch.setattr(split, "_STEP_SHARE", 1000)
    monkeypatch.setattr(elastic, "_LEAST_GROW_MARGIN_BYTES", 64 << 10)
    monkeypatch.setattr("pocketseek.runtime.start.MemoryGovernor", KnownGovernor)
    monkeypatch.setattr("pocketseek.runtime.start.MemoryBudget", CheckedBudget)
    CheckedBudget.made.clear()
    KnownGovernor.made.clear()
    return machine


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("leases")
    model = tiny_model("qwen2", hidden=256, intermediate=512, num_layers=6)
    return convert_checkpoint(write_hf(directory / "source", model), directory / "package", models_dir=directory)


REQUESTS = [random_request(seed, 40, 200) for seed in range(3)]


def test_leases_are_within_a_budget_that_jumps_fifty_times_and_tokens_stay_the_same(
    package: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with load(package, prefix_store_bytes=0, speculation=False) as engine:
        expected: list[list[TokenEvent]] = [list(engine.stream(one)) for one in REQUESTS]
    run = KernelExecutor.run
    kept_bytes: set[int] = set()

    # Much more, since this process grows with every test that came before; what counts is what the machine says.
    many_bytes = machine.least_bytes + 2048 * MIB
    with load(package, memory_bytes=many_bytes, prefix_store_bytes=0, speculation=False) as engine:
        budget, said = CheckedBudget.made[-1], KnownGovernor.made[-1]

        def checked(executor: KernelExecutor, work: Work) -> Logits:
            """Everybody has followed before a pass begins."""
            leases = budget.leases()
            assert budget.leased_bytes <= said.said_bytes
            assert budget.over_bytes == 0
            assert machine.use is not None
            assert leases["process"] == machine.use.base_bytes
            assert leases["weights"] == executor.weight_bytes
            assert leases["pages"] >= executor.kv_bytes_in_memory
            kept_bytes.add(executor.weight_bytes)
            return run(executor, work)

        monkeypatch.setattr(KernelExecutor, "run", checked)
        streams = [engine.stream(one) for one in REQUESTS]
        machine.jumps = True
        assert [list(stream) for stream in streams] == expected
        assert budget.num_changes >= NUM_CHANGES
        assert budget.num_over > 0
        assert budget.num_leases > NUM_CHANGES
        assert len(kept_bytes) > 2
