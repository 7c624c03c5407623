"""A sealed file read like a plain one: any bytes, in any order."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from package.samples import flip_bit
from package.sealed_samples import files_in, open_seal, write_sealed_sample

from pocketseek.errors import IntegrityError
from pocketseek.package.sealing.sealed_reader import SealedReader


@pytest.fixture
def path(memory_dir: Path) -> Path:
    return write_sealed_sample(memory_dir / "tiny")


def test_reads_are_those_of_the_plain_file(path: Path) -> None:
    opened, _ = open_seal(path)
    for file in files_in(path):
        data = opened.file(file.folder, file.sha256)
        with SealedReader(opened.chunk(file.folder, file.sha256)) as reader:
            assert io.BufferedReader(reader, 100).read() == data
    with SealedReader(opened.chunk(file.folder, file.sha256)) as reader:
        assert reader.read_at(3, 5) == data[3:8]
        assert reader.read_at(len(data) - 2, 100) == data[-2:]
        assert reader.seek(-4, io.SEEK_END) == len(data) - 4
        assert reader.read(99) == data[-4:]
        assert reader.read(1) == b""
    opened.close()


def test_a_changed_segment_is_not_given(path: Path) -> None:
    file = files_in(path)[0]
    flip_bit(file.sealed_path(path), 20_000)
    opened, _ = open_seal(path)
    with SealedReader(opened.chunk(file.folder, file.sha256)) as reader:
        for _ in range(2):
            with pytest.raises(IntegrityError, match="segment 0 is not what it was"):
                reader.read_at(0, 10)
    opened.close()
