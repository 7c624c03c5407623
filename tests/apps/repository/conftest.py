"""A published sample package, a server that has it, and patience that fits a test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from package.samples import MEMORY_DISK, TINY, write_sample
from web_server import WebServer, serving

from pocketseek.apps.repository.open_source import Link
from pocketseek.apps.repository.patience import Patience, Persistence
from pocketseek.settings import NetworkSettings

BIG = replace(TINY, vocab_size=36_000)  # an embedding of several segments, with the same seed in every version
PATIENCE = Patience(connect_s=5, read_s=1.0, header_s=0.5, window_s=0.3, least_bytes_per_s=1000)
PERSISTENCE = Persistence(tries=4, first_tries=3, first_pause_s=0.001, longest_pause_s=0.01, longest_asked_s=1.0)


def a_link(**changes: object) -> Link:
    return replace(Link(NetworkSettings(), patience=PATIENCE, persistence=PERSISTENCE), **changes)  # type: ignore[arg-type]


@pytest.fixture
def link() -> Link:
    return a_link()


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a web site with the package "tiny" in it; not to be changed."""
    site = tmp_path_factory.mktemp("site")
    write_sample(site / "tiny", seed=1)
    return site


@pytest.fixture(scope="session")
def published_big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose chunks have several segments; not to be changed."""
    site = tmp_path_factory.mktemp("big-site")
    write_sample(site / "big", BIG, seed=1, max_chunk_bytes=100_000_000, rows_per_piece=500)
    return site


@pytest.fixture
def site(published: Path) -> Iterator[WebServer]:
    with serving(published) as server:
        yield server


@pytest.fixture
def big_site(published_big: Path) -> Iterator[WebServer]:
    with serving(published_big) as server:
        yield server


@pytest.fixture
def memory_dir() -> Iterator[Path]:
    """Where syncing costs nothing, for tests that are killed again and again."""
    with TemporaryDirectory(dir=MEMORY_DISK) as folder:
        yield Path(folder)


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "home" / "models"
