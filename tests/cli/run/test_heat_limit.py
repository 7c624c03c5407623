"""What is said of a limit that nothing here can hold, and what is said to help."""

from dataclasses import replace
from pathlib import Path

import pytest

from pocketseek.cli.messages import Words
from pocketseek.cli.run.heat_limit import LimitNote
from pocketseek.govern.thermal_governor import ThermalStatus

UNHELD = ThermalStatus(
    "free", "cool", 1.0, 1.0, 4, 1.0, None, None, 40.0, 85.0, None, "battery", num_falls=0, holds_limit=False
)
API = "data/data/com.termux/files/usr/bin/termux-battery-status"


def termux(root: Path, *, has_api: bool) -> Path:
    program = root / API
    program.parent.mkdir(parents=True)
    if has_api:
        program.write_text("#!/bin/sh\nexit 1\n")
    return root


def told(root: Path, capsys: pytest.CaptureFixture[str], status: ThermalStatus = UNHELD, language: str = "en") -> str:
    LimitNote(Words(language), root).see(status)
    return capsys.readouterr().err


def test_the_remedy_is_what_is_missing_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "device --sensors" in told(tmp_path, capsys)
    assert "pkg install termux-api" in told(termux(tmp_path / "without", has_api=False), capsys)
    assert "termux-battery-status` does not answer" in told(termux(tmp_path / "with", has_api=True), capsys)


def test_that_the_chips_limit_holds_is_said_where_it_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "85 °C" not in told(tmp_path, capsys)
    assert "chip's limit of 85 °C holds" in told(tmp_path, capsys, replace(UNHELD, chip_c=50.0))


def test_in_chinese_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "40 °C 的温度上限不起作用" in told(tmp_path, capsys, language="zh")


def test_a_limit_that_is_held_or_not_known_yet_is_not_spoken_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(tmp_path, capsys, replace(UNHELD, holds_limit=True)) == ""
