"""For all tests: whatever is kept in the data directory is kept in a directory of the test."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path / "own-home"))
