"""One sealing holds the versions that there are: admitted before they come, gone when the record is next written."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from package.samples import flip_bit, write_sample
from package.sealed_samples import files_in, key, open_seal, write_sealed_sample

from pocketseek.errors import SealError, UsageError
from pocketseek.package.manifest import read_manifest, read_manifest_bytes
from pocketseek.package.sealing.seal_hold import SealHold, read_whole_record
from pocketseek.package.sealing.seal_record import SealRecord, files_of, read_record


@pytest.fixture
def path(memory_dir: Path) -> Path:
    return write_sealed_sample(memory_dir / "tiny")


def record_of(path: Path) -> SealRecord:
    record = read_record(path)
    assert record is not None
    return record


def test_an_admitted_version_opens_and_the_present_one_still_does(path: Path, memory_dir: Path) -> None:
    other = write_sample(memory_dir / "other", seed=2)
    data = read_manifest_bytes(other)
    with closing(SealHold.open(path, record_of(path), key())) as hold:
        hold.admit(data, {file.name: "0" * 64 for file in files_of(read_manifest(other))})
    open_seal(path)[0].close()
    shutil.copyfile(path / "manifest.json", path / "previous.json")
    shutil.copyfile(other / "manifest.json", path / "manifest.json")
    open_seal(path)[0].close()
    record = record_of(path)
    assert record.is_of(data)
    assert len(record.files) > len(files_in(path))
    (path / "previous.json").unlink()
    with closing(SealHold.open(path, record, key())) as hold:
        hold.note({})
    assert record_of(path).also == ()
    assert set(record_of(path).files) == {file.name for file in files_in(path)}


def test_a_version_that_was_not_admitted_does_not_open(path: Path, memory_dir: Path) -> None:
    shutil.copyfile(write_sample(memory_dir / "other", seed=2) / "manifest.json", path / "manifest.json")
    with pytest.raises(SealError, match="not the one that was sealed"):
        SealHold.open(path, record_of(path), key())


def test_only_the_key_opens_it(path: Path) -> None:
    with pytest.raises(SealError, match="give --key-file or --key-command"):
        SealHold.open(path, record_of(path), None)
    with pytest.raises(SealError, match="does not open it"):
        SealHold.open(path, record_of(path), key("x"))


def test_a_sealed_file_is_told_from_anything_else(path: Path) -> None:
    first, second = files_in(path)[:2]
    with closing(SealHold.open(path, record_of(path), key())) as hold:
        assert hold.hash_of(first, first.sealed_path(path)) == record_of(path).files[first.name]
        assert hold.hash_of(first, second.sealed_path(path)) is None
        assert hold.hash_of(first, path / "nothing") is None
        flip_bit(first.sealed_path(path), 20_000)
        assert hold.hash_of(first, first.sealed_path(path)) is None


def test_half_sealed_is_told(path: Path) -> None:
    manifest = read_manifest(path)
    assert read_whole_record(path, manifest) is not None
    with closing(SealHold.open(path, record_of(path), key())) as hold:
        hold._write(hold.record.without_file(files_in(path)[0]), ())
    with pytest.raises(UsageError, match="sealed in part"):
        read_whole_record(path, manifest)
