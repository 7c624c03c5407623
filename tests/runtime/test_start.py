"""An engine that was opened in a tight moment is not held to it: pages follow memory up as well as down."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fakes import ids_of, random_request
from tiny_models import tiny_hf_directory

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.device.memory_watch import MemoryFacts, MemoryWatch
from pocketseek.govern.governor import MemoryGovernor
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.load import load

GIB = 1 << 30
TIGHT_PAGES = 6
REQUESTS = [random_request(seed, 40, 20) for seed in range(4)]


class HurriedGovernor(MemoryGovernor):
    """Looks before every pass, two seconds after the last time by its own clock."""

    def __init__(self, *rest: Any, **options: Any) -> None:
        seconds = count(step=2.0)
        super().__init__(*rest, clock=lambda: next(seconds), **options)


class Machine:
    def __init__(self) -> None:
        self.available_bytes = 64 * GIB

    def read(self) -> MemoryFacts:
        return MemoryFacts(64 * GIB, machine_available_bytes=self.available_bytes, own_anonymous_bytes=0)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return convert_checkpoint(tiny_hf_directory(tmp_path / "hf"), tmp_path / "model", models_dir=tmp_path)


@pytest.fixture
def machine(package: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """By its facts four times as much is free at first as that many pages take."""
    machine = Machine()
    with load(package, kv_bytes=1 << 20, prefix_store_bytes=0) as engine:
        page_bytes = engine._worker._executor.page_bytes
    monkeypatch.setattr(MemoryWatch, "read", lambda watch: machine.read())
    monkeypatch.setattr("pocketseek.runtime.start.MemoryGovernor", HurriedGovernor)
    monkeypatch.setattr("pocketseek.runtime.start.available_bytes", lambda facts: 4 * TIGHT_PAGES * page_bytes)
    return machine


def answers(engine: Engine) -> list[list[int]]:
    return [ids_of(stream) for stream in [engine.stream(request) for request in REQUESTS]]


def test_pages_and_the_context_grow_when_there_is_more_memory_than_there_was_and_no_text_changes(
    package: Path, machine: Machine
) -> None:
    with load(package, kv_bytes=1 << 24, prefix_store_bytes=0) as engine:
        expected = answers(engine)
    with load(package, prefix_store_bytes=0) as engine:
        context_length = engine.context_length
        assert engine.statistics().load.num_pages == TIGHT_PAGES
        assert answers(engine) == expected
        assert engine.statistics().load.num_pages > 4 * TIGHT_PAGES
        assert engine.context_length >= context_length
        longer = replace(REQUESTS[0], max_tokens=engine.context_length)
        assert ids_of(engine.stream(longer))[:20] == expected[0]
        machine.available_bytes = 0
        assert answers(engine) == expected
        assert engine.statistics().load.num_pages <= TIGHT_PAGES


def test_what_the_user_said_stays_and_so_it_does_where_addresses_are_limited(
    package: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for options, limited in (({"kv_bytes": 1 << 20}, False), ({}, True)):
        monkeypatch.setattr("pocketseek.runtime.start.has_address_limit", lambda limited=limited: limited)
        with load(package, prefix_store_bytes=0, **options) as engine:
            num_pages = engine.statistics().load.num_pages
            answers(engine)
            assert engine.statistics().load.num_pages == num_pages
