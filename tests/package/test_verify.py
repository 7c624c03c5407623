from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from package.samples import TINY, write_sample

from pocketseek.errors import FormatError, IntegrityError, NotFoundError, StorageError
from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package import marker, verify
from pocketseek.package.manifest import read_manifest
from pocketseek.package.marker import stamp_of
from pocketseek.package.reader import Package
from pocketseek.package.verify import Damage, check_open_chunk, find_damage, verify_package


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with chunks of several segments."""
    model = replace(TINY, vocab_size=12_000)
    return write_sample(tmp_path_factory.mktemp("verify") / "m", model, matrix_format="f32", max_chunk_bytes=5_000_000)


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def test_the_report_counts_what_was_checked(large: Path) -> None:
    manifest = read_manifest(large)
    for full in (False, True):
        report = verify_package(large, full=full)
        assert (report.full, report.num_chunks, report.num_files) == (full, len(manifest.chunks), 2)
        assert report.num_bytes == manifest.num_bytes
        assert report.duration_s >= 0


def test_progress_grows_to_the_total(large: Path) -> None:
    calls: list[tuple[int, int]] = []
    verify_package(large, full=True, progress=lambda done, total: calls.append((done, total)))
    total = sum(chunk.num_bytes for chunk in read_manifest(large).unique_chunks())
    assert calls[-1] == (total, total)
    assert all(0 < after - before <= SEGMENT_BYTES for (before, _), (after, _) in pairwise(calls))


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_any_flipped_bit_is_found_by_full_and_its_segment_and_tensor_named(large: Path, data: st.DataObject) -> None:
    manifest = read_manifest(large)
    chunk = data.draw(st.sampled_from(manifest.chunks))
    offset = data.draw(st.integers(0, chunk.num_bytes - 1))
    segment = offset // SEGMENT_BYTES
    file = large / "chunks" / chunk.sha256
    flip(file, offset)
    try:
        words = f"chunk {chunk.sha256} of stage {chunk.stage} is damaged in segment {segment} "
        with pytest.raises(IntegrityError, match=words) as caught:
            verify_package(large, full=True)
        assert len(str(caught.value).splitlines()) == 1
        (damage,) = find_damage(large, manifest, manifest.unique_chunks())
        assert (damage.sha256, damage.offset) == (chunk.sha256, segment * SEGMENT_BYTES)
        assert damage.num_bytes == min(SEGMENT_BYTES, chunk.num_bytes - damage.offset)
        assert damage.tensors == manifest.tensors_between(chunk.sha256, damage.offset, damage.offset + damage.num_bytes)
    finally:
        flip(file, offset)


def test_of_many_small_tensors_in_a_segment_the_first_are_named() -> None:
    tensors = tuple(f"experts.1.{expert}.{part}" for expert in range(16) for part in ("gate", "up", "down"))
    words = Damage("ab", "experts.1", 0, 1000, tensors).describe()
    assert words.endswith(", experts.1.0.gate, experts.1.0.up, experts.1.0.down, experts.1.1.gate and 44 more")
    assert Damage("ab", "experts.1", 0, 1000, tensors[:4]).describe().endswith(", experts.1.1.gate")
    assert Damage("ab", "experts.1", 0, 1000, ()).describe().endswith(", padding")


def test_damage_in_several_places_is_found_in_all_of_them(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m")
    manifest = read_manifest(path)
    hurt = manifest.chunks[1], manifest.chunks[3]
    for chunk in hurt:
        flip(path / "chunks" / chunk.sha256, 5)
    found = list(find_damage(path, manifest, manifest.unique_chunks()))
    assert [damage.sha256 for damage in found] == [chunk.sha256 for chunk in hurt]


def test_a_chunk_cut_short_while_it_is_hashed_is_damage(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m")
    manifest = read_manifest(path)
    chunk = path / "chunks" / manifest.chunks[0].sha256
    chunk.write_bytes(chunk.read_bytes()[:-1])
    (damage,) = find_damage(path, manifest, manifest.chunks[:1])
    assert (damage.offset, damage.num_bytes) == (0, manifest.chunks[0].num_bytes)


def test_quick_does_not_hash(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m")
    flip(path / "chunks" / read_manifest(path).chunks[0].sha256, 0)
    verify_package(path, full=False)


def test_full_hashes_files_too(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m")
    flip(path / "files" / read_manifest(path).files["LICENSE"].sha256, 3)
    with pytest.raises(IntegrityError, match="file LICENSE is damaged"):
        verify_package(path, full=True)


def test_full_marks_what_it_found_good(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m")
    (path / "verified.json").unlink()
    verify_package(path, full=True)
    calls: list[int] = []
    Package.open(path, progress=lambda done, total: calls.append(done)).close()
    assert calls == []


def test_a_manifest_whose_segment_hash_is_wrong_is_found(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m")
    tree = json.loads((path / "manifest.json").read_bytes())
    tree["chunks"][0]["segments"] = ["0" * 64]
    (path / "manifest.json").write_text(json.dumps(tree))
    with pytest.raises(IntegrityError, match="segment 0"):
        verify_package(path, full=True)


def test_a_chunk_whose_name_alone_is_wrong_is_damaged_as_a_whole(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m")
    tree = json.loads((path / "manifest.json").read_bytes())
    chunk = tree["chunks"][0]
    (path / "chunks" / chunk["sha256"]).rename(path / "chunks" / ("0" * 64))
    chunk["sha256"] = "0" * 64
    (path / "manifest.json").write_text(json.dumps(tree))
    manifest = read_manifest(path)
    (damage,) = find_damage(path, manifest, manifest.chunks)
    assert (damage.sha256, damage.offset, damage.num_bytes) == ("0" * 64, 0, chunk["num_bytes"])


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        verify_package(tmp_path / "nothing", full=True)
    with pytest.raises(FormatError):
        verify_package(tmp_path, full=False)


def test_a_chunk_found_damaged_is_not_used_again_even_if_its_file_looks_untouched(memory_dir: Path) -> None:
    package = write_sample(memory_dir / "m")
    file = package / "chunks" / read_manifest(package).chunks[0].sha256
    status = file.stat()
    flip(file, 40)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(IntegrityError):
        verify_package(package, full=True)
    with pytest.raises(IntegrityError):
        Package.open(package)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Writer:
    """Writes to a file after each of the next calls of something, as often as is set: every second time it is good."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.good = path.read_bytes()
        self.num_times = 0

    def after(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def meddle(*arguments: Any, **options: Any) -> Any:
            result = call(*arguments, **options)
            if self.num_times:
                self.num_times -= 1
                flip(self.path, 3)
            return result

        return meddle


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    package = write_sample(tmp_path / "m")
    return Writer(package / "chunks" / read_manifest(package).chunks[0].sha256)


def check_open(writer: Writer) -> str:
    package = writer.path.parent.parent
    manifest = read_manifest(package)
    with opened(writer.path) as descriptor:
        return check_open_chunk(package, manifest, manifest.chunks[0], descriptor)


def test_an_open_chunk_is_hashed_again_if_somebody_wrote_meanwhile(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_wrong_runs_of", writer.after(verify._wrong_runs_of))
    writer.num_times = 2  # bad when it is hashed for the second time, as it was when it is for the third
    assert check_open(writer) == stamp_of(writer.path.stat())
    assert writer.path.read_bytes() == writer.good


def test_an_open_chunk_that_is_written_to_all_the_time_is_neither_good_nor_bad(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_wrong_runs_of", writer.after(verify._wrong_runs_of))
    writer.num_times = 100
    with pytest.raises(StorageError, match="is being written to; stop the program"):
        check_open(writer)


def test_an_open_chunk_is_not_hashed_while_a_write_could_leave_its_mtime(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writes in one tick of the clock, one before the stamp is taken and one after hashing."""
    hashed_at_ns: list[tuple[int, int]] = []
    usual = verify._wrong_runs_of

    def note(*rest: Any, **options: Any) -> object:
        hashed_at_ns.append((writer.path.stat().st_mtime_ns, verify.time.time_ns()))
        return usual(*rest, **options)

    monkeypatch.setattr(verify, "_wrong_runs_of", note)
    monkeypatch.setattr(verify, "settle", writer.after(marker.settle))
    writer.num_times = 2
    assert check_open(writer) == stamp_of(writer.path.stat())
    ((written_ns, began_ns),) = hashed_at_ns
    assert began_ns - written_ns > marker._CLOCK_TICK_NS


def test_a_chunk_that_was_just_written_when_hashing_began_is_not_vouched_for(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk, package = writer.path, writer.path.parent.parent
    (package / "verified.json").unlink()
    status = chunk.stat()
    now_ns = [status.st_mtime_ns + 1_000_000]
    monkeypatch.setattr(verify.time, "time_ns", lambda: now_ns[0])
    find = verify.find_damage

    def written_to_in_the_same_tick(*rest: Any, **options: Any) -> Iterator[Damage]:
        yield from find(*rest, **options)
        flip(chunk, 3)
        os.utime(chunk, ns=(status.st_atime_ns, status.st_mtime_ns))
        now_ns[0] += 1_000_000_000

    with monkeypatch.context() as patch:
        patch.setattr(verify, "find_damage", written_to_in_the_same_tick)
        Package.open(package).close()
    with pytest.raises(IntegrityError):
        Package.open(package)
