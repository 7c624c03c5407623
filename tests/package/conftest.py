from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from package.samples import MEMORY_DISK


@pytest.fixture
def memory_dir() -> Iterator[Path]:
    """A directory where syncing costs nothing, for tests that write hundreds of packages."""
    with TemporaryDirectory(dir=MEMORY_DISK) as folder:
        yield Path(folder)
