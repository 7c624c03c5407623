"""`--min-speed`: gentler ways are taken in order, the user is told once, and without it nothing changes."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from line_of_models import SCARCE_BYTES, install_line

from pocketseek.cli.messages import Words
from pocketseek.cli.run.min_speed import SpeedFloor
from pocketseek.errors import MemoryLimitError, UsageError
from pocketseek.govern.ladder import Rung, SpeedChoice

SCARCE = ("--memory", SCARCE_BYTES)
GENERATE = ("generate", "large", "hello", "--max-tokens", 12, "--seed", 1)
BENCH = ("bench", "large", "--prompt-tokens", 16, "--new-tokens", 4, "--repeats", 1)
TOO_FAST = ("--min-speed", "1e12")
SLOW = ("--min-speed", "1e-9")


@pytest.fixture
def line(home: Path, line_of_models: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    return install_line(home, line_of_models, monkeypatch)


def asked_speed(run: Callable) -> float:
    fallback = run(*GENERATE, *SCARCE, *TOO_FAST, "--json").json["fallback"]
    return fallback["asked"]["expected_tokens_per_s"]


def test_a_speed_that_is_reached_changes_nothing(run: Callable, line: dict[str, Path]) -> None:
    plain = run(*GENERATE, *SCARCE)
    wished = run(*GENERATE, *SCARCE, *SLOW)
    assert (wished.out, wished.err) == (plain.out, plain.err)
    facts = run(*GENERATE, *SCARCE, *SLOW, "--json").json
    assert facts["fallback"] is None
    assert facts["model"] == "large"
    assert facts["decode_tokens_per_s"] > 0
    assert "fallback" not in run(*GENERATE, *SCARCE, "--json").json


def test_int8_is_the_first_step(run: Callable, line: dict[str, Path]) -> None:
    speed = asked_speed(run) * 1.05
    facts = run(*GENERATE, *SCARCE, "--min-speed", speed, "--json").json
    fallback = facts["fallback"]
    assert (facts["model"], fallback["steps"], fallback["meets_min_speed"]) == ("large", ["kv"], True)
    assert fallback["taken"]["expected_tokens_per_s"] >= speed > fallback["asked"]["expected_tokens_per_s"]
    assert facts["text"] == run(*GENERATE, "--kv", "q8", "--json").json["text"]


def test_a_smaller_sibling_answers_and_the_user_is_told_once(run: Callable, line: dict[str, Path]) -> None:
    speed = asked_speed(run) * 10
    ended = run(*GENERATE, *SCARCE, "--min-speed", speed)
    assert ended.code == 0
    assert ended.out == run(*GENERATE[:1], "small", *GENERATE[2:]).out
    assert ended.err.count("the smaller model small") == 1
    assert ended.err.count("tokens/s are expected") == 1
    assert "come from storage for every token" in ended.err


def test_the_fastest_answers_where_nothing_is_fast_enough(run: Callable, line: dict[str, Path]) -> None:
    ended = run(*GENERATE, *SCARCE, *TOO_FAST)
    assert ended.code == 0
    assert ended.err.count("Nothing here is that fast") == 1
    assert "less than the" not in ended.err.splitlines()[-1]  # not measured news of the same
    facts = run(*GENERATE, *SCARCE, *TOO_FAST, "--json")
    assert facts.json["model"] == "small"
    assert facts.json["fallback"]["meets_min_speed"] is False
    assert "Nothing here" not in facts.err


def test_the_only_model_stays_as_it_is_where_nothing_helps(run: Callable, tiny_package: Path) -> None:
    ended = run("generate", tiny_package, "hello", "--max-tokens", 4, *TOO_FAST)
    assert ended.code == 0
    assert ended.err.count("Nothing here is faster, so it stays as it is.") == 1
    assert "computing with" in ended.err


def test_the_user_is_told_in_chinese(run: Callable, line: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_LANG", "zh")
    assert "较小的模型 small" in run(*GENERATE, *SCARCE, *TOO_FAST).err


def test_a_chat_tells_before_its_first_answer_and_not_again(
    run: Callable, line: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\nand now\n"))
    ended = run("chat", "large", *SCARCE, *TOO_FAST, "--max-tokens", 12)
    assert ended.code == 0
    assert ended.err.count("Nothing here is that fast") == 1
    assert "[" not in ended.err.replace("[cut at the token limit]", "")


def test_a_benchmark_measures_what_was_taken(run: Callable, line: dict[str, Path]) -> None:
    facts = run(*BENCH, *TOO_FAST, "--json").json
    assert facts["model"] == "small"
    assert facts["fallback"]["asked"]["model"] == "large"
    assert run(*BENCH, *TOO_FAST).err.count("Nothing here is that fast") == 1
    load = ("--profile", "chat", "--seconds", "0.3")
    assert run("bench", "large", *load, *TOO_FAST, "--json").json["fallback"]["taken"]["model"] == "small"


def test_memory_for_no_model_is_the_usual_error(run: Callable, line: dict[str, Path]) -> None:
    ended = run(*GENERATE, "--memory", "1MB", *SLOW)
    assert ended.code == MemoryLimitError.exit_code
    assert "needs at least" in ended.error


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan", "inf"])
@pytest.mark.parametrize("command", ["generate", "chat", "bench"])
def test_what_is_no_speed_is_refused(run: Callable, tiny_package: Path, command: str, speed: str) -> None:
    ended = run(command, tiny_package, f"--min-speed={speed}")
    assert ended.code == UsageError.exit_code
    assert "is not a speed" in ended.error


RUNG = Rung("large", "f16", 10, 1000, 640, 8.0, 10**9, 5 * 10**8, True, False)
CHOICE = SpeedChoice(5.0, 10**9, RUNG, RUNG)


def followed(floor: SpeedFloor, *, tokens_per_s: float, num_tokens: int = 20) -> None:
    floor.begin()
    for number in range(1, num_tokens + 1):
        floor.see(number, 100 + number / tokens_per_s)
    floor.end()


def test_an_answer_that_was_slower_than_expected_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    floor = SpeedFloor(CHOICE, Words("en"))
    followed(floor, tokens_per_s=6)
    assert capsys.readouterr().err == ""
    for _ in range(2):
        followed(floor, tokens_per_s=2)
    assert capsys.readouterr().err == "[2 tokens/s, less than the 5 asked for]\n"
    assert floor.tokens_per_s == pytest.approx(2)


def test_nothing_is_said_of_a_few_tokens_or_of_what_was_expected(capsys: pytest.CaptureFixture[str]) -> None:
    followed(SpeedFloor(CHOICE, Words("en")), tokens_per_s=2, num_tokens=5)
    followed(SpeedFloor(replace(CHOICE, min_speed=9.0), Words("en")), tokens_per_s=2)
    followed(SpeedFloor(CHOICE, Words("en"), quiet=True), tokens_per_s=2)
    assert capsys.readouterr().err == ""


def test_the_facts_are_plain_json() -> None:
    slow = replace(CHOICE, min_speed=9.0)
    assert json.loads(json.dumps(SpeedFloor(slow, Words("en")).fallback()))["steps"] == []
    assert SpeedFloor(CHOICE, Words("en")).fallback() is None
