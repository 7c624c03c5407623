"""The front door of the package: the names it shows, and that it can be run."""

import subprocess
import sys

import pocketseek


def test_dir_shows_the_public_names_and_nothing_else() -> None:
    assert dir(pocketseek) == sorted(pocketseek.__all__)


def test_every_public_name_can_be_had() -> None:
    assert all(hasattr(pocketseek, name) for name in pocketseek.__all__)


def test_the_module_runs_as_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pocketseek", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"pocketseek {pocketseek.__version__}\n", "")
