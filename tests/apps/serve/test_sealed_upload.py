"""Uploads to a sealed data directory lie there encrypted, and are read from memory."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from package.samples import flip_bit

from pocketseek.apps.doc.read import read_document
from pocketseek.apps.serve.kept_bytes import SealedBytes
from pocketseek.apps.serve.sealed_upload import RECORD_BYTES, is_sealed_upload, plain_bytes
from pocketseek.errors import IntegrityError

KEY = bytes(range(32))
DATA = np.random.default_rng(4).bytes(2 * RECORD_BYTES + 777)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file-1").mkdir()
    return tmp_path / "file-1" / "a.txt"


def keep(path: Path, data: bytes) -> SealedBytes:
    kept = SealedBytes(KEY)
    sink = kept.sink(path)
    for start in range(0, len(data), 70_001):
        sink.write(memoryview(data)[start : start + 70_001])
    sink.finish()
    sink.close()
    return kept


@pytest.mark.parametrize("num_bytes", [0, 1, RECORD_BYTES, RECORD_BYTES + 1, len(DATA)])
def test_what_was_written_comes_back_and_its_size_is_known(path: Path, num_bytes: int) -> None:
    kept = keep(path, DATA[:num_bytes])
    assert b"".join(kept.pieces(path)) == DATA[:num_bytes]
    assert kept.size_of(path) == plain_bytes(path) == num_bytes
    assert os.listdir(path.parent) == ["a.txt.sealed"]


def test_the_disk_shows_nothing_of_it(path: Path) -> None:
    keep(path, DATA)
    data = path.with_name("a.txt.sealed").read_bytes()
    assert not any(DATA[start : start + 24] in data for start in range(0, len(DATA), 1000))


def test_while_it_is_read_another_process_opens_it_by_name(path: Path) -> None:
    kept = keep(path, DATA)
    with kept.readable(path) as readable:
        code = "import hashlib, pathlib, sys; print(hashlib.sha256(pathlib.Path(sys.argv[1]).read_bytes()).hexdigest())"
        done = subprocess.run([sys.executable, "-c", code, str(readable)], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == hashlib.sha256(DATA).hexdigest()
        assert path.is_symlink()
    assert os.listdir(path.parent) == ["a.txt.sealed"]


@pytest.mark.parametrize("place", [0, 20, RECORD_BYTES + 40])
def test_changed_bytes_are_found_out(path: Path, place: int) -> None:
    kept = keep(path, DATA)
    flip_bit(path.with_name("a.txt.sealed"), place)
    with pytest.raises(IntegrityError, match="changed on the disk"):
        b"".join(kept.pieces(path))


def test_a_cut_or_lengthened_file_or_one_from_elsewhere_is_found_out(path: Path) -> None:
    kept, sealed = keep(path, DATA), path.with_name("a.txt.sealed")
    whole, record = sealed.read_bytes(), RECORD_BYTES + 28
    for changed in (whole[:record], whole[: 2 * record], whole + whole[:10], whole[record:], b""):
        sealed.write_bytes(changed)
        with pytest.raises(IntegrityError):
            b"".join(kept.pieces(path))
    other = path.parent.parent / "file-2"
    other.mkdir()
    (other / "a.txt.sealed").write_bytes(whole)
    with pytest.raises(IntegrityError):
        b"".join(kept.pieces(other / "a.txt"))


def test_what_was_plain_is_sealed_and_what_a_kill_left_goes(path: Path) -> None:
    path.write_bytes(DATA)
    for name in ("a.txt.work", "a.txt.work.sealed"):
        path.with_name(name).write_bytes(b"half")
    kept = SealedBytes(KEY)
    kept.settle(path)
    assert b"".join(kept.pieces(path)) == DATA
    assert os.listdir(path.parent) == ["a.txt.sealed"]
    path.symlink_to("/proc/1/fd/999")
    kept.settle(path)
    assert os.listdir(path.parent) == ["a.txt.sealed"]
    kept.unseal(path)
    assert path.read_bytes() == DATA
    assert not is_sealed_upload(path)


def test_dropped_is_gone(path: Path) -> None:
    kept = keep(path, DATA)
    kept.drop(path)
    assert os.listdir(path.parent) == []


def test_a_reader_in_a_process_of_its_own_reads_it(path: Path) -> None:
    pytest.importorskip("lxml", reason="lxml is not installed (extra `doc`)")
    page = path.with_name("a.html")
    kept = keep(page, b"<html><body><h1>Birds</h1><p>The heron stands in shallow water.</p></body></html>")
    with kept.readable(page) as readable:
        document = read_document(readable)
    assert "heron" in " ".join(block.text for block in document.blocks)
    assert os.listdir(path.parent) == ["a.html.sealed"]
