"""Threads, cores and spinning change between passes: the bits stay, and so do the masks of those who only call."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from kernels.random_model import RandomModel, Runner, config, tokens_of

from pocketseek.errors import UsageError
from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.native import NativeKernels

CORES = sorted(os.sched_getaffinity(0))
NO_SUCH_CORE = 1023
Masks = dict[int, set[int]]


def masks() -> Masks:
    """The cores of every thread of this process."""
    threads = [int(path.name) for path in Path("/proc/self/task").iterdir()]
    return {thread: os.sched_getaffinity(thread) for thread in threads}


def opened(model: RandomModel, num_threads: int = 2) -> tuple[NativeKernels, Callable[[], bytes]]:
    """Kernels, and a pass over them from the start of a text."""
    kernels = NativeKernels(model.config, supported_sets()[-1], num_threads)
    runner, tokens = Runner(model, kernels), tokens_of(model, 20)
    return kernels, lambda: runner.run(("a", 0, tokens))["a"].tobytes()


@pytest.fixture
def model() -> RandomModel:
    return RandomModel("q4p", config(num_layers=1))


def test_changes_between_passes_change_no_bit(model: RandomModel) -> None:
    kernels, run = opened(model, num_threads=1)
    expected, rng = run(), np.random.default_rng(5)
    for _ in range(60):
        kernels.set_num_threads(int(rng.integers(1, 6)))
        kernels.set_spin(float(rng.choice([0, 1e-5, 1e-3])))
        kernels.set_cores(tuple(rng.permutation(CORES)[: rng.integers(0, len(CORES) + 1)].tolist()))
        assert run() == expected


def test_workers_and_the_caller_keep_to_the_cores_and_get_theirs_back(model: RandomModel) -> None:
    before = masks()
    kernels, run = opened(model)
    kernels.set_cores((CORES[0],))
    kernels.set_num_threads(4)
    run()
    inside = masks()
    own = {thread: cores for thread, cores in inside.items() if thread not in before}
    assert len(own) == 3
    assert all(cores == {CORES[0]} for cores in own.values())
    assert os.sched_getaffinity(0) == {CORES[0]}
    kernels.set_num_threads(6)
    kernels.set_cores(())
    after = masks()
    assert {thread: after[thread] for thread in before} == before
    assert all(cores == set(CORES) for thread, cores in after.items() if thread not in before)


def test_one_thread_keeps_to_the_cores_too(model: RandomModel) -> None:
    kernels, run = opened(model, num_threads=1)
    kernels.set_cores((CORES[-1],))
    assert os.sched_getaffinity(0) == set(CORES)  # until it computes
    run()
    assert os.sched_getaffinity(0) == {CORES[-1]}
    kernels.set_cores(())
    assert os.sched_getaffinity(0) == set(CORES)


def test_the_thread_that_computes_is_moved_and_not_the_one_that_asks(model: RandomModel) -> None:
    kernels, run = opened(model)
    seen: list[set[int]] = []

    def compute() -> None:
        run()
        seen.append(os.sched_getaffinity(0))
        kernels.set_cores(())
        seen.append(os.sched_getaffinity(0))

    kernels.set_cores((CORES[0],))
    thread = Thread(target=compute)
    thread.start()
    thread.join()
    assert seen == [{CORES[0]}, set(CORES)]
    assert os.sched_getaffinity(0) == set(CORES)


def test_the_end_of_the_kernels_gives_the_caller_its_cores_back(model: RandomModel) -> None:
    kernels, run = opened(model)
    kernels.set_cores((CORES[0],))
    run()
    del kernels, run
    assert os.sched_getaffinity(0) == set(CORES)


@pytest.mark.parametrize("first", [(), (CORES[0],)])
def test_a_core_that_is_not_there_is_refused_and_nothing_changes(model: RandomModel, first: tuple[int, ...]) -> None:
    kernels, run = opened(model)
    kernels.set_cores(first)
    expected = run()
    before = masks()
    for wrong in (NO_SUCH_CORE, 100_000, -1):
        with pytest.raises(UsageError, match=f"offline or forbidden: {wrong}; choose from "):
            kernels.set_cores((CORES[0], wrong))
    assert masks() == before
    assert run() == expected
    kernels.set_cores(())
    assert os.sched_getaffinity(0) == set(CORES)


def test_every_task_is_counted_for_the_thread_that_did_it(model: RandomModel) -> None:
    kernels, run = opened(model, num_threads=1)
    run()
    alone = kernels.tasks_done()
    assert len(alone) == 1
    kernels.set_num_threads(3)
    run()
    assert len(kernels.tasks_done()) == 3
    assert sum(kernels.tasks_done()) >= 2 * alone[0]  # more threads, more and smaller tasks of attention


@pytest.mark.parametrize("wrong", [0, -1, 257])
def test_numbers_of_threads_out_of_range_are_refused(model: RandomModel, wrong: int) -> None:
    kernels, _ = opened(model)
    with pytest.raises(ValueError, match="from 1 to 256"):
        kernels.set_num_threads(wrong)
    assert len(kernels.tasks_done()) == 2


@pytest.mark.parametrize("wrong", [-1e-9, 1.5, float("nan")])
def test_spin_times_out_of_range_are_refused(model: RandomModel, wrong: float) -> None:
    kernels, _ = opened(model)
    with pytest.raises(ValueError, match="spin_s"):
        kernels.set_spin(wrong)
