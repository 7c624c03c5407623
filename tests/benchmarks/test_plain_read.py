"""Every way of reading plainly reads every byte once; a way that the file system refuses is left out."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import plain_read
import pytest
from plain_read import MIB, Way

FILE_BYTES = (3 * MIB, MIB + 4096, 100)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, num_bytes in enumerate(FILE_BYTES):
        (tmp_path / str(index)).write_bytes(os.urandom(num_bytes))
    return tmp_path


@pytest.mark.parametrize("threads", [1, 3])
def test_all_bytes_are_read(folder: Path, threads: int) -> None:
    way = Way("buffered", threads, MIB)
    with ExitStack() as stack:
        work = list(plain_read.pieces(folder, os.O_RDONLY, way, 1 << 40, stack))
        _, num_bytes = plain_read.read_all(work, way)
    assert num_bytes == sum(FILE_BYTES)


def test_no_more_pieces_than_asked_for(folder: Path) -> None:
    with ExitStack() as stack:
        assert len(list(plain_read.pieces(folder, os.O_RDONLY, Way("buffered", 1, MIB), 2 * MIB, stack))) == 2


def test_the_survey_has_buffered_reads_and_the_best_way_first(folder: Path) -> None:
    rates = plain_read.survey(folder, sum(FILE_BYTES))
    assert {way for way in plain_read.all_ways() if way.mode == "buffered"} <= set(rates)
    assert list(rates.values()) == sorted(rates.values(), reverse=True)


def test_a_read_that_fails_is_no_rate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "preadv", fail)
    assert plain_read.read_rate(folder, Way("direct", 2, MIB), MIB) is None
