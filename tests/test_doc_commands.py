"""Every `pocketseek ...` that a page shows, in English and Chinese, is understood by the program of today: its commands
and options exist, and a line that stands alone is parsed to its end (values, too; files need not be there).

A line in a block of code is taken whole; what stands within a text may leave arguments out.
"""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.core import TyperGroup, TyperOption
from typer.main import get_command

from pocketseek.cli.habits import translate
from pocketseek.cli.main import app, commands_of
from pocketseek.errors import UsageError

ROOT = Path(__file__).parents[1]
# Histories and transcripts show what was typed then; the page about habits shows what is not taken, too (test_habits).
OLD = {"lab-notes.md", "phone-sim.md"}
PAGES = sorted(
    page for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")) if page.name not in {*OLD, "coming-from.md"}
)
PROGRAM = get_command(app)
COMMANDS = commands_of(app)
BETWEEN = re.compile(r"\s(?:&&|\|\|?|;|>>?|<|&)(?:\s|$)")  # what parts a line of a shell
OMITTED = re.compile(r"\.\.\.|…")
NO_COMMAND = ("pocketseek manifest signature",)  # begins the bytes that are signed


def blocks(text: str) -> Iterator[str]:
    """Lines of code, those that end in a backslash joined."""
    fenced = re.findall(r"^```(?:sh|console|bash|)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    indented = (line[4:] for line in rest.splitlines() if line.startswith("    "))
    for block in (*fenced, "\n".join(indented)):
        yield from block.replace("\\\n", " ").splitlines()


def spans(text: str) -> Iterator[str]:
    rest = re.sub(r"^```.*?^```|^    .*$", "", text, flags=re.DOTALL | re.MULTILINE)
    for span in re.findall(r"(?<!`)`([^`\n]+)`", rest):
        yield span.replace(r"\|", "|")


def calls(line: str) -> Iterator[str]:
    """Those of our program in a line of a shell, without what goes to others."""
    code = re.split(r"(?:^|\s)#(?=\s|$)", line.removeprefix("$ "))[0]
    for part in BETWEEN.split(code):
        words = re.sub(r"^\s*(?:[A-Z_]+=\S* +)*", "", part)
        if re.match(r"pocketseek( |$)", words) and not words.startswith(NO_COMMAND):
            yield words.strip()


def parse(call: str) -> None:
    command, words = PROGRAM, translate(shlex.split(call)[1:], COMMANDS)
    while words and isinstance(command, TyperGroup) and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    assert not (words and isinstance(command, TyperGroup) and not words[0].startswith("-")), f"no command {words[0]}"
    try:
        command.make_context("pocketseek", words, resilient_parsing="--help" in words or "--version" in words)
    except Exception as error:  # of the parser's own kinds
        if "does not exist" not in str(error):
            raise AssertionError(getattr(error, "message", error)) from error


def understand(call: str) -> None:
    """Names of commands and options alone. `a|b` stands for each, words in capitals or with Han for any."""
    command = PROGRAM
    options = {name for option in command.params for name in option.opts}
    is_name = True  # of a command: behind the first option come values
    for word in re.split(r"\s+", re.sub(r"'[^']*'|\"[^\"]*\"", "TEXT", call))[1:]:
        if word.startswith("-") and word != "-":
            name = word.split("=")[0].rstrip(",;")
            assert name in {*options, "--help", "--", "--version"}, f"no option {name}"
            is_name = False
        elif isinstance(command, TyperGroup) and is_name:
            names = word.strip("[]").split("|")
            if re.fullmatch(r"[A-Z.\u4e00-\u9fff]+", word):
                break
            assert set(names) <= set(command.commands), f"no command {word}"
            command = command.commands[names[0]]
            options = {
                name
                for one in command.params
                if isinstance(one, TyperOption)
                for name in (*one.opts, *one.secondary_opts)
            }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_the_page_are_understood(page: Path) -> None:
    text = page.read_text("utf-8")
    problems: list[str] = []
    for line in blocks(text):
        for call in calls(line):
            problems += problem(understand if OMITTED.search(call) or "[" in call else parse, call)
    for span in spans(text):
        for call in calls(span):
            problems += problem(understand, call)
    assert problems == []


def problem(check: Callable[[str], None], call: str) -> list[str]:
    try:
        check(call)
    except (AssertionError, UsageError, ValueError) as error:
        return [f"{call}: {error}"]
    return []


@pytest.mark.parametrize(
    ("line", "check"),
    [
        ("pocketseek chat --no-such-option", parse),
        ("pocketseek chatter", parse),
        ("pocketseek doc ask", parse),
        ("pocketseek generate demo text --max-tokens many", parse),
        ("pocketseek doc shred", understand),
        ("pocketseek pull SOURCE --fast", understand),
    ],
)
def test_what_is_not_understood_is_found(line: str, check: Callable[[str], None]) -> None:
    (call,) = calls(f"{line}   # a remark")
    assert problem(check, call)
