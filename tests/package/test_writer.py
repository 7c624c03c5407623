from __future__ import annotations

import hashlib
import os
import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from package.samples import (
    MEMORY_DISK,
    SMALL_CHUNK_BYTES,
    TINY,
    expected_names,
    fill,
    names_below,
    sample_tensors,
    seed_on_disk,
    stored_bytes,
    with_layers,
    write_sample,
)

from pocketseek.errors import BusyError, FormatError, StorageError
from pocketseek.formats import SEGMENT_BYTES, tile_row_bytes
from pocketseek.package.manifest import read_manifest
from pocketseek.package.reader import Package
from pocketseek.package.writer import PackageWriter
from pocketseek.types import ModelConfig


@st.composite
def models(draw: st.DrawFn) -> ModelConfig:
    heads, kv_heads = draw(st.sampled_from([(1, 1), (2, 1), (4, 2), (3, 3)]))
    return ModelConfig(
        family=draw(st.sampled_from(["llama", "qwen2", "qwen3"])),
        num_layers=draw(st.integers(1, 3)),
        hidden_size=draw(st.integers(1, 100)),
        intermediate_size=draw(st.integers(1, 100)),
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=draw(st.integers(1, 20)) * 2,
        vocab_size=draw(st.integers(1, 200)),
        context_length=128,
        rms_norm_eps=1e-6,
        rope_theta=1e6,
        tied_embeddings=draw(st.booleans()),
        qkv_bias=draw(st.booleans()),
        qk_norm=draw(st.booleans()),
    )


@settings(max_examples=60, deadline=None)
@given(
    model=models(),
    matrix_format=st.sampled_from(["q4s", "q4a", "q4p", "q6s", "q8s", "f16", "f32"]),
    max_chunk_bytes=st.integers(16_384, 150_000),
    rows_per_piece=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_every_byte_comes_back_whatever_the_shapes_chunks_and_pieces(
    model: ModelConfig, matrix_format: str, max_chunk_bytes: int, rows_per_piece: int, seed: int
) -> None:
    with TemporaryDirectory(dir=MEMORY_DISK) as folder:
        path = write_sample(
            Path(folder) / "m",
            model,
            seed=seed,
            matrix_format=matrix_format,
            max_chunk_bytes=max_chunk_bytes,
            rows_per_piece=rows_per_piece,
        )
        with Package.open(path, verify="full") as package:
            for name, (format_name, shape, data) in sample_tensors(model, seed, matrix_format).items():
                tensor = package.tensor(name)
                assert (tensor.format, tensor.shape) == (format_name, shape)
                assert stored_bytes(package, name) == data
                assert all(part.data.ctypes.data % 64 == 0 for part in tensor.parts)


def test_layout_follows_the_rules_of_the_format(tmp_path: Path) -> None:
    manifest = read_manifest(write_sample(tmp_path / "m"))
    assert len(manifest.chunks) > 4
    assert any(len(tensor.extents) > 1 for tensor in manifest.tensors)
    for tensor in manifest.tensors:
        first_tile = 0
        for extent in tensor.extents:
            assert manifest.chunks[extent.chunk].stage == tensor.stage
            assert extent.offset % 16384 == 0
            assert extent.first_tile == first_tile
            if len(tensor.shape) == 2:
                first_tile += extent.num_bytes // tile_row_bytes(tensor.format, tensor.shape[1])
    assert all(chunk.num_bytes <= SMALL_CHUNK_BYTES for chunk in manifest.chunks)


def test_a_tensor_that_fits_in_a_chunk_is_not_cut(tmp_path: Path) -> None:
    manifest = read_manifest(write_sample(tmp_path / "m"))
    for tensor in manifest.tensors:
        if sum(extent.num_bytes for extent in tensor.extents) <= SMALL_CHUNK_BYTES:
            assert len(tensor.extents) == 1


def test_chunks_and_files_are_named_by_their_hash_and_segments_match(tmp_path: Path) -> None:
    model = replace(TINY, vocab_size=9000)  # an embedding of more than two segments
    path = write_sample(tmp_path / "m", model, matrix_format="f32", max_chunk_bytes=2_500_000)
    manifest = read_manifest(path)
    assert max(len(chunk.segments) for chunk in manifest.chunks) == 3
    for chunk in manifest.chunks:
        data = (path / "chunks" / chunk.sha256).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (chunk.num_bytes, chunk.sha256)
        runs = [data[start : start + SEGMENT_BYTES] for start in range(0, len(data), SEGMENT_BYTES)]
        assert chunk.segments == tuple(hashlib.sha256(run).hexdigest() for run in runs)
    for entry in manifest.files.values():
        assert hashlib.sha256((path / "files" / entry.sha256).read_bytes()).hexdigest() == entry.sha256


def test_memory_is_bounded_by_one_piece(tmp_path: Path) -> None:
    piece = b"0" * (32 * 4 * 16 * 50)  # 50 tile rows of 32 inputs in f32: 100 kB
    with PackageWriter(tmp_path / "m", max_chunk_bytes=10_000_000) as writer:
        writer.begin_stage("embed")
        tracemalloc.start()
        try:
            writer.add_tensor("embed.weight", "f32", (16 * 50 * 300, 32), (bytes(piece) for _ in range(300)))
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak_bytes < 1_000_000


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = write_sample(tmp_path / "one"), write_sample(tmp_path / "two", rows_per_piece=5)
    assert (one / "manifest.json").read_bytes() == (two / "manifest.json").read_bytes()
    assert names_below(one) == names_below(two)


def test_equal_chunks_are_stored_once(tmp_path: Path) -> None:
    path = tmp_path / "m"
    with PackageWriter(path) as writer:
        for stage in ("embed", "layer.0", "layer.1", "head"):
            writer.begin_stage(stage)
            writer.add_tensor(f"{stage}.ones", "f32", (8,), [np.ones(8, "<f4").view(np.uint8)])
        model = replace(TINY, family="toy")
        writer.commit(name="m", model=model, recipe={}, quality={}, provenance={})
    with Package.open(path, verify="full") as package:
        assert len(package.manifest.chunks) == 4
        assert len(list((path / "chunks").iterdir())) == 1
        assert package.manifest.num_bytes == 32
        assert stored_bytes(package, "layer.1.ones") == np.ones(8, "<f4").tobytes()


def test_pieces_may_be_bytes_views_or_arrays_of_any_shape(tmp_path: Path) -> None:
    data = bytes(range(256)) * 2
    for index, piece in enumerate([data, memoryview(data), np.frombuffer(data, np.uint8).reshape(2, 256)]):
        with PackageWriter(tmp_path / str(index)) as writer:
            writer.begin_stage("embed")
            writer.add_tensor("embed.x", "f32", (128,), [b"", piece, np.zeros((0, 4), np.uint8)])
    assert names_below(tmp_path) == set()


def test_leaving_without_commit_leaves_no_trace(tmp_path: Path) -> None:
    with PackageWriter(tmp_path / "m", max_chunk_bytes=SMALL_CHUNK_BYTES) as writer:
        fill(writer)
        assert names_below(tmp_path)
    assert names_below(tmp_path) == set()


@pytest.mark.parametrize("error", [KeyError("source"), OSError("source"), KeyboardInterrupt("source")])
def test_an_error_of_the_source_comes_out_as_it_is_and_leaves_no_trace(tmp_path: Path, error: BaseException) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"0" * 1088
        raise error

    def convert() -> None:
        with PackageWriter(tmp_path / "m") as writer:
            writer.begin_stage("embed")
            writer.add_tensor("embed.weight", "q8s", (70, 48), pieces())

    with pytest.raises(type(error), match="source"):
        convert()
    assert names_below(tmp_path) == set()


def test_committing_leaves_only_the_package(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m")
    assert os.listdir(tmp_path) == ["m"]
    assert names_below(path) == expected_names(path)


def test_missing_parents_are_made(tmp_path: Path) -> None:
    assert seed_on_disk(write_sample(tmp_path / "a" / "b" / "m")) == 1


def test_the_second_writer_for_a_destination_is_told_it_is_busy(tmp_path: Path) -> None:
    with PackageWriter(tmp_path / "m", max_chunk_bytes=SMALL_CHUNK_BYTES) as first:
        fill(first)
        with pytest.raises(BusyError, match="another process"), PackageWriter(tmp_path / "m"):
            pass
        first.commit(name="tiny", model=TINY, recipe={"seed": 1}, quality={}, provenance={})
    assert seed_on_disk(tmp_path / "m") == 1
    assert os.listdir(tmp_path) == ["m"]


def test_of_many_writers_at_once_one_wins_and_the_package_is_whole(tmp_path: Path) -> None:
    outcomes: list[str] = []
    gate = threading.Barrier(6)

    def write(seed: int) -> None:
        gate.wait()
        try:
            write_sample(tmp_path / "m", seed=seed)
            outcomes.append("written")
        except BusyError:
            outcomes.append("busy")

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 6
    assert "written" in outcomes
    assert seed_on_disk(tmp_path / "m") in range(6)
    assert os.listdir(tmp_path) == ["m"]
    assert names_below(tmp_path / "m") == expected_names(tmp_path / "m")


def test_leftovers_of_a_dead_writer_are_removed_by_the_next(tmp_path: Path) -> None:
    dead = tmp_path / ".m.pocketseek-partial"
    (dead / "chunks").mkdir(parents=True)
    (dead / "chunks" / "unfinished").write_bytes(b"x" * 1000)
    (tmp_path / ".m.pocketseek-lock").touch()
    assert seed_on_disk(write_sample(tmp_path / "m")) == 1
    assert os.listdir(tmp_path) == ["m"]


def test_a_size_that_cannot_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"needs .* bytes\) and .* are free; free some space"),
        PackageWriter(tmp_path / "m", expected_bytes=2**60),
    ):
        pass
    assert names_below(tmp_path) == set()


def test_an_inconsistent_package_is_not_committed(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m", seed=1)
    with PackageWriter(path, max_chunk_bytes=SMALL_CHUNK_BYTES) as writer:
        fill(writer, seed=2)
        with pytest.raises(FormatError, match=r"layer\.2"):
            writer.commit(name="tiny", model=with_layers(3), recipe={}, quality={}, provenance={})
    assert seed_on_disk(path) == 1
    assert names_below(path) == expected_names(path)


@pytest.mark.parametrize("pieces", [[], [b"0" * 1088], [b"0" * 1088] * 6, [b"0" * 100] * 2, [b"0" * 10880]])
def test_pieces_of_the_wrong_size_are_refused(tmp_path: Path, pieces: list[bytes]) -> None:
    with PackageWriter(tmp_path / "m") as writer:
        writer.begin_stage("embed")
        with pytest.raises(ValueError, match=r"embed\.weight"):
            writer.add_tensor("embed.weight", "q8s", (70, 48), pieces)
        with pytest.raises(ValueError, match="not open"):  # a torn tensor cannot be committed
            writer.commit(name="m", model=TINY, recipe={}, quality={}, provenance={})


@pytest.mark.parametrize(
    ("format_name", "shape"), [("q4z", (16, 32)), ("q8s", (32,)), ("f32", ()), ("f32", (1, 2, 3)), ("f32", (16, 2**25))]
)
def test_impossible_tensors_are_refused(tmp_path: Path, format_name: str, shape: tuple[int, ...]) -> None:
    with PackageWriter(tmp_path / "m") as writer:
        writer.begin_stage("embed")
        with pytest.raises(FormatError, match=r"tensor embed\.x"):
            writer.add_tensor("embed.x", format_name, shape, [])


def test_calls_out_of_order_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not open"):
        PackageWriter(tmp_path / "m").begin_stage("embed")
    with PackageWriter(tmp_path / "m") as writer, pytest.raises(ValueError, match="begin_stage"):
        writer.add_tensor("embed.x", "f32", (1,), [b"0000"])


def test_a_failed_write_leaves_no_directories_that_it_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no luck"), PackageWriter(tmp_path / "a" / "b" / "m"):
        raise ValueError("no luck")
    assert list(tmp_path.iterdir()) == []


def test_directories_made_for_a_package_stay_with_it(tmp_path: Path) -> None:
    write_sample(tmp_path / "a" / "b" / "m")
    assert (tmp_path / "a" / "b" / "m" / "manifest.json").is_file()
