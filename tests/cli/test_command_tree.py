"""Every command shows an example that works, and has its place in the list."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from pocketseek.cli.command_tree import PANELS, commands
from pocketseek.cli.examples import EXAMPLES
from pocketseek.cli.main import PROGRAM, app

ROOT = get_command(app)
assert isinstance(ROOT, TyperGroup)
COMMANDS = dict(commands(ROOT))
WORKING = sorted(name for name, command in COMMANDS.items() if not isinstance(command, TyperGroup))
# What examples read; the rest of their names need not be there.
FILES = ("model.gguf", "notes.jsonl", "texts.txt", "letter.txt", "book.txt", "report.pdf", "ada.pub")


@pytest.mark.parametrize("name", WORKING)
def test_help_shows_an_example_of_the_command(run: Callable, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert f"$ {PROGRAM} {name}" in run(*name.split(), "--help").out or f"| {PROGRAM} {name}" in EXAMPLES[name][-1]


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - set(WORKING)))
def test_help_of_a_group_shows_examples_of_what_is_in_it(run: Callable, name: str) -> None:
    assert f"$ {f'{PROGRAM} {name}'.strip()}" in run(*name.split(), "--help").out


def test_there_are_no_examples_of_commands_that_do_not_exist() -> None:
    assert set(EXAMPLES) <= set(COMMANDS)


def own_words(example: str) -> list[str]:
    """Of the last program in it, without its name and what a shell takes away."""
    words = shlex.split(example.rpartition(" | ")[2].partition(" >> ")[0])
    assert words[0] == PROGRAM
    return words[1:]


@pytest.mark.parametrize("example", [example for lines in EXAMPLES.values() for example in lines])
def test_an_example_is_what_its_command_takes(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        (tmp_path / name).touch()
    for name in ("CHECKPOINT_FOLDER", "PEFT_FOLDER", "RECORDINGS", "TEXTS"):
        (tmp_path / name).mkdir()
    words, command = own_words(example), ROOT
    while words and isinstance(command, TyperGroup) and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    command.make_context("command", words, resilient_parsing=False)


def test_every_command_has_its_place_in_the_list() -> None:
    placed = [name for names in PANELS.values() for name in names]
    assert sorted(placed) == sorted(set(ROOT.commands))


def test_the_list_has_the_order_of_the_page_about_commands(run: Callable) -> None:
    page = Path(__file__).parents[2].joinpath("docs/commands.md").read_text(encoding="utf-8")
    for text in run("--help").out, page.replace("## ", ""):
        assert sorted(PANELS, key=text.index) == list(PANELS)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name])
def test_the_list_of_commands_has_one_short_sentence_of_each(name: str) -> None:
    shown = COMMANDS[name].get_short_help_str(limit=200)
    assert 10 < len(shown) <= 120
    assert ". " not in shown


@pytest.mark.parametrize("columns", ["36", "40"])
def test_help_is_readable_on_a_phone(run: Callable, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = run("--help").out.splitlines()
    assert max(map(len, lines)) <= int(columns)
