"""`device` tells the facts of this machine."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.errors import NativeCoreError
from pocketseek.kernels import choose


def test_device_facts_are_json(run: Callable, home: Path) -> None:
    facts = run("device", "--json").json
    assert facts["data_dir"] == str(home)
    assert facts["memory_total_bytes"] > 0
    assert {"cpu_model", "usable_cores", "performance_cores", "instruction_sets", "android_version"} <= set(facts)


def test_device_facts_are_rows(run: Callable) -> None:
    rows = dict(line.split("\t") for line in run("device").out.splitlines())
    assert {"processor", "cores", "memory", "free storage", "system", "kernels"} <= set(rows)


def test_the_kernels_that_would_be_used_are_named_with_the_reason(
    run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETSEEK_KERNELS", "reference")
    facts = run("device", "--json").json
    assert facts["kernels"] == "reference"
    assert "asked for" in facts["kernels_reason"]


def test_a_missing_core_is_a_fact_like_others(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str | None) -> None:
        raise NativeCoreError("no core; install a compiler")

    monkeypatch.setattr(choose, "choose_kernels", fail)
    facts = run("device", "--json").json
    assert facts["kernels"] is None
    assert facts["kernels_reason"] == "no core; install a compiler"
