"""What the front pages promise is true: the example runs, commands and links exist, both languages show the same."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import tiny_gguf

from pocketseek.cli.main import app

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh-CN.md")
PAGES = (
    *READMES,
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/**/*.md"))),
)

COMMANDS = {command.name for command in (*app.registered_commands, *app.registered_groups)}


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def python_blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)


def code_lines(page: str) -> list[str]:
    """Indented lines without their comments."""
    return [line.split("#")[0].strip() for line in text_of(page).splitlines() if line.startswith("    ")]


def test_the_python_example_runs_and_prints(tmp_path: Path) -> None:
    (example,) = python_blocks("README.md")
    tiny_gguf(tmp_path / "model.gguf", type_name="Q4_1")
    environment = os.environ | {"POCKETSEEK_HOME": str(tmp_path / "home"), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()[0].split()) > 1
    assert not (tmp_path / "home").exists()


def test_both_languages_have_the_same_code_and_as_many_sections() -> None:
    english, chinese = READMES
    assert python_blocks(english) == python_blocks(chinese)
    assert code_lines(english) == code_lines(chinese)
    assert text_of(english).count("\n## ") == text_of(chinese).count("\n## ")
    assert text_of(english).count("\n| ") == text_of(chinese).count("\n| ")


@pytest.mark.parametrize("page", READMES)
def test_it_starts_with_the_two_commands(page: str) -> None:
    commands = [line for line in code_lines(page) if line][:2]
    assert [command.split()[0] for command in commands] == ["scripts/demo", "scripts/test"]


def test_what_pages_import_is_there() -> None:
    for page in PAGES:
        for module, names in re.findall(r"^ *from (pocketseek\S*) import (.+)$", text_of(page), re.MULTILINE):
            missing = [name for name in names.split(", ") if not hasattr(importlib.import_module(module), name)]
            assert missing == [], page


@pytest.mark.parametrize("page", PAGES)
def test_anchors_of_links_are_those_of_sections(page: str) -> None:
    """Of Chinese pages the site gives sections the anchors of the English ones (scripts/site_hooks.py)."""
    missing = []
    for link, anchor in re.findall(r"\]\(((?!https?:)[^)#\s]*\.md|)#([^)\s]+)\)", text_of(page)):
        target = (ROOT / page).parent / link if link else ROOT / page
        english = ROOT / "docs" / target.name if target.parent.name == "zh" else target
        if anchor not in anchors(english.read_text("utf-8")):
            missing.append(f"{link}#{anchor}")
    assert missing == []


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", one).strip().lower()) for one in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", text_of(page))
    missing = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", [*READMES, "docs/cli.md"])
def test_commands_that_are_shown_exist(page: str) -> None:
    known = COMMANDS
    shown = set(re.findall(r"(?:^    |`|&& )pocketseek ([a-z]+)", text_of(page), re.MULTILINE))
    assert shown
    assert shown <= known


def test_every_command_is_documented() -> None:
    assert set(re.findall(r"`pocketseek ([a-z]+)", text_of("docs/commands.md"))) >= COMMANDS


def test_scripts_exist_and_can_be_run() -> None:
    scripts = ("demo", "test", "check", "arm64", "enter-arm64", "setup-termux", "wheels", "phone-sim", "man")
    for name in (*(f"scripts/{script}" for script in scripts), ".ci/run"):
        assert os.access(ROOT / name, os.X_OK), name
