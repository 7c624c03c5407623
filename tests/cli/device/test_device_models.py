"""`device --models` says what fits, `--measure` measures first; both for people and for programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pocketseek.apps import measure_device, measure_storage
from pocketseek.apps.catalogue import catalogue
from pocketseek.cli.device import models_verdict
from pocketseek.device.chips import known_chips
from pocketseek.device.probe import DeviceFacts, check_device
from pocketseek.errors import StorageError
from pocketseek.kernels.measure import MachineLimits
from pocketseek.kernels.measure_pass import PassRate, PassRates


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_storage, "SAMPLE_BYTES", 8 << 20)
    monkeypatch.setattr(
        measure_device, "measure_limits", lambda name, threads, **_: MachineLimits(name, threads, 20e9, 200e9, 5e9)
    )
    monkeypatch.setattr(measure_device, "measure_read_bandwidth", lambda name, threads, **_: 20e9)
    passes = PassRates((PassRate("q4p", 17e9, 100e9), PassRate("q6s", 17e9, 80e9), PassRate("q8s", 17e9, 70e9)), 25e-6)
    monkeypatch.setattr(measure_device, "measure_passes", lambda name, threads, **_: passes)


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
    assert small["package_bytes"] == pytest.approx(1.076e9, rel=0.01)
    if small["fit"] == "resident":
        assert 10 < small["decode_tokens_per_s"] < 20


def test_people_see_a_table_and_an_advice(run: Callable, installed: Path) -> None:
    lines = run("device", "--measure").out.splitlines()
    assert any(line.startswith("tiny *\t") for line in lines)
    assert any(line.startswith("r1-1.5b\t4\t") for line in lines)
    assert "*: installed." in lines
    assert any(line.startswith(("Take ", "Nothing ")) for line in lines[-4:])


def test_the_advice_says_where_the_model_is_from_and_how_one_gets_it(
    run: Callable, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone(monkeypatch)
    told, command = run("device", "--models").out.splitlines()[-2:]
    name = command.split()[2]
    repository = next(model.repository for model in catalogue() if model.name == name)
    assert repository in told
    assert command == f"    pocketseek pull {name} --quant q4"


def test_an_installed_model_is_only_to_be_started_and_has_the_bits_of_its_package(
    run: Callable, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone(monkeypatch, storage_free_bytes=0)
    lines = run("device", "--models").out.splitlines()
    assert lines[-1] == "`pocketseek chat tiny` starts it."
    (row,) = (line.split("\t") for line in lines if line.startswith("tiny *"))
    assert float(row[1]) > 0


def test_an_installed_model_is_called_what_it_is_called_here(run: Callable, installed: Path) -> None:
    assert run("pull", installed, "--name", "mine").code == 0
    names = [line.split("\t")[0] for line in run("device", "--models").out.splitlines() if " *\t" in line]
    assert names == ["mine *", "tiny *"]


def test_without_speeds_the_largest_is_not_called_the_one_to_take(
    run: Callable, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone(monkeypatch, chip=None, storage_free_bytes=10**10)
    out = run("device", "--models").out
    assert "The largest that fits into memory is r1-8b at 4 bits" in out
    assert "Take " not in out
    assert "more than the 10.0 GB that are free: convert it on another machine" in out


def test_programs_are_told_why_a_model_is_recommended(
    run: Callable, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone(monkeypatch)
    found = run("device", "--models", "--json").json
    why, storage = found["recommended"]["reasons"]
    assert why["code"] == "upper limit"
    assert "at most" in why["text"]
    assert (storage["code"], storage["text"].startswith("It takes ")) == ("storage", True)
    assert found["not_recommended"] is None
    phone(monkeypatch, chip=None, storage_free_bytes=10**10)
    codes = [one["code"] for one in run("device", "--models", "--json").json["recommended"]["reasons"]]
    assert codes == ["largest in memory", "convert elsewhere"]


def test_why_nothing_is_recommended_is_told(run: Callable, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phone(monkeypatch, memory_available_bytes=10**6)
    found = run("device", "--models", "--json").json
    assert (found["recommended"], found["not_recommended"]["code"]) == (None, "nothing fits")
    phone(monkeypatch, memory_available_bytes=None)
    assert run("device", "--models", "--json").json["not_recommended"]["code"] == "memory unknown"
    assert "not known how much memory" in run("device", "--models").out


def test_figures_of_memory_are_kept_when_only_storage_cannot_be_measured(
    run: Callable, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageError("no room; free some")

    monkeypatch.setattr(measure_device, "measure_storage", fail)
    ended = run("device", "--measure", "--json")
    assert ended.code == 0
    assert ended.json["figures"]["read_bandwidth_bytes_per_s"] == 20e9
    assert (ended.json["figures"]["flash"], ended.json["storage_problem"]) == ([], "no room; free some")
    assert "Storage was not measured: no room; free some" in ended.err
    assert run("device", "--models", "--json").json["figures"]["int8_multiply_adds_per_s"] == 200e9


def phone(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Whatever this machine is: a phone of which nothing was measured, with 8 GB free."""
    chip = next(chip for chip in known_chips() if chip.memory_bandwidth_bytes_per_s is not None)

    def check(**arguments: Any) -> DeviceFacts:
        facts = check_device(**arguments)
        usual = {"chip": chip, "memory_available_bytes": 8 * 10**9, "storage_free_bytes": 10**11}
        return replace(facts, **(usual | changes))

    monkeypatch.setattr(models_verdict, "check_device", check)


def test_a_known_chip_gives_upper_limits_that_are_marked(
    run: Callable, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone(monkeypatch)
    found = run("device", "--models", "--json").json
    assert found["figures"]["is_estimate"]
    assert found["figures"]["int8_multiply_adds_per_s"] is None
    small = next(model for model in found["models"] if (model["name"], model["quant"]) == ("r1-1.5b", "q4"))
    assert small["decode_tokens_per_s"] > 0
    assert small["prefill_tokens_per_s"] is None
    assert small["contexts"]["q8"] > small["contexts"]["f16"] == small["context_tokens"]
    shown = run("device", "--models").out
    assert "≤ " in shown
    assert "upper limits" in shown


def test_storage_that_is_too_slow_for_large_models_is_said(
    run: Callable, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone(monkeypatch, storage_kind="UFS", storage_version="2.1")
    assert "UFS 3.1" in run("device", "--models").out
    phone(monkeypatch, storage_kind="UFS", storage_version="4.0")
    assert "UFS 3.1" not in run("device", "--models").out


def test_a_model_that_does_not_run_in_four_bits_has_one_row(
    run: Callable, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone(monkeypatch)
    rows = [line.split("\t") for line in run("device", "--models").out.splitlines()]
    assert [row[1] for row in rows if row[0] == "r1"] == ["4"]
    assert [row[1] for row in rows if row[0] == "r1-1.5b"] == ["4", "8"]
    (huge,) = (row for row in rows if row[0] == "v3")
    assert huge[2].startswith("no: storage")
