"""When chunks were last found good; a note that is damaged tells nothing."""

from pathlib import Path

import pytest
from package.samples import flip_bit, some_chunk, write_sample

from pocketseek.errors import IntegrityError
from pocketseek.package.check_record import note_checked, read_checked
from pocketseek.package.manifest import read_manifest
from pocketseek.package.sealing.in_place import seal_package
from pocketseek.package.sealing.key_slots import key_secret
from pocketseek.package.verify import verify_package

A, B = "a" * 64, "b" * 64


def test_notes_add_up(tmp_path: Path) -> None:
    assert read_checked(tmp_path) == {}
    note_checked(tmp_path, [A], 1000)
    note_checked(tmp_path, [B], 2000)
    assert read_checked(tmp_path) == {A: 1000, B: 2000}


@pytest.mark.parametrize(
    "chunks",
    [
        "1",
        "{}",
        f'{{"{A}":"x"}}',
        f'{{"{A}":true}}',
        f'{{"{A}":-1}}',
        f'{{"{A}":9223372036854775807}}',
        '{"../x":1000}',
    ],
)
def test_anything_else_is_not_read(tmp_path: Path, chunks: str) -> None:
    (tmp_path / "checked.json").write_text(f'{{"chunks":{chunks}}}')
    assert read_checked(tmp_path) == {}


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    note_checked(tmp_path / "nowhere", [A], 1000)
    assert read_checked(tmp_path / "nowhere") == {}


def test_a_chunk_that_is_found_damaged_counts_as_checked_no_more(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "tiny")
    verify_package(path, full=True)
    chunks = {entry.sha256 for entry in read_manifest(path).unique_chunks()}
    chunk = some_chunk(path)
    flip_bit(chunk, 0)
    with pytest.raises(IntegrityError):
        verify_package(path, full=True)
    assert set(read_checked(path)) == chunks - {chunk.name}


def test_so_it_is_with_a_sealed_one(tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="cryptography is not installed (extra `secure`)")
    path = write_sample(tmp_path / "tiny")
    verify_package(path, full=True)
    seal_package(path, lambda: key_secret(b"k" * 32, "here"), "aes-256-gcm")
    chunk = some_chunk(path)
    flip_bit(chunk.with_name(f"{chunk.name}.sealed"), 20_000)
    with pytest.raises(IntegrityError):
        verify_package(path, full=True)
    assert chunk.name not in read_checked(path)


def test_a_full_check_notes_every_chunk_and_damage_notes_none(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m")
    verify_package(path, full=False)
    assert read_checked(path) == {}
    flip_bit(some_chunk(path))
    with pytest.raises(IntegrityError):
        verify_package(path, full=True)
    assert read_checked(path) == {}
    flip_bit(some_chunk(path))
    verify_package(path, full=True)
    assert read_checked(path).keys() == {entry.sha256 for entry in read_manifest(path).chunks}
