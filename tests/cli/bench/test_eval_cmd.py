"""`eval` reports perplexity, tokens and window."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.errors import FormatError, NotFoundError, StorageError, UsageError


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("the capital of France is Paris and " * 8, "utf-8")
    return path


def test_json_has_perplexity_tokens_and_window(run: Callable, tiny_package: Path, text: Path) -> None:
    facts = run("eval", tiny_package, "--text", text, "--window", 32, "--json").json
    assert facts["perplexity"] > 1
    assert facts["window"] == 32
    assert facts["tokens"] > 32


def test_result_does_not_depend_on_the_run(run: Callable, tiny_package: Path, text: Path) -> None:
    first, second = (run("eval", tiny_package, "--text", text, "--window", 64, "--json").json for _ in range(2))
    assert first["perplexity"] == second["perplexity"]


def test_a_window_beyond_the_context_is_refused(run: Callable, tiny_package: Path, text: Path) -> None:
    ended = run("eval", tiny_package, "--text", text)  # the tiny model's context is 256
    assert ended.code == UsageError.exit_code
    assert "256" in ended.error


def test_unreadable_texts_are_told_apart(run: Callable, tiny_package: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"ab\xff")
    assert run("eval", tiny_package, "--text", tmp_path / "absent").code == NotFoundError.exit_code
    assert run("eval", tiny_package, "--text", tmp_path).code == StorageError.exit_code
    assert run("eval", tiny_package, "--text", tmp_path / "bad.txt").code == FormatError.exit_code


def test_the_kv_format_is_reported_and_changes_the_result_but_little(
    run: Callable, tiny_package: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, asked = (
        run("eval", tiny_package, "--text", text, "--window", 64, "--kv", kv, "--json").json for kv in ("f16", "q8")
    )
    assert (plain["kv"], asked["kv"]) == ("f16", "q8")
    assert 0 < abs(plain["perplexity"] - asked["perplexity"]) < 0.05 * plain["perplexity"]
    monkeypatch.setenv("POCKETSEEK_KV", "q8")
    by_environment = run("eval", tiny_package, "--text", text, "--window", 64, "--json").json
    assert (by_environment["kv"], by_environment["perplexity"]) == ("q8", asked["perplexity"])
