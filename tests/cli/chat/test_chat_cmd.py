"""`chat` from a pipe, with a real model; the loop itself is tested in test_conversation."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.errors import NotFoundError, UsageError


def test_piped_questions_are_answered_in_turn(
    run: Callable, installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    saved = tmp_path / "chat.txt"
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"hello\nthe capital\n/save {saved}\n"))
    ended = run("chat", "--max-tokens", 6, "--seed", 3)
    assert ended.code == 0
    text = saved.read_text("utf-8")
    assert text.startswith("[user]\nhello\n")
    assert text.count("[user]") == 2


def test_nothing_installed_is_an_error_for_a_script(run: Callable) -> None:
    ended = run("chat")
    assert ended.code == NotFoundError.exit_code
    assert "pocketseek chat demo" in ended.error


def test_bad_sampling_values_end_a_piped_chat(run: Callable, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n"))
    assert run("chat", "tiny", "--temperature", "-1").code == UsageError.exit_code
