"""Every command shows an example that works, and has its place in the list."""

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from pocketseek.cli.command_tree import PANELS, commands
from pocketseek.cli.examples import EXAMPLES
from pocketseek.cli.main import PROGRAM, app
from pocketseek.errors import UsageError

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
    make_files(tmp_path)
    words, command = own_words(example), ROOT
    while words and isinstance(command, TyperGroup) and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    command.make_context("command", words, resilient_parsing=False)


def make_files(folder: Path) -> None:
    for name in FILES:
        (folder / name).touch()
    for name in ("CHECKPOINT_FOLDER", "PEFT_FOLDER", "RECORDINGS", "TEXTS"):
        (folder / name).mkdir()


def float_options() -> Iterator[tuple[str, str]]:
    """(command, option) wherever a number is taken as Typer reads it; own parsers are tested on their own."""
    for name in WORKING:
        hints = get_type_hints(COMMANDS[name].callback, include_extras=True)
        for parameter in COMMANDS[name].params:
            kind, *info = get_args(hints.get(parameter.name, str)) or (str,)
            if (kind is float or float in get_args(kind)) and not any(one.parser for one in info):
                yield name, parameter.opts[0]


@pytest.mark.parametrize(("name", "option"), list(float_options()))
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_what_is_no_finite_number_is_refused(
    name: str, option: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_files(tmp_path)
    words = own_words(EXAMPLES[name][0])[len(name.split()) :]
    with pytest.raises((UsageError, typer.TyperException)) as refused:  # Typer's own, where there are bounds
        COMMANDS[name].invoke(COMMANDS[name].make_context("command", [*words, option, value]))
    assert option in getattr(refused.value, "format_message", refused.value.__str__)()


def test_there_are_such_options() -> None:
    assert len(list(float_options())) > 40


def test_nan_is_one_line_with_a_remedy(run: Callable) -> None:
    for option in ("--round-seconds", "--lr"):
        ended = run("adapt", "federate", "server", "mine", option, "nan")
        assert ended.code == UsageError.exit_code
        assert option in ended.error
    assert "--lr is nan, which is no number to work with; give a finite one" in ended.error


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
