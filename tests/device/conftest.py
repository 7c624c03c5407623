"""A root directory whose files the test chooses."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

FakeRoot = Callable[[Mapping[str, object]], Path]


@pytest.fixture
def fake_root(tmp_path: Path) -> FakeRoot:
    def write(files: Mapping[str, object]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")
        return tmp_path

    return write
