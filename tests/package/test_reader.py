from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from package.samples import FILES, TINY, flip_bit, sample_tensors, some_chunk, stored_bytes, write_sample

from pocketseek.errors import FormatError, IntegrityError, NotFoundError
from pocketseek.formats import tile_row_bytes
from pocketseek.package import reader
from pocketseek.package.manifest import Manifest, read_manifest
from pocketseek.package.reader import Package
from pocketseek.package.verify import Mode, Progress


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_sample(tmp_path / "m")


def test_views_are_read_only_and_aligned(path: Path) -> None:
    with Package.open(path) as package:
        for entry in package.manifest.tensors:
            for part in package.tensor(entry.name).parts:
                assert part.data.dtype == np.uint8
                assert part.data.ndim == 1
                assert part.data.ctypes.data % 4096 == 0
                assert not part.data.flags.writeable


def test_parts_of_a_cut_tensor_begin_at_their_tile_rows(path: Path) -> None:
    with Package.open(path) as package:
        tensor = package.tensor("head.weight")
        row_bytes = tile_row_bytes(tensor.format, tensor.shape[1])
        assert len(tensor.parts) > 1
        first_tile = 0
        for part in tensor.parts:
            assert part.first_tile == first_tile
            first_tile += len(part.data) // row_bytes
        assert tensor.stage == "head"


def test_files_and_tensors_are_found_by_name(path: Path) -> None:
    with Package.open(path) as package:
        assert package.file("tokenizer.json") == FILES["tokenizer.json"]
        assert package.has_file("LICENSE")
        assert not package.has_file("nothing")
        assert package.has_tensor("layer.0.q")
        assert not package.has_tensor("layer.9.q")
        with pytest.raises(NotFoundError, match=r"no file nothing; convert"):
            package.file("nothing")
        with pytest.raises(FormatError, match=r"no tensor layer\.9\.q; convert"):
            package.tensor("layer.9.q")


def test_views_outlive_the_package(path: Path) -> None:
    package = Package.open(path)
    tensor = package.tensor("head.weight")
    package.close()
    package.close()
    del package
    gc.collect()
    expected = sample_tensors(TINY, 1, "q8s")["head.weight"][2]
    assert b"".join(part.data.tobytes() for part in tensor.parts) == expected


def test_a_closed_package_gives_no_more_views(path: Path) -> None:
    with Package.open(path) as package:
        pass
    with pytest.raises(ValueError, match="closed"):
        package.tensor("head.norm")


def test_the_maps_go_with_the_last_view(path: Path) -> None:
    def num_maps() -> int:
        return Path("/proc/self/maps").read_text().count(str(path))

    package = Package.open(path)
    assert num_maps() == len(package.manifest.unique_chunks())
    view = package.tensor("head.norm").parts[0].data
    package.close()
    gc.collect()
    assert num_maps() == 1
    del view
    gc.collect()
    assert num_maps() == 0


def test_a_missing_or_foreign_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        Package.open(tmp_path / "nothing")
    with pytest.raises(FormatError, match="not a pocketseek package"):
        Package.open(tmp_path)


@pytest.mark.parametrize("mode", ["quick", "auto", "full"])
def test_a_missing_chunk_is_named_with_its_stage(path: Path, mode: Mode) -> None:
    some_chunk(path).unlink()
    with pytest.raises(IntegrityError, match="of stage head is missing; run `pocketseek verify NAME --repair`"):
        Package.open(path, verify=mode)


@pytest.mark.parametrize("size", [0, 1, 10**6])
@pytest.mark.parametrize("mode", ["quick", "auto", "full"])
def test_a_chunk_of_the_wrong_size_is_named(path: Path, mode: Mode, size: int) -> None:
    os.truncate(some_chunk(path), size)
    with pytest.raises(IntegrityError, match=f"of stage head has {size} bytes instead of"):
        Package.open(path, verify=mode)


def test_a_chunk_that_is_no_plain_file_is_refused(path: Path) -> None:
    chunk = some_chunk(path)
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(IntegrityError, match="not a plain file"):
        Package.open(path)


def test_a_missing_or_damaged_file_is_named(path: Path) -> None:
    licence = path / "files" / read_manifest(path).files["LICENSE"].sha256
    flip_bit(licence)
    with Package.open(path) as package, pytest.raises(IntegrityError, match="file LICENSE is damaged"):
        package.file("LICENSE")
    licence.unlink()
    with pytest.raises(IntegrityError, match="file LICENSE is missing"):
        Package.open(path)


def test_opening_again_when_a_writer_replaced_the_package_meanwhile(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reader.check_chunks
    pending = [2]

    def replace_first(
        package_dir: Path, manifest: Manifest, *, mode: Mode, progress: Progress | None
    ) -> dict[str, str]:
        if pending:
            write_sample(package_dir, seed=pending.pop())
        return real(package_dir, manifest, mode=mode, progress=progress)

    monkeypatch.setattr(reader, "check_chunks", replace_first)
    with Package.open(path) as package:
        assert package.manifest.recipe == {"seed": 2}
        assert stored_bytes(package, "head.norm") == sample_tensors(TINY, 2, "q8s")["head.norm"][2]


def test_a_chunk_changed_between_checking_and_mapping_is_checked_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reader.check_chunks
    calls = []

    def change_after_first(
        package_dir: Path, manifest: Manifest, *, mode: Mode, progress: Progress | None
    ) -> dict[str, str]:
        stamps = real(package_dir, manifest, mode=mode, progress=progress)
        calls.append(mode)
        if len(calls) == 1:
            chunk = package_dir / "chunks" / manifest.chunks[0].sha256
            data = bytearray(chunk.read_bytes())
            data[5] ^= 1
            chunk.write_bytes(data)
        return stamps

    monkeypatch.setattr(reader, "check_chunks", change_after_first)
    with pytest.raises(IntegrityError, match="damaged"):
        Package.open(path)


def test_readers_see_old_or_new_while_a_writer_replaces_again_and_again(path: Path) -> None:
    errors: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                with Package.open(path, verify="full") as package:
                    seed = package.manifest.recipe["seed"]
                    assert isinstance(seed, int)
                    assert stored_bytes(package, "head.norm") == sample_tensors(TINY, seed, "q8s")["head.norm"][2]
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for seed in range(8):
        write_sample(path, seed=seed)
    done.set()
    thread.join()
    assert errors == []
