from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from package.samples import write_sample

from pocketseek.errors import FormatError
from pocketseek.formats import tensor_bytes
from pocketseek.package.layout import align, check_layout, cut_bytes, stage_bytes
from pocketseek.package.manifest import Extent, Manifest, TensorEntry, read_manifest


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_manifest(write_sample(tmp_path_factory.mktemp("layout") / "m"))


def change_tensor(manifest: Manifest, index: int, **changes: object) -> Manifest:
    tensors = list(manifest.tensors)
    tensors[index] = replace(tensors[index], **changes)  # type: ignore[arg-type]  # the test names the fields
    return replace(manifest, tensors=tuple(tensors))


def change_extent(manifest: Manifest, index: int, position: int, **changes: int) -> Manifest:
    extents = list(manifest.tensors[index].extents)
    extents[position] = replace(extents[position], **changes)
    return change_tensor(manifest, index, extents=tuple(extents))


def cut_tensor(manifest: Manifest) -> int:
    return next(index for index, tensor in enumerate(manifest.tensors) if len(tensor.extents) > 1)


def second_in_chunk(manifest: Manifest) -> int:
    return next(index for index, tensor in enumerate(manifest.tensors) if tensor.extents[0].offset > 0)


def change_chunk(manifest: Manifest, index: int, **changes: object) -> Manifest:
    chunks = list(manifest.chunks)
    chunks[index] = replace(chunks[index], **changes)  # type: ignore[arg-type]  # the test names the fields
    return replace(manifest, chunks=tuple(chunks))


def without_tensor(manifest: Manifest, name: str) -> Manifest:
    return replace(manifest, tensors=tuple(tensor for tensor in manifest.tensors if tensor.name != name))


def swap(items: tuple[TensorEntry, ...], one: int, two: int) -> tuple[TensorEntry, ...]:
    changed = list(items)
    changed[one], changed[two] = changed[two], changed[one]
    return tuple(changed)


def first_part(manifest: Manifest) -> Extent:
    return manifest.tensors[cut_tensor(manifest)].extents[0]


TAMPERED: list[tuple[str, Callable[[Manifest], Manifest], str]] = [
    ("overlap", lambda m: change_extent(m, second_in_chunk(m), 0, offset=0), "not where the next bytes belong"),
    ("gap", lambda m: change_extent(m, second_in_chunk(m), 0, offset=32768), "not where the next bytes belong"),
    ("unaligned", lambda m: change_extent(m, second_in_chunk(m), 0, offset=16320), "not where the next bytes belong"),
    (
        "chunk skipped",
        lambda m: change_extent(m, second_in_chunk(m), 0, chunk=5, offset=0),
        "not where the next bytes belong",
    ),
    ("chunk far away", lambda m: change_extent(m, 0, 0, chunk=2**31 - 1), "not where the next bytes belong"),
    ("part of a row", lambda m: change_extent(m, cut_tensor(m), 0, num_bytes=1000), "whole tile rows"),
    ("tile index", lambda m: change_extent(m, cut_tensor(m), 1, first_tile=3), "whole tile rows"),
    ("vector cut", lambda m: change_extent(m, 0, 0, num_bytes=16), "whole tile rows"),
    (
        "short",
        lambda m: change_tensor(m, cut_tensor(m), extents=m.tensors[cut_tensor(m)].extents[:1]),
        "its extents hold",
    ),
    ("nothing", lambda m: change_tensor(m, 0, extents=()), "its extents hold"),
    (
        "twice",
        lambda m: change_tensor(m, cut_tensor(m), extents=(first_part(m), *m.tensors[cut_tensor(m)].extents)),
        "whole tile rows",
    ),
    ("past the chunk", lambda m: change_chunk(m, 0, num_bytes=20), "ends at byte"),
    ("chunk too long", lambda m: change_chunk(m, 0, num_bytes=m.chunks[0].num_bytes + 1), "its tensors end at"),
    ("chunk unused", lambda m: replace(m, chunks=(*m.chunks, m.chunks[-1])), "hold no tensor"),
    ("chunk missing", lambda m: replace(m, chunks=m.chunks[:-1]), "there is no chunk"),
    ("no chunks", lambda m: replace(m, chunks=()), "there is no chunk 0"),
    ("segments", lambda m: change_chunk(m, 0, segments=m.chunks[0].segments * 2), "2 segment hashes"),
    ("one hash, two contents", lambda m: change_chunk(m, 1, sha256=m.chunks[0].sha256), "another content"),
    ("chunk stage", lambda m: change_chunk(m, 0, stage="layer.0"), "unknown or out of order|in a chunk of stage"),
    ("unknown chunk stage", lambda m: change_chunk(m, 0, stage="layer.9"), "unknown or out of order"),
    ("unknown stage", lambda m: change_tensor(m, 0, stage="tail"), "unknown or out of order"),
    ("order", lambda m: replace(m, tensors=tuple(reversed(m.tensors))), "unknown or out of order"),
    ("order in a stage", lambda m: replace(m, tensors=swap(m.tensors, 2, 3)), "not where the next bytes belong"),
    ("wrong stage", lambda m: change_tensor(m, 2, stage="embed"), "in stage embed"),
    ("listed twice", lambda m: change_tensor(m, 3, name=m.tensors[2].name), "listed twice|does not belong"),
    ("missing", lambda m: without_tensor(m, "layer.1.q"), "layer.1.q is missing"),
    ("unexpected", lambda m: change_tensor(m, 2, name="layer.0.extra"), "does not belong"),
    ("shape", lambda m: change_tensor(m, 2, shape=(64,)), "does not belong"),
    ("format", lambda m: change_tensor(m, 2, format="q9"), "unknown format 'q9', .*; update pocketseek"),
    ("matrix format", lambda m: change_tensor(m, cut_tensor(m), format="f16"), "whole tile rows"),
    ("vector format", lambda m: change_tensor(m, 0, format="f16"), "a vector in f16"),
    ("dimensions", lambda m: change_tensor(m, 0, shape=(1, 2, 3)), "3 dimensions"),
    (
        "empty stage",
        lambda m: replace(m, config=replace(m.model, family="toy", num_layers=3)),
        "stage layer.2 holds none",
    ),
]


@pytest.mark.parametrize(("tamper", "words"), [case[1:] for case in TAMPERED], ids=[case[0] for case in TAMPERED])
def test_each_rule_of_the_layout_is_enforced(
    sample: Manifest, tamper: Callable[[Manifest], Manifest], words: str
) -> None:
    with pytest.raises(FormatError, match=words):
        check_layout(tamper(sample))


def test_an_untouched_manifest_passes(sample: Manifest) -> None:
    check_layout(sample)


def test_an_unknown_family_may_have_any_tensors(tmp_path: Path, sample: Manifest) -> None:
    other = replace(sample, config=replace(sample.model, family="toy"))
    check_layout(change_tensor(other, 2, name="layer.0.router"))


def test_alignment_and_cuts_are_those_of_the_format() -> None:
    assert [align(offset) for offset in (0, 1, 16384, 16385)] == [0, 16384, 16384, 32768]
    assert cut_bytes("f32", (5,)) == 20
    assert cut_bytes("q4s", (5, 33)) == 576


@pytest.mark.parametrize("max_chunk_bytes", [16_384, 20_000, 40_000, 70_000, 150_000, 2_500_000])
@pytest.mark.parametrize("matrix_format", ["q4s", "f32"])
def test_stages_take_what_the_writer_wrote(matrix_format: str, max_chunk_bytes: int, tmp_path: Path) -> None:
    path = write_sample(tmp_path / "m", matrix_format=matrix_format, max_chunk_bytes=max_chunk_bytes)
    manifest = read_manifest(path)
    stages = {chunk.stage for chunk in manifest.chunks}
    for stage in stages:
        tensors = [
            (tensor_bytes(tensor.format, tensor.shape), cut_bytes(tensor.format, tensor.shape))
            for tensor in manifest.tensors
            if tensor.stage == stage
        ]
        written = sum(chunk.num_bytes for chunk in manifest.chunks if chunk.stage == stage)
        assert stage_bytes(tensors, max_chunk_bytes) == written
