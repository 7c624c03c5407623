"""`--kv`, the same in every command that runs a model."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.errors import UsageError

COMMANDS = {
    "generate": ("hello", "--max-tokens", 4),
    "chat": ("--max-tokens", 4),
    "bench": ("--prompt-tokens", 16, "--new-tokens", 4, "--repeats", 1),
    "eval": ("--window", 32),
}


@pytest.fixture
def arguments(tmp_path: Path, tiny_package: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[object]]:
    text = tmp_path / "text.txt"
    text.write_text("the capital of France is Paris and " * 8, "utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n"))

    def arguments(command: str) -> list[object]:
        return [command, tiny_package, *COMMANDS[command], *(("--text", text) if command == "eval" else ())]

    return arguments


@pytest.mark.parametrize("command", COMMANDS)
def test_both_formats_run(run: Callable, arguments: Callable, command: str) -> None:
    for kv in ("f16", "q8"):
        ended = run(*arguments(command), "--kv", kv)
        assert ended.code == 0, ended.err


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_format_is_one_line_that_names_the_known_ones(
    run: Callable, arguments: Callable, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = run(*arguments(command), "--kv", "q9")
    assert ended.code == UsageError.exit_code
    assert "f16" in ended.error
    assert "q8" in ended.error
    monkeypatch.setenv("POCKETSEEK_KV", "q9")
    ended = run(*arguments(command))
    assert ended.code == UsageError.exit_code
    assert "choose one of f16, q8" in ended.error
