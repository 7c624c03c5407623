"""An engine in less memory than its weights: the same answers, leases within the budget, a clean refusal below the
least."""

import re
import threading
from pathlib import Path

import pytest

from pocketseek.errors import MemoryLimitError
from pocketseek.runtime.load import load
from pocketseek.runtime.memory_use import MemoryUse
from pocketseek.types import Request, SamplingParams, TokenEvent

REQUEST = Request(tuple(range(5, 60)), 20, SamplingParams(seed=3))


def least_bytes(package: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """What the engine says it needs for streaming everything."""
    found: list[int] = []
    footprint = MemoryUse.footprint

    def noting(use: MemoryUse) -> object:
        answer = footprint(use)
        found.append(answer.least_bytes)
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(MemoryUse, "footprint", noting)
        with load(package, prefix_store_bytes=0):
            pass
    return max(found)


def answer(package: Path, memory_bytes: int | None) -> list[TokenEvent]:
    with load(package, memory_bytes=memory_bytes, prefix_store_bytes=0) as engine:
        return list(engine.stream(REQUEST))


def test_answers_are_the_same_however_little_memory_there_is(
    layered_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    least = least_bytes(layered_package, monkeypatch)
    expected = answer(layered_package, None)
    for more_bytes in (16 << 20, 18 << 20, 64 << 20):
        assert answer(layered_package, least + more_bytes) == expected


def test_too_little_memory_is_one_clear_line_and_leaves_nothing_behind(layered_package: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(MemoryLimitError) as refusal:
        load(layered_package, memory_bytes=1_000_000)
    said = re.search(
        r"needs at least (\d+) MB of memory and 1 MB are there for it; allow (\d+) MB more", str(refusal.value)
    )
    assert said
    assert int(said[2]) == int(said[1]) - 1
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pocketseek-reader")]
