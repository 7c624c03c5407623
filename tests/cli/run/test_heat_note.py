"""What is said when the pace falls: once, in the user's language, with the reason."""

from dataclasses import replace
from threading import Event
from time import sleep

import pytest

from pocketseek.cli.messages import Words
from pocketseek.cli.run.heat_note import HeatNote, describe, heat_facts
from pocketseek.govern.thermal_governor import ThermalStatus

HOLDING = ThermalStatus("holding", "skin", 0.42, 0.6, 2, 1.0, 44.83, 61.0, 45.0, 85.0, "skin", "battery", num_falls=1)
FREE = replace(HOLDING, state="free", reason="cool", share=1.0, num_falls=0)


def test_nothing_is_said_while_nothing_happened(capsys: pytest.CaptureFixture[str]) -> None:
    heat = HeatNote(Words("en"))
    heat.see(None)
    heat.see(FREE)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("language", "word"), [("en", "Slower"), ("zh", "放慢")])
def test_it_is_said_once(capsys: pytest.CaptureFixture[str], language: str, word: str) -> None:
    heat = HeatNote(Words(language))
    for _ in range(3):
        heat.see(HOLDING)
    said = capsys.readouterr().err
    assert said.count(word) == 1
    assert "42" in said
    assert "44.8" in said


BLIND = replace(HOLDING, state="blind", reason="no sensor", skin_c=None)


@pytest.mark.parametrize(
    ("language", "words"), [("en", ("Slower", "cannot be read", "read again")), ("zh", ("放慢", "无法", "又可以"))]
)
def test_going_blind_after_holding_is_told_once_and_so_is_its_end(
    capsys: pytest.CaptureFixture[str], language: str, words: tuple[str, ...]
) -> None:
    heat = HeatNote(Words(language))
    for status in (HOLDING, BLIND, BLIND, HOLDING, HOLDING):
        heat.see(status)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    for line, word in zip(lines, words, strict=True):
        assert word in line


def test_each_time_that_it_goes_blind_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    heat = HeatNote(Words("en"))
    for status in (BLIND, FREE, BLIND, FREE):
        heat.see(status)
    assert capsys.readouterr().err.count("cannot be read") == 2


def test_blindness_that_is_over_is_no_fall_for_heat(capsys: pytest.CaptureFixture[str]) -> None:
    heat = HeatNote(Words("en"))
    heat.see(BLIND)
    heat.see(replace(FREE, num_falls=BLIND.num_falls))
    assert "Slower" not in capsys.readouterr().err


def test_a_chip_that_is_too_hot_meanwhile_does_not_end_the_blindness(capsys: pytest.CaptureFixture[str]) -> None:
    heat = HeatNote(Words("en"))
    heat.see(BLIND)
    heat.see(replace(BLIND, state="emergency", share=0.0, chip_c=97.0))
    assert "read again" not in capsys.readouterr().err
    heat.see(FREE)
    assert "read again" in capsys.readouterr().err


def test_a_limit_without_effect_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    heat = HeatNote(Words("en"))
    unheld = replace(FREE, holds_limit=False, skin_c=None)
    for status in (replace(FREE, skin_c=None), unheld, unheld):
        heat.see(status)
    assert capsys.readouterr().err.count("without effect") == 1


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (replace(HOLDING, reason="chip"), "85"),
        (replace(HOLDING, state="emergency", share=0.0, skin_c=48.4), "48 °C, far above 45"),
        (replace(HOLDING, state="emergency", share=0.0, chip_c=97.0), "chip is at 97 °C, far above 85"),
        (replace(HOLDING, state="unreachable", share=0.02, skin_c=48.4), "cooler than 48 °C here"),
        (replace(HOLDING, state="unreachable", share=0.02, chip_c=97.0), "stays at 97 °C"),
        (replace(HOLDING, sensor="headroom"), "about 44.8 °C, by Android's headroom"),
        (replace(HOLDING, reason="sensor test", share=0.25), "still moves (25 %)"),
        (replace(HOLDING, state="blind", skin_c=None), "cannot be read"),
    ],
)
def test_each_reason_has_its_words(status: ThermalStatus, word: str) -> None:
    assert word in describe(status, Words("en"))


def test_a_standstill_is_told_while_it_lasts_and_its_end_too(capfd: pytest.CaptureFixture[str]) -> None:
    stopped = replace(HOLDING, state="emergency", share=0.0, skin_c=48.4)
    looks = iter([FREE, FREE, stopped, stopped, stopped, HOLDING, HOLDING])
    seen_all = Event()

    def look() -> ThermalStatus:
        status = next(looks, None)
        if status is None:
            seen_all.set()
        return status or HOLDING

    heat = HeatNote(Words("en"), every_s=0.001)
    with heat.watching(look):
        assert seen_all.wait(30)
    heat.see(HOLDING)
    assert capfd.readouterr().err.split("\n") == [
        "",
        "Resting: the device is at 48 °C, far above 45 °C; it goes on when it has cooled down (--temperature-limit).",
        "Cool enough: going on.",
        "",
    ]


def test_nobody_looks_where_nobody_watches() -> None:
    num_looks = 0

    def look() -> None:
        nonlocal num_looks
        num_looks += 1

    with HeatNote(Words("en"), every_s=0.001).watching(look):
        sleep(0.01)
    assert num_looks == 1


def test_json_has_it_only_where_somebody_watches() -> None:
    assert heat_facts(None) == {}
    assert heat_facts(HOLDING)["heat"] == {
        "state": "holding",
        "share": 0.42,
        "skin_c": 44.83,
        "chip_c": 61.0,
        "limit_c": 45.0,
        "holds_limit": True,
    }
