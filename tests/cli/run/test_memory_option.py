"""`--memory`, the same in every command that answers or scores."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.errors import MemoryLimitError, UsageError

COMMANDS = ("generate", "chat", "eval")


@pytest.fixture
def arguments(tmp_path: Path, tiny_package: Path) -> Callable[[str], list[object]]:
    text = tmp_path / "text.txt"
    text.write_text("the capital of France is Paris and " * 8, "utf-8")

    def arguments(command: str) -> list[object]:
        rest = {"generate": ["hello", "--max-tokens", 4], "chat": [], "eval": ["--window", 32, "--text", text]}
        return [command, tiny_package, *rest[command]]

    return arguments


@pytest.mark.parametrize("command", COMMANDS)
def test_less_than_the_model_needs_is_refused_with_the_figure(run: Callable, arguments: Callable, command: str) -> None:
    ended = run(*arguments(command), "--memory", "1MB")
    assert ended.code == MemoryLimitError.exit_code
    assert "needs at least" in ended.error


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_size_is_refused(run: Callable, arguments: Callable, command: str) -> None:
    assert run(*arguments(command), "--memory", "much").code == UsageError.exit_code


def test_enough_memory_gives_the_same_answer(run: Callable, arguments: Callable) -> None:
    plain = run(*arguments("generate"), "--seed", 1)
    limited = run(*arguments("generate"), "--seed", 1, "--memory", "20GB")
    assert (limited.code, limited.out) == (0, plain.out)
