"""What the governor is told about the engine."""

import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernels.random_model import RandomModel, Runner, config, tokens_of
from tiny_models import tiny_hf_directory

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.device.memory_watch import MemoryFacts, MemoryWatch
from pocketseek.kernels.choose import choose_kernels, supported_sets
from pocketseek.kernels.native import NativeKernels
from pocketseek.package.reader import Package
from pocketseek.runtime.counts import PageDemand
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.memory_use import MemoryUse, workspace_bytes
from pocketseek.shapes import MoeShape


class Watch(MemoryWatch):
    own_bytes = 0

    def read(self) -> MemoryFacts:
        return MemoryFacts(own_anonymous_bytes=self.own_bytes)


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[KernelExecutor]:
    path = convert_checkpoint(tiny_hf_directory(tmp_path / "hf"), tmp_path / "model", models_dir=tmp_path)
    with Package.open(path) as package:
        executor = KernelExecutor(package, choose_kernels(), num_threads=1, num_pages=2)
        yield executor
        executor.close()


def use_of(executor: KernelExecutor, watch: Watch) -> MemoryUse:
    return MemoryUse(executor, executor._config, max_tokens_per_pass=16, watch=watch)


def test_warming_that_began_and_ended_between_two_looks_is_told_once(executor: KernelExecutor) -> None:
    use = use_of(executor, Watch())
    told = []
    for more in (0, 1, 0, 2, 0):
        executor.weights.num_warmings += more
        use.look()
        told.append(use.footprint().warming)
    assert told == [False, True, False, True, False]


def test_the_base_is_what_the_last_look_found_but_never_less_than_at_first(executor: KernelExecutor) -> None:
    watch = Watch()
    use = use_of(executor, watch)
    least_bytes = use.base_bytes
    watch.own_bytes = 1 << 40
    assert use.base_bytes == least_bytes
    use.look()
    assert use.base_bytes > 1 << 40
    watch.own_bytes = 0
    use.look()
    assert use.base_bytes == least_bytes


def test_who_is_finished_in_any_case_counts_as_the_least(executor: KernelExecutor) -> None:
    use = use_of(executor, Watch())
    use.num_pages = 100
    without_bytes = use.footprint().least_bytes
    use.demand = lambda: PageDemand(9, 12, 0, 7)
    assert use.footprint().least_bytes == without_bytes + 6 * executor.page_bytes


@pytest.mark.parametrize(
    "moe",
    [MoeShape(num_experts=16, experts_per_token=4, expert_size=512, shared_size=768), MoeShape(64, 6, 256)],
    ids=["shared", "many"],
)
def test_layers_with_experts_take_no_more_than_was_counted(moe: MoeShape) -> None:
    shape = config(
        moe=moe, num_layers=1, hidden_size=512, intermediate_size=256, head_dim=64, context_length=4096, qkv_bias=False
    )
    kernels = NativeKernels(shape, supported_sets()[-1], 2)
    runner = Runner(RandomModel("q4p", shape), kernels)
    for rows in (8, 64, 256):
        runner.run((str(rows), 0, tokens_of(runner.model, rows)))
        assert kernels.workspace_bytes <= workspace_bytes(shape, rows) <= 2 * kernels.workspace_bytes


_THREAD_KEEPS = """
import sys, threading
from pocketseek.device.memory import process_memory
from pocketseek.runtime.memory_use import give_back_freed_memory, share_one_heap

def anonymous_mb():
    give_back_freed_memory()
    return process_memory().anonymous_bytes / 1e6

def work():
    bytes(30_000_000)  # from here on the C library keeps what is freed, up to twice as much
    pieces = [b"x" * 60_000 for _ in range(800)]
    del pieces

if sys.argv[1] == "one":
    share_one_heap()
before = anonymous_mb()
thread = threading.Thread(target=lambda: (work(), told.append(anonymous_mb() - before)))
told = []
thread.start()
thread.join()
print(told[0])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no heaps of threads")
def test_what_a_thread_freed_is_given_back_where_threads_share_a_heap() -> None:
    def kept_mb(heaps: str) -> float:
        done = subprocess.run([sys.executable, "-c", _THREAD_KEEPS, heaps], capture_output=True, text=True, check=True)
        return float(done.stdout)

    assert kept_mb("own") > 30
    assert kept_mb("one") < 5
