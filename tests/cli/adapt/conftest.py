"""What tests of learning together start from."""

from pathlib import Path

import pytest


@pytest.fixture
def device_texts(tmp_path: Path) -> Path:
    """A folder with the texts of three devices."""
    folder = tmp_path / "devices"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_text("once upon a time there was a quick brown fox. " * 20)
    return folder
