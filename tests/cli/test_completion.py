"""The shell completes commands, options, models and tokens; trouble completes nothing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.cli.completion import complete_installed, complete_model, complete_source, complete_token

PROGRAM = "import sys; from pocketseek.cli.main import main; sys.exit(main())"


def completed(line: str) -> list[str]:
    """What bash would be told after this line; its last word is what was typed so far."""
    words = f"pocketseek {line}".split(" ")
    asked = {
        "_POCKETSEEK_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(words).replace("\n", " "),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | asked, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_commands_options_and_models_are_completed(installed: Path) -> None:
    assert completed("ver") == ["verify"]
    assert "--memory" in completed("chat --mem")
    assert completed("chat t") == ["tiny"]
    assert completed("doc ask report.txt --model t") == ["tiny"]


def test_models_are_those_that_are_here_and_the_demo(installed: Path) -> None:
    assert complete_model("") == ["demo", "tiny"]
    assert complete_installed("") == ["tiny"]
    assert complete_model("x") == []


def test_without_a_data_directory_only_the_demo_is_known() -> None:
    assert complete_model("") == ["demo"]
    assert complete_installed("") == []


def test_half_made_models_are_not_completed(installed: Path) -> None:
    (installed.parent / ".other.partial").mkdir()
    assert complete_installed("") == ["tiny"]


def test_pull_completes_the_catalogue() -> None:
    assert "r1-1.5b" in complete_source("r1-")
    assert "demo" not in complete_source("")


def test_tokens_are_completed_and_a_damaged_file_completes_nothing(run: Callable, home: Path) -> None:
    run("token", "create", "tablet")
    assert complete_token("t") == ["tablet"]
    (home / "tokens.json").write_text("{")
    assert complete_token("t") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_lines_for_a_shell_name_the_program(run: Callable, shell: str) -> None:
    ended = run("completion", shell)
    assert ended.code == 0
    assert "_POCKETSEEK_COMPLETE" in ended.out


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_a_zsh_without_a_set_up_of_its_own_takes_the_lines(run: Callable, tmp_path: Path) -> None:
    (tmp_path / ".zshrc").write_text(run("completion", "zsh").out + "print ${_comps[pocketseek]}\n")
    ended = subprocess.run(
        ["zsh", "-c", "source ~/.zshrc"],
        env={"HOME": str(tmp_path), "PATH": os.defpath},
        capture_output=True,
        text=True,
    )
    assert (ended.stdout, ended.stderr) == ("_pocketseek_completion\n", "")


def test_another_shell_is_refused(run: Callable) -> None:
    assert run("completion", "tcsh").code == 2
