"""A disk that refuses, at any point: one StorageError with a remedy, and nothing left that was not there before."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from package.samples import expected_names, names_below, seed_on_disk, write_sample

from pocketseek.errors import StorageError
from pocketseek.package.writer import PackageWriter


class FailingCalls:
    """Makes the n-th call of the os functions that take space or change directories fail once."""

    NAMES = ("write", "fsync", "replace", "rename", "mkdir", "utime")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail_at: int, code: int) -> None:
        self.left = fail_at
        self.code = code
        for name in self.NAMES:
            monkeypatch.setattr(os, name, self.wrap(getattr(os, name)))

    def wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == -1:
                raise OSError(self.code, os.strerror(self.code))
            return real(*args, **kwargs)

        return call

    @property
    def fired(self) -> bool:
        return self.left < 0


@pytest.mark.parametrize("old_seed", [None, 1])
def test_any_refused_call_leaves_old_or_new_and_nothing_else(memory_dir: Path, old_seed: int | None) -> None:
    for fail_at in range(10_000):
        path = memory_dir / str(fail_at) / "m"
        path.parent.mkdir()
        if old_seed is not None:
            write_sample(path, seed=old_seed)
        refused = False
        with pytest.MonkeyPatch.context() as monkeypatch:
            calls = FailingCalls(monkeypatch, fail_at, errno.ENOSPC)
            try:
                write_sample(path, seed=2, rows_per_piece=100)
            except StorageError:
                refused = True
        seed = seed_on_disk(path) if path.exists() else None
        assert seed in (old_seed, 2)
        assert refused or seed == 2
        assert os.listdir(path.parent) == ([] if seed is None else ["m"])
        if seed is not None:
            assert names_below(path) <= expected_names(path)
        if not calls.fired:
            break
    assert fail_at > 30


def test_a_full_disk_is_reported_with_the_size_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with PackageWriter(tmp_path / "m", expected_bytes=7_000_000) as writer:
        writer.begin_stage("embed")
        FailingCalls(monkeypatch, 0, errno.ENOSPC)
        with pytest.raises(StorageError, match=r"full \(the model needs 7 MB \(7000000 bytes\)\); free some space"):
            writer.add_tensor("embed.x", "f32", (1,), [b"0000"])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EROFS, "read-only; choose a destination"),
        (errno.EACCES, "permission denied; choose a place"),
        (errno.EDQUOT, "the disk is full; free some space"),
        (errno.EFBIG, "file size limit"),
        (errno.EIO, "check the path and the storage"),
    ],
)
def test_each_refusal_has_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str) -> None:
    FailingCalls(monkeypatch, 4, code)
    with pytest.raises(StorageError, match=words):
        write_sample(tmp_path / "m")


def test_the_file_size_limit_of_the_process_is_a_storage_error(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(StorageError, match="file size limit"):
            write_sample(tmp_path / "m")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names_below(tmp_path) == set()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 KiB, where the machine lets us make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    try:
        made = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        made = False
    if not made:
        pytest.skip("no permission to mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full_keeps_the_old_package(small_disk: Path) -> None:
    old = {"LICENSE": b"old"}
    with pytest.raises(StorageError, match="the disk is full"):
        write_sample(small_disk / "m", matrix_format="f32")
    assert names_below(small_disk) == set()
    write_sample(small_disk / "m", matrix_format="q4s", files=old)
    before = names_below(small_disk)
    with pytest.raises(StorageError, match="the disk is full"):
        write_sample(small_disk / "m", matrix_format="f32")
    assert names_below(small_disk) == before


def test_a_path_through_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="check the path"):
        write_sample(tmp_path / "file" / "m")
