"""Pages that exist in English and Chinese show the same: sections, code, tables, links, pictures."""

import re
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from pocketseek.cli.command_tree import commands
from pocketseek.cli.examples import EXAMPLES
from pocketseek.cli.main import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CHINESE = sorted(path.name for path in (DOCS / "zh").glob("*.md"))
HAN = re.compile("[\u4e00-\u9fff]")


def pair(name: str) -> tuple[str, str]:
    return (DOCS / name).read_text("utf-8"), (DOCS / "zh" / name).read_text("utf-8")


def code(text: str) -> list[str]:
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [*blocks, *(line for line in text.splitlines() if line.startswith("    "))]


def targets(text: str) -> list[str]:
    """Of links and pictures, wherever the page lies; links between the two languages apart."""
    found = re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", text)
    names = [re.sub(r"^(\.\./|zh/)+", "", one or other).replace("-zh.svg", ".svg") for one, other in found]
    return sorted(name for name in names if name != "index.md")


def test_the_first_pages_exist_in_chinese() -> None:
    assert {"index.md", "quick-start.md", "commands.md"} <= set(CHINESE)


@pytest.mark.parametrize("name", CHINESE)
def test_both_have_the_same_sections_code_tables_and_links(name: str) -> None:
    english, chinese = pair(name)
    levels = [re.findall(r"^(#+) ", text, re.MULTILINE) for text in (english, chinese)]
    assert levels[0] == levels[1]
    assert code(english) == code(chinese)
    assert english.count("\n| ") == chinese.count("\n| ")
    assert targets(english) == targets(chinese)


@pytest.mark.parametrize("name", CHINESE)
def test_the_chinese_page_is_chinese(name: str) -> None:
    _, chinese = pair(name)
    assert len(HAN.findall(chinese)) > 100


@pytest.mark.parametrize("page", ["commands.md", "zh/commands.md"])
def test_the_overview_has_every_command_with_its_example(page: str) -> None:
    rows = re.findall(r"^\| `([a-z -]+)` \| [^|]+ \| `(.+)` \|$", (DOCS / page).read_text("utf-8"), re.MULTILINE)
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    working = {name for name, _ in commands(root) if name and name in EXAMPLES}
    assert {name for name, _ in rows} == working
    assert {name: example.replace(r"\|", "|") for name, example in rows} == {
        name: EXAMPLES[name][0] for name in working
    }


@pytest.mark.parametrize("page", ["zh/index.md", "zh/quick-start.md", "zh/commands.md"])
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", (DOCS / page).read_text("utf-8"))
    assert [link for link in links if not (DOCS / page).parent.joinpath(link).exists()] == []
