"""`device --models` says what fits, `--measure` measures first; both for people and for programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.apps import measure_device
from pocketseek.kernels.measure import MachineLimits


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_device, "_SAMPLE_BYTES", 1 << 20)
    monkeypatch.setattr(
        measure_device, "measure_limits", lambda name, threads, **_: MachineLimits(name, threads, 20e9, 200e9, 5e9)
    )


def test_without_figures_speeds_are_unknown(run: Callable, home: Path) -> None:
    found = run("device", "--models", "--json").json
    assert found["figures"] is None
    assert {model["decode_tokens_per_s"] for model in found["models"]} == {None}
    assert "device --measure" in run("device", "--models").out


def test_measured_figures_are_used_the_next_time(run: Callable, home: Path) -> None:
    measured = run("device", "--measure", "--json").json
    assert measured["figures"]["read_bandwidth_bytes_per_s"] == 20e9
    again = run("device", "--models", "--json").json
    assert again["figures"] == measured["figures"]
    small = next(model for model in again["models"] if (model["name"], model["quant"]) == ("r1-1.5b", "q4"))
    assert small["fit"] in ("resident", "streams", "no memory", "no storage")
    assert small["package_bytes"] == pytest.approx(1.19e9, rel=0.01)
    if small["fit"] == "resident":
        assert 10 < small["decode_tokens_per_s"] < 20


def test_people_see_a_table_and_an_advice(run: Callable, installed: Path) -> None:
    lines = run("device", "--measure").out.splitlines()
    assert any(line.startswith("tiny *\t") for line in lines)
    assert any(line.startswith("r1-1.5b\t4\t") for line in lines)
    assert lines[-1].startswith(("Take ", "Nothing "))
