"""A data directory with one tiny model in it, and the program as a function."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_models import tiny_gguf

from pocketseek.cli.main import main
from pocketseek.convert.pipeline import convert_checkpoint


@dataclass(frozen=True)
class Ended:
    """How a command ended. Property `json`: what it printed, which must be one JSON object on one line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        assert self.code == 0, self.err
        assert self.out.count("\n") == 1
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value

    @property
    def error(self) -> str:
        """The one line of an error."""
        assert self.code != 0
        assert self.out == ""
        assert self.err.startswith("pocketseek: error: ")
        assert self.err.count("\n") == 1
        return self.err


Run = Callable[..., Ended]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data directory, in English."""
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("POCKETSEEK_LANG", "en")
    return tmp_path / "home"


@pytest.fixture(scope="session")
def tiny_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package outside any data directory; not to be changed."""
    folder = tmp_path_factory.mktemp("packages")
    return convert_checkpoint(tiny_gguf(folder / "tiny.gguf", type_name="Q4_1"), folder / "tiny", models_dir=folder)


@pytest.fixture
def installed(home: Path, tmp_path: Path) -> Path:
    """The package of a model installed as "tiny"."""
    return convert_checkpoint(tiny_gguf(tmp_path / "tiny.gguf"), name="tiny", models_dir=home / "models")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> Ended:
        code = main(_strings(arguments))
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


def _strings(arguments: Sequence[object]) -> list[str]:
    return [str(argument) for argument in arguments]
