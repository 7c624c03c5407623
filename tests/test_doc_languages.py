"""Pages that exist in English and Chinese show the same: sections, code, tables, links, pictures; and each section of
the Chinese was written from the English of today (scripts/zh)."""

import re
import shutil
import subprocess
import sys
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
    """Without remarks behind commands; of what a program shows, which has a language, the commands alone."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    shown = [
        "\n".join(line for line in block.splitlines() if line.startswith("$ ")) if block.startswith("$ ") else block
        for _, block in blocks
    ]
    return [*shown, *(re.split(r"\s+# ", line)[0] for line in rest.splitlines() if line.startswith("    "))]


def targets(text: str) -> list[str]:
    """Of links and pictures, wherever the page lies; links between the two languages apart."""
    found = re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", text)
    names = [re.sub(r"^(\.\./|zh/)+", "", one or other).replace("-zh.svg", ".svg") for one, other in found]
    return sorted(name for name in names if name != "index.md")


def test_the_first_pages_exist_in_chinese() -> None:
    begin = {"index.md", "quick-start.md", "phone.md", "concepts.md", "coming-from.md", "limits.md"}
    tasks = {"tasks.md", "page.md", "voice.md", "doc.md", "serve.md", "device.md", "update.md", "adapt.md"}
    assert begin | tasks | {"commands.md", "errors.md"} <= set(CHINESE)


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


@pytest.mark.parametrize("name", CHINESE)
def test_links_lead_somewhere_and_to_chinese_where_there_is_some(name: str) -> None:
    page = DOCS / "zh" / name
    links = re.findall(r"(?:\]\(|src=\")(?!https?:)([^)#\s\"]+)", page.read_text("utf-8"))
    assert [link for link in links if not page.parent.joinpath(link).exists()] == []
    home = {"../index.md"}  # the way back
    assert [link for link in links if link.startswith("../") and link[3:] in CHINESE and link not in home] == []


def test_the_chinese_was_written_from_the_english_of_today() -> None:
    """Otherwise: translate what has changed, then `scripts/zh --seen PAGE`."""
    done = subprocess.run([sys.executable, ROOT / "scripts" / "zh"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


def test_a_changed_word_is_found_and_a_changed_line_end_is_none(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    shutil.copytree(DOCS / "zh", tmp_path / "docs" / "zh")
    for page in (*ROOT.glob("README*.md"), *(DOCS / name for name in CHINESE)):
        shutil.copy(page, tmp_path / page.relative_to(ROOT))
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(ROOT / "scripts" / "zh", tmp_path / "scripts" / "zh")

    def asked(*arguments: str) -> str:
        done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == (1 if done.stdout else 0)
        return done.stdout

    page = tmp_path / "docs" / "quick-start.md"
    page.write_text(page.read_text("utf-8").replace("in the browser of", "in the\nbrowser of"), "utf-8")
    assert asked() == ""
    page.write_text(page.read_text("utf-8").replace("Type a question", "Write a question"), "utf-8")
    (line,) = asked().splitlines()
    assert line.startswith("docs/zh/quick-start.md:")
    assert "The first conversation" in line
    asked("--seen")
    assert asked() == ""
