"""Which model a command means, and when a person is asked."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.apps import demo_model
from pocketseek.cli.run import model_choice
from pocketseek.cli.run.model_choice import choose_model
from pocketseek.errors import NotFoundError
from pocketseek.settings import read_settings


@pytest.fixture
def installs(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every time the demo model would be installed."""
    calls: list[Path] = []

    def install(models_dir: Path, progress: Callable[[str, int, int], None]) -> Path:
        calls.append(models_dir)
        return models_dir / "demo"

    monkeypatch.setattr(demo_model, "install_demo", install)
    return calls


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A person is there, and answers with these."""
    given: list[bool] = []
    monkeypatch.setattr(model_choice, "is_interactive", lambda: True)
    monkeypatch.setattr(model_choice, "confirm", lambda *_, **__: given.pop(0))
    return given


def test_a_script_that_names_the_demo_gets_it_without_a_question(installs: list[Path], home: Path) -> None:
    assert choose_model(read_settings(), "demo") == ("demo", home / "models" / "demo")
    assert len(installs) == 1


def test_yes_installs_the_demo_even_unnamed(installs: list[Path], home: Path) -> None:
    assert choose_model(read_settings(), None, yes=True) == ("demo", home / "models" / "demo")


@pytest.mark.parametrize("model", [None, "demo"])
def test_a_person_is_asked_once_before_the_demo_is_installed(
    installs: list[Path], answers: list[bool], model: str | None
) -> None:
    answers.append(True)
    assert choose_model(read_settings(), model)[0] == "demo"
    assert len(installs) == 1
    assert answers == []


@pytest.mark.parametrize("model", [None, "demo"])
def test_declining_installs_nothing(installs: list[Path], answers: list[bool], model: str | None) -> None:
    answers.append(False)
    with pytest.raises(NotFoundError):
        choose_model(read_settings(), model)
    assert installs == []


@pytest.mark.usefixtures("installed")
def test_the_only_model_is_taken_without_a_question(installs: list[Path], home: Path) -> None:
    assert choose_model(read_settings(), None) == ("tiny", home / "models" / "tiny")
    assert installs == []
