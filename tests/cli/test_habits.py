"""Words that people bring along are taken as ours where they mean the same, and else answered with what to write."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.cli.habits import SAME_COMMANDS, translate
from pocketseek.cli.main import app, commands_of
from pocketseek.errors import UsageError

COMMANDS = commands_of(app)
PAGE = (Path(__file__).parents[2] / "docs" / "coming-from.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in PAGE.splitlines() if "|" in line]
TAKEN = [row for row in ROWS if row[2].startswith("yes")]


def translated(line: str) -> list[str]:
    return translate(shlex.split(line), COMMANDS)


def commands_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize(("theirs", "ours", "how"), TAKEN)
def test_what_the_page_says_is_taken_means_what_it_says(theirs: str, ours: str, how: str) -> None:
    lines = commands_in(how) or [line.replace("ollama", "pocketseek", 1) for line in commands_in(theirs)]
    lines = [line.replace("llm chat", "pocketseek chat") for line in lines]
    (meant,) = commands_in(ours)
    wanted = shlex.split(meant)[1:]
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "pocketseek"
        taken = translate(words, COMMANDS)
        assert sorted(word for word in taken if word != "--") == sorted(wanted)
        assert taken[:2] == wanted[:2]


@pytest.mark.parametrize("command", sorted(SAME_COMMANDS))
def test_a_word_of_others_is_none_of_ours_and_means_one(command: str) -> None:
    assert command not in COMMANDS
    assert SAME_COMMANDS[command] in COMMANDS


@pytest.mark.parametrize(
    "line",
    [
        *("ps", "stop tiny", "create x", "cp a b", "push x", "logs", "plugins"),
        *("generate tiny hi -s 1", "chat tiny -c 4096", "chat tiny -ngl 99", "generate tiny -f prompt.txt"),
        *("chat tiny -p hi", "chat -m tiny -t 8", "generate tiny hi --lora x.gguf", "chat -hf someone/model"),
        *("generate tiny hi -ctk q8_0", "generate tiny hi --kv-bits=8", "chat tiny -md x.gguf", "chat tiny -o top_k 3"),
        *("generate tiny hi --schema x", "chat tiny --think=false", "chat tiny -st", "chat tiny --mlock"),
    ],
)
def test_what_has_no_meaning_here_is_answered_with_what_to_write(run: Callable, line: str) -> None:
    ended = run(*shlex.split(line))
    assert ended.code == 2
    assert ":" in ended.error.removeprefix("pocketseek: error: ") or ";" in ended.error


@pytest.mark.parametrize(
    "line",
    [
        "generate tiny --system -p",  # the value of an option of ours
        "generate tiny -- -n",
        "generate tiny -",
        "chat tiny --memory 1GB",
        "models --json",
        "generate tiny hi --max-tokens=3",
    ],
)
def test_our_own_words_stay_as_they_are(line: str) -> None:
    assert translated(line) == shlex.split(line)


def test_a_prompt_that_looks_like_an_option_is_a_prompt() -> None:
    assert translated("generate tiny -p '-n is an option'") == ["generate", "tiny", "--", "-n is an option"]


def test_values_may_be_attached() -> None:
    assert translated("generate --model=tiny --prompt=hi --temp=0.5") == [
        *("generate", "tiny", "--temperature", "0.5", "--", "hi")
    ]


def test_run_is_a_chat_unless_there_is_a_prompt() -> None:
    assert translated("run tiny")[0] == "chat"
    assert translated("run tiny --system hi")[0] == "chat"
    assert translated("run tiny hi")[0] == "generate"
    assert translated("run -m tiny -p hi")[0] == "generate"


def test_a_model_comes_first_where_there_is_no_command() -> None:
    assert translated("-m tiny 'why is it'") == ["generate", "tiny", "why is it"]
    assert translated("--model=tiny") == ["chat", "tiny"]
    assert translated("-m tiny -p hi -n 3") == ["generate", "tiny", "--max-tokens", "3", "--", "hi"]
    assert translated("-m") == ["chat", "-m"]
    assert translated("bench -m tiny --json") == translated("bench --model=tiny --json") == ["bench", "tiny", "--json"]
    assert translated("serve -m") == ["serve", "-m"]


def test_help_of_a_command() -> None:
    assert translated("help generate") == ["generate", "--help"]
    assert translated("help") == ["--help"]


def test_an_option_at_the_very_end_without_its_value_is_told_as_usual(run: Callable) -> None:
    assert run("generate", "tiny", "hi", "-n").code == 2
    with pytest.raises(UsageError):
        translated("chat tiny -p")


def test_they_work(run: Callable, installed: Path) -> None:
    assert run("ls").out == run("models").out
    assert run("show", "tiny", "--json").json["name"] == "tiny"
    answered = run("run", "tiny", "hi", "-n", "3", "--temp", "0", "--json").json
    assert answered == run("generate", "tiny", "hi", "--max-tokens", "3", "--temperature", "0", "--json").json | {
        name: answered[name] for name in answered if name.endswith(("_s", "_per_s", "seed")) or "cached" in name
    }
    assert run("rm", "tiny", "--yes").code == 0
    assert run("models", "--json").json["models"] == []


def test_a_misspelt_word_is_answered_with_the_nearest(run: Callable) -> None:
    assert "models" in run("modles").error
    assert "--temperature" in run("generate", "tiny", "hi", "--temprature", "1").error
