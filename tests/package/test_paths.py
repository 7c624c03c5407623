from __future__ import annotations

from pathlib import Path

import pytest

from pocketseek.package.paths import (
    NAME_PATTERN,
    chunk_path,
    file_path,
    lock_path,
    neighbour_owner,
    partial_path,
    trash_path,
)


def test_chunks_and_files_are_found_by_hash() -> None:
    assert chunk_path(Path("m"), "ab") == Path("m/chunks/ab")
    assert file_path(Path("m"), "cd") == Path("m/files/cd")


@pytest.mark.parametrize("name", ["m", "a.b", "with space", "-", "…", "line\nbreak", ".hidden"])
def test_neighbours_lead_back_to_their_owner_and_are_no_model_names(name: str) -> None:
    owner = Path("/models") / name
    neighbours = {partial_path(owner), trash_path(owner), lock_path(owner)}
    assert len(neighbours) == 3
    for path in neighbours:
        assert path.parent == owner.parent
        assert neighbour_owner(path) == owner
        assert not NAME_PATTERN.fullmatch(path.name)


@pytest.mark.parametrize(
    "name", ["m", ".m", ".pocketseek-lock", "..pocketseek-lock", ".m.pocketseek-key", ".m.partial"]
)
def test_other_names_are_no_neighbours(name: str) -> None:
    assert neighbour_owner(Path("/models") / name) is None
