"""What is measured is kept for this device and no other, and nothing is left behind."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pocketseek.apps import measure_device as measuring
from pocketseek.apps.measure_device import READ_SIZES, known_figures, measure_device, measure_flash
from pocketseek.device.probe import DeviceFacts, check_device
from pocketseek.errors import NativeCoreError, StorageError
from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.measure import MachineLimits
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
    monkeypatch.setattr(measuring, "_SAMPLE_BYTES", 2 << 20)
    monkeypatch.setattr(
        measuring, "measure_limits", lambda name, threads, **_: MachineLimits(name, threads, 12e9, 34e9, 5e9)
    )


def test_figures_are_kept_for_this_device(settings: Settings, facts: DeviceFacts) -> None:
    steps: list[tuple[int, int]] = []
    assert known_figures(settings, facts) is None
    figures = measure_device(settings, facts, progress=lambda done, total: steps.append((done, total)))
    assert (figures.read_bandwidth_bytes_per_s, figures.int8_multiply_adds_per_s) == (12e9, 34e9)
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
    for change in ({"flash": [[1, 2, 3]]}, {"flash": [["x", 1]]}, {"num_threads": 0}, {"kernels": 7, "more": 1}):
        path.write_text(json.dumps({**value, "figures": {**value["figures"], **change}}))
        assert known_figures(settings, facts) is None


def test_an_installed_chunk_is_read_instead_of_writing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_LEAST_SAMPLE_BYTES", 1 << 20)
    chunks = settings.models_dir / "some" / "chunks"
    chunks.mkdir(parents=True)
    (chunks / "aa").write_bytes(os.urandom(3 << 20))
    monkeypatch.setattr(measuring, "_write_sample", lambda path: pytest.fail("nothing is to be written"))
    assert len(measure_flash(settings, lambda count: None)) == len(READ_SIZES)


def test_no_room_to_write_is_one_line_and_leaves_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(measuring.os, "fsync", full)
    with pytest.raises(StorageError, match="no room"):
        measure_flash(settings, lambda count: None)
    assert list(settings.home.iterdir()) == []
