"""The bare program says what is here and what to do next."""

from collections.abc import Callable
from pathlib import Path


def test_bare_program_offers_the_demo_when_nothing_is_installed(run: Callable) -> None:
    assert "pocketseek chat demo" in run().out


def test_bare_program_offers_what_is_installed(run: Callable, installed: Path) -> None:
    shown = run().out
    assert "pocketseek chat tiny" in shown
    assert "Installed models: tiny" in shown


def test_bare_program_names_a_broken_model_and_the_remedy(run: Callable, installed: Path) -> None:
    next((installed / "chunks").iterdir()).unlink()
    assert "`pocketseek remove tiny`" in run().out
