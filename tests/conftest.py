"""For all tests: whatever is kept in the data directory is kept in a directory of the test."""

from pathlib import Path

import pytest
from line_of_models import convert_line


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path / "own-home"))


@pytest.fixture(scope="session")
def line_of_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of `convert_line`; not to be changed."""
    return convert_line(tmp_path_factory.mktemp("line"))
