"""`--temperature-limit`, the same in every command that runs a model for long."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pocketseek.errors import UsageError
from pocketseek.runtime import heat

COMMANDS = {
    "generate": ("hello", "--max-tokens", 4),
    "chat": ("--max-tokens", 4),
    "bench": ("--prompt-tokens", 16, "--new-tokens", 4, "--repeats", 1),
}


@pytest.fixture
def limits_c(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """What whoever opened an engine asked for."""
    seen: list[float | None] = []

    def watch(*rest: Any, limit_c: float | None, **options: Any) -> heat.HeatWatch:
        seen.append(limit_c)
        return heat.watch_heat(*rest, limit_c=limit_c, **options)

    monkeypatch.setattr("pocketseek.runtime.start.watch_heat", watch)
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n"))
    return seen


@pytest.mark.parametrize("command", COMMANDS)
def test_the_limit_reaches_the_engine(
    run: Callable, tiny_package: Path, command: str, limits_c: list[float | None]
) -> None:
    ended = run(command, tiny_package, *COMMANDS[command], "--temperature-limit", "43.5")
    assert ended.code == 0, ended.err
    assert set(limits_c) == {43.5}


def test_off_is_0_and_the_environment_counts_where_nothing_is_said(
    run: Callable, tiny_package: Path, limits_c: list[float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("generate", tiny_package, "hello", "--max-tokens", 1, "--temperature-limit", "off")
    monkeypatch.setenv("POCKETSEEK_TEMPERATURE_LIMIT", "40")
    run("generate", tiny_package, "hello", "--max-tokens", 1)
    assert limits_c == [0.0, 40.0]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_limit_that_nobody_can_keep_is_said_to_have_no_effect(
    run: Callable, tiny_package: Path, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def see_nothing(*rest: Any, **options: Any) -> heat.HeatWatch:
        return heat.watch_heat(*rest, **{**options, "root": tmp_path})

    monkeypatch.setattr("pocketseek.runtime.start.watch_heat", see_nothing)
    told = []
    for arguments in ((), ("--temperature-limit", "off"), ("--temperature-limit", "41")):
        monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n"))
        told.append("41 °C is without effect" in run(command, tiny_package, *COMMANDS[command], *arguments).err)
    assert told == [False, False, True]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("text", ["warm", "-3", "nan", "200"])
def test_what_is_no_limit_is_one_line(run: Callable, tiny_package: Path, command: str, text: str) -> None:
    ended = run(command, tiny_package, *COMMANDS[command], "--temperature-limit", text)
    assert ended.code == UsageError.exit_code
    assert "temperature limit" in ended.error
