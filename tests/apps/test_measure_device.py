"""What is measured is kept for this device and no other, and nothing is left behind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pocketseek.apps import measure_device as measuring
from pocketseek.apps import measure_storage
from pocketseek.apps.measure_device import known_figures, measure_device
from pocketseek.apps.measure_storage import READ_SIZES
from pocketseek.device.probe import DeviceFacts, check_device
from pocketseek.errors import NativeCoreError
from pocketseek.govern.expected_speed import FormatRates
from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.measure import MachineLimits
from pocketseek.kernels.measure_pass import PassRate, PassRates
from pocketseek.settings import Settings

try:
    KERNELS = choose_kernels(None).name
except NativeCoreError:
    pytest.skip("there is no compiled core to measure", allow_module_level=True)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "home", None, 1, "en")


@pytest.fixture
def facts(settings: Settings) -> DeviceFacts:
    return check_device(data_dir=settings.home)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts are measured elsewhere, and take seconds."""
    monkeypatch.setattr(measure_storage, "SAMPLE_BYTES", 8 << 20)
    monkeypatch.setattr(
        measuring, "measure_limits", lambda name, threads, **_: MachineLimits(name, threads, 12e9, 34e9, 5e9)
    )
    monkeypatch.setattr(measuring, "measure_read_bandwidth", lambda name, threads, **_: 12e9)
    passes = PassRates((PassRate("q4p", 10e9, 20e9), PassRate("q8s", 11e9, 18e9)), 3e-5)
    monkeypatch.setattr(measuring, "measure_passes", lambda name, threads, **_: passes)


def test_figures_are_kept_for_this_device(settings: Settings, facts: DeviceFacts) -> None:
    steps: list[tuple[int, int]] = []
    assert known_figures(settings, facts) is None
    figures = measure_device(settings, facts, progress=lambda done, total: steps.append((done, total)))
    assert (figures.read_bandwidth_bytes_per_s, figures.int8_multiply_adds_per_s) == (12e9, 34e9)
    assert figures.passes == (FormatRates("q4p", 10e9, 20e9), FormatRates("q8s", 11e9, 18e9))
    assert figures.layer_s == 3e-5
    assert [size for size, _ in figures.flash] == list(READ_SIZES)
    assert all(rate > 0 for _, rate in figures.flash)
    assert steps[0][0] == 0
    assert steps[-1][0] == steps[-1][1]
    assert known_figures(settings, facts) == figures
    assert sorted(path.name for path in settings.home.iterdir()) == ["device.json"]


def test_figures_of_another_processor_or_other_threads_do_not_count(settings: Settings, facts: DeviceFacts) -> None:
    measure_device(settings, facts)
    assert known_figures(settings, replace(facts, cpu_model="another")) is None
    assert known_figures(replace(settings, num_threads=2), facts) is None


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"format": 1, "device": {}, "figures": {}}', b"[" * 9000])
def test_a_damaged_file_counts_as_none(data: bytes, settings: Settings, facts: DeviceFacts) -> None:
    settings.home.mkdir()
    (settings.home / "device.json").write_bytes(data)
    assert known_figures(settings, facts) is None


def test_hostile_figures_count_as_none(settings: Settings, facts: DeviceFacts) -> None:
    measure_device(settings, facts)
    path = settings.home / "device.json"
    value = json.loads(path.read_bytes())
    for change in (
        {"flash": [[1, 2, 3]]},
        {"passes": [{"format": "q4p", "read_bytes_per_s": 1e9, "multiply_adds_per_s": 0.0}]},
        {"passes": [{"format": "q5z", "read_bytes_per_s": 1e9, "multiply_adds_per_s": 1e9}]},
        {"passes": [["q4p", 1e9, 1e9]]},
        {"direct": [["x", 1]]},
        {"num_threads": 0},
        {"kernels": 7, "more": 1},
        {"is_estimate": True},
        {"f32_multiply_adds_per_s": None},
    ):
        path.write_text(json.dumps({**value, "figures": {**value["figures"], **change}}))
        assert known_figures(settings, facts) is None


def test_one_measurement_of_memory_that_is_far_off_is_not_kept(
    settings: Settings, facts: DeviceFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = iter([13e9, 30e9])
    monkeypatch.setattr(measuring, "measure_read_bandwidth", lambda name, threads, **_: next(rates))
    assert measure_device(settings, facts).read_bandwidth_bytes_per_s == 13e9


@pytest.mark.parametrize(
    ("available_bytes", "cache_bytes", "buffer_mib"),
    [
        (8 << 30, 4 << 20, 256),
        (8 << 30, 64 << 20, 512),
        (64 << 30, 1 << 30, 1024),
        (400 << 20, 64 << 20, 100),
        (1, 1, 32),
    ],
)
def test_memory_is_measured_well_beyond_the_caches(available_bytes: int, cache_bytes: int, buffer_mib: int) -> None:
    assert measuring._buffer_bytes(available_bytes, cache_bytes) == buffer_mib << 20
