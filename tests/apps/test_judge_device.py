"""All that is known of is judged, installed models first and once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_models import tiny_hf_directory

from pocketseek.apps.catalogue import catalogue
from pocketseek.apps.judge_device import is_usual, judge_device, published_figures
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.device.chips import known_chips
from pocketseek.device.probe import DeviceFacts, check_device
from pocketseek.govern.expected_speed import MachineFigures
from pocketseek.settings import Settings

FIGURES = MachineFigures("neon-i8mm", 4, 40e9, 300e9, 75e9, ((1 << 20, 1.5e9),))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "home", None, 1, "en")


def phone(settings: Settings, memory_bytes: int, storage_bytes: int = 10**11) -> DeviceFacts:
    facts = check_device(data_dir=settings.home)
    return replace(facts, memory_available_bytes=memory_bytes, storage_free_bytes=storage_bytes)


def test_every_model_of_the_catalogue_is_judged(settings: Settings) -> None:
    verdicts, choice = judge_device(settings, phone(settings, 6 * 10**9), FIGURES)
    assert {one.needs.name for one in verdicts} == {model.name for model in catalogue()}
    assert choice is not None
    assert choice.needs.name == "r1-8b"
    assert choice.needs.quant == "q4"


def test_a_small_phone_gets_a_small_model(settings: Settings) -> None:
    _, choice = judge_device(settings, phone(settings, 2 * 10**9), FIGURES)
    assert choice is not None
    assert choice.needs.name == "r1-1.5b"


def test_no_room_for_large_models_on_a_full_phone(settings: Settings) -> None:
    verdicts, _ = judge_device(settings, phone(settings, 16 * 10**9, 14 * 10**9), FIGURES)
    fits = {one.needs.name: one.fit for one in verdicts if one.needs.quant == "q4"}
    assert fits["r1-14b"] == "no storage"
    assert fits["r1-7b"] == "resident"


def test_installed_models_come_first_and_need_no_storage(settings: Settings, tmp_path: Path) -> None:
    convert_checkpoint(tiny_hf_directory(tmp_path / "s"), name="r1-7b", quant="q8", models_dir=settings.models_dir)
    verdicts, _ = judge_device(settings, phone(settings, 6 * 10**9, 0), FIGURES)
    assert verdicts[0].needs.name == "r1-7b"
    assert (verdicts[0].needs.is_installed, verdicts[0].storage_bytes, verdicts[0].runs) == (True, 0, True)
    assert [one.needs.name for one in verdicts].count("r1-7b") == 1
    assert all(one.fit == "no storage" for one in verdicts[1:])


def test_every_model_is_judged_in_every_format_and_the_advice_is_a_usual_one(settings: Settings) -> None:
    verdicts, choice = judge_device(settings, phone(settings, 6 * 10**9), FIGURES)
    quants = [one.needs.quant for one in verdicts if one.needs.name == "r1-7b"]
    assert quants == ["q4-pure", "q4", "q8", "keep"]
    assert choice is not None
    assert is_usual(choice)


def test_the_kv_format_of_the_settings_counts(settings: Settings) -> None:
    def context(settings: Settings) -> int:
        verdicts, _ = judge_device(settings, phone(settings, 6 * 10**9), FIGURES)
        return next(one.context_tokens or 0 for one in verdicts if one.needs.name == "r1-7b")

    assert 0 < 1.5 * context(settings) < context(replace(settings, kv="q8"))


def test_the_chip_table_gives_upper_limits_where_it_knows_the_memory(settings: Settings) -> None:
    facts = phone(settings, 6 * 10**9)
    chip = next(chip for chip in known_chips() if chip.memory_bandwidth_bytes_per_s is not None)
    figures = published_figures(settings, replace(facts, chip=chip))
    assert figures is not None
    assert figures.is_estimate
    assert figures.read_bandwidth_bytes_per_s == chip.memory_bandwidth_bytes_per_s
    assert published_figures(settings, replace(facts, chip=replace(chip, memory_bandwidth_bytes_per_s=None))) is None
    assert published_figures(settings, replace(facts, chip=None)) is None
