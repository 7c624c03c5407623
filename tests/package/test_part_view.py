"""A speech part as a folder: links, checked copies, and of a sealed one nothing in the clear on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from package.samples import write_sample
from part_packages import FILES, write_part

from pocketseek.errors import IntegrityError, SealError, TrustError, UnsupportedError
from pocketseek.package.manifest import read_manifest
from pocketseek.package.part_view import PartView, forget_views, open_part
from pocketseek.package.sealing import memory_file


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def plain_bytes_below(folder: Path) -> list[Path]:
    """Files on the disk that hold some of the model's bytes in the clear."""
    needle = FILES["model.bin"][:64]
    files = [path for path in folder.rglob("*") if not path.is_symlink() and path.is_file()]
    return [path for path in files if needle in path.read_bytes()]


def test_a_file_of_one_chunk_is_that_chunk_and_one_of_several_a_copy(tmp_path: Path) -> None:
    package = write_part(tmp_path / "models" / "ears")
    view = open_part(package, tmp_path / "views")
    assert view.folder.name == "ears"
    assert contents(view.folder) == FILES
    assert (view.folder / "config.json").is_symlink()
    assert not (view.folder / "model.bin").is_symlink()
    view.close()
    assert contents(view.folder) == FILES


def test_a_view_is_made_once_and_again_where_it_was_touched(tmp_path: Path) -> None:
    package = write_part(tmp_path / "ears")
    folder = open_part(package, tmp_path / "views").folder
    before = (folder / "model.bin").stat().st_ino
    assert open_part(package, tmp_path / "views").folder == folder
    assert (folder / "model.bin").stat().st_ino == before
    (folder / "model.bin").write_bytes(b"something else")
    (folder / "config.json").unlink()
    open_part(package, tmp_path / "views")
    assert contents(folder) == FILES


def test_another_version_gets_another_view_and_the_older_one_goes(tmp_path: Path) -> None:
    package = write_part(tmp_path / "ears")
    older = open_part(package, tmp_path / "views").folder
    write_part(package, files=FILES | {"config.json": b"[1]"})
    newer = open_part(package, tmp_path / "views").folder
    assert (newer / "config.json").read_bytes() == b"[1]"
    assert not older.exists()


def test_damage_is_found_before_an_engine_sees_it(tmp_path: Path) -> None:
    package = write_part(tmp_path / "ears")
    chunk = package / "chunks" / read_manifest(package).chunks[0].sha256
    chunk.write_bytes(b"x" * 1000)
    with pytest.raises(IntegrityError, match=r"model\.bin"):
        open_part(package, tmp_path / "views")
    assert list((tmp_path / "views").glob("*")) == []


def test_who_is_not_admitted_is_not_opened(tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise TrustError("revoked")

    with pytest.raises(TrustError):
        open_part(write_part(tmp_path / "ears"), tmp_path / "views", admit=refuse)  # type: ignore[arg-type]
    assert not (tmp_path / "views").exists()


def test_a_language_model_is_no_part(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="language model"):
        open_part(write_sample(tmp_path / "m"), tmp_path / "views")


def test_what_lies_in_the_cache_goes_by_name(tmp_path: Path) -> None:
    for name in ("ears", "ears-2"):
        open_part(write_part(tmp_path / name), tmp_path / "views")
    assert forget_views("ears", tmp_path / "views") >= len(FILES["model.bin"])
    assert [path.name.rpartition("-")[0] for path in (tmp_path / "views").iterdir()] == ["ears-2"]


class TestSealed:
    @pytest.fixture
    def package(self, tmp_path: Path) -> Path:
        pytest.importorskip("cryptography", reason="cryptography is not installed (extra `secure`)")
        from package.sealed_samples import GCM, key

        from pocketseek.package.sealing.in_place import seal_package

        path = write_part(tmp_path / "ears")
        seal_package(path, key, GCM)
        return path

    def open(self, package: Path, letter: str = "k") -> PartView:
        from package.sealed_samples import key

        return open_part(package, package.parent / "views", secret=key(letter))

    def test_files_are_there_and_nothing_of_them_is_on_the_disk(self, package: Path) -> None:
        view = self.open(package)
        assert contents(view.folder) == FILES
        assert plain_bytes_below(package.parent) == []
        view.close()
        assert list((package.parent / "views").iterdir()) == []

    def test_what_an_engine_has_read_is_given_back_and_all_of_it_at_the_end(self, package: Path) -> None:
        before = open_files()
        view = self.open(package)
        assert len(open_files() - before) == len(FILES)
        view.was_read()
        assert not (view.folder / "model.bin").exists()
        assert (view.folder / "espeak-ng-data" / "lang" / "en").read_bytes() == b"en"
        with open(os.devnull, "rb") as another:  # gets a number that was given back
            view.close()
            another.read()
        assert open_files() == before

    def test_no_key_or_another_leaves_nothing(self, package: Path) -> None:
        before = open_files()
        with pytest.raises(SealError):
            self.open(package, "x")
        with pytest.raises(SealError, match="is sealed"):
            open_part(package, package.parent / "views")
        assert list((package.parent / "views").iterdir()) == []
        assert open_files() == before

    def test_a_damaged_segment_is_found(self, package: Path) -> None:
        before = open_files()
        sealed = next(path for path in (package / "chunks").iterdir() if path.stat().st_size > 1000)
        data = bytearray(sealed.read_bytes())
        data[-1] ^= 1
        sealed.write_bytes(data)
        with pytest.raises(IntegrityError):
            self.open(package)
        assert list((package.parent / "views").iterdir()) == []
        assert open_files() == before

    @pytest.mark.parametrize("has_call", [True, False])
    def test_python_for_android_lacks_the_call_but_the_kernel_has_it(
        self, package: Path, monkeypatch: pytest.MonkeyPatch, has_call: bool
    ) -> None:
        monkeypatch.delattr(memory_file.os, "memfd_create", raising=False)
        if not has_call:
            monkeypatch.setattr(memory_file.platform, "machine", lambda: "unheard-of")
            with pytest.raises(UnsupportedError, match="unseal it"):
                self.open(package)
            return
        view = self.open(package)
        assert contents(view.folder) == FILES
        view.close()


def test_a_process_that_died_leaves_links_that_are_swept(tmp_path: Path, dead_process: Callable[[], int]) -> None:
    left = tmp_path / "views" / f".open-{dead_process()}-x"
    mine = tmp_path / "views" / f".open-{os.getpid()}-x"
    left.mkdir(parents=True)
    mine.mkdir()
    forget_views("ears", tmp_path / "views")
    assert not left.exists()
    assert mine.exists()


@pytest.fixture
def dead_process() -> Callable[[], int]:
    def started() -> int:
        import subprocess
        import sys

        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        return process.pid

    return started
