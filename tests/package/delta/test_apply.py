"""A chunk of the new version comes out of the old one and its delta, byte for byte, or nothing does."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from package.samples import TINY, write_sample
from package.versions import NEW_FILES, OLD_FILES, write_new, write_old

from pocketseek.errors import FormatError
from pocketseek.package import zstd
from pocketseek.package.delta.apply import apply_delta, apply_open_delta, delta_bases
from pocketseek.package.delta.delta_file import (
    MAGIC,
    MAX_WHOLE_BYTES,
    Blob,
    DeltaHeader,
    parse_header,
    read_header,
    render_delta,
)
from pocketseek.package.delta.make import _whole_parts, make_chunk_delta, make_file_delta
from pocketseek.package.paths import chunk_path
from pocketseek.package.reader import Package


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Package, Package]]:
    folder = tmp_path_factory.mktemp("versions")
    with Package.open(write_old(folder / "old")) as old, Package.open(write_new(folder / "new")) as new:
        yield old, new


def anything(header: DeltaHeader) -> None:
    """Whatever the manifests say (test_delta_fit.py): the delta alone is looked at."""


def made(delta: bytes, old: Package, expected: Blob, folder: Path) -> bytes:
    path = folder / "delta"
    path.write_bytes(delta)
    out = io.BytesIO()

    def read_base(base: Blob, offset: int, num_bytes: int) -> bytes:
        path = chunk_path(old.path, base.sha256)
        if not path.is_file():
            raise FormatError(f"no base {base.sha256}; fetch it")
        return path.read_bytes()[offset : offset + num_bytes]

    apply_delta(path, anything, read_base, out.write, expected)
    return out.getvalue()


def changed_chunks(old: Package, new: Package) -> list[Blob]:
    known = {chunk.sha256 for chunk in old.manifest.chunks}
    return [Blob(chunk.sha256, chunk.num_bytes) for chunk in new.manifest.unique_chunks() if chunk.sha256 not in known]


def some_delta(old: Package, new: Package) -> tuple[bytes, Blob]:
    """Of a chunk that was trained a little."""
    for blob in changed_chunks(old, new):
        delta = make_chunk_delta(old, new, blob.sha256)
        if delta is not None and len(delta) < blob.num_bytes / 2:
            return delta, blob
    raise AssertionError("there is none")


def test_every_changed_chunk_comes_out_and_those_trained_a_little_are_short(
    versions: tuple[Package, Package], tmp_path: Path
) -> None:
    old, new = versions
    sizes: dict[str, list[tuple[int, int]]] = {}
    for blob in changed_chunks(old, new):
        stage = next(chunk.stage for chunk in new.manifest.chunks if chunk.sha256 == blob.sha256)
        delta = make_chunk_delta(old, new, blob.sha256)
        if delta is not None:
            assert made(delta, old, blob, tmp_path) == chunk_path(new.path, blob.sha256).read_bytes()
        sizes.setdefault(stage, []).append((len(delta) if delta is not None else blob.num_bytes, blob.num_bytes))
    assert sizes.keys() == {"layer.0", "layer.1"}
    sent, whole = (sum(column) for column in zip(*sizes["layer.0"], strict=True))
    assert sent < whole / 8


@pytest.mark.parametrize(("old_format", "new_format"), [("q8s", "q4p"), ("q4p", "q8s"), ("q4a", "q6s"), ("q4s", "f16")])
def test_chunks_in_other_formats_and_of_other_sizes_come_out(old_format: str, new_format: str, tmp_path: Path) -> None:
    """Tensors are cut at other places; their bytes are random, so nothing is gained."""
    old_dir = write_sample(tmp_path / "old", matrix_format=old_format, max_chunk_bytes=30_000)
    new_dir = write_sample(tmp_path / "new", matrix_format=new_format, seed=2)
    with Package.open(old_dir) as old, Package.open(new_dir) as new:
        for blob in changed_chunks(old, new):
            delta = make_chunk_delta(old, new, blob.sha256)
            if delta is not None:
                assert made(delta, old, blob, tmp_path) == chunk_path(new.path, blob.sha256).read_bytes()


def test_a_chunk_of_another_shape_is_told_without_the_old_one(tmp_path: Path) -> None:
    old_dir = write_sample(tmp_path / "old", matrix_format="q8s")
    wide = replace(TINY, intermediate_size=96)
    new_dir = write_sample(tmp_path / "new", wide, matrix_format="q8s", seed=2)
    with Package.open(old_dir) as old, Package.open(new_dir) as new:
        for blob in changed_chunks(old, new):
            delta = make_chunk_delta(old, new, blob.sha256)
            if delta is not None:
                assert made(delta, old, blob, tmp_path) == chunk_path(new.path, blob.sha256).read_bytes()


def test_a_text_that_grew_travels_as_what_is_new_in_it(versions: tuple[Package, Package], tmp_path: Path) -> None:
    name = "chat_template.jinja"
    delta = make_file_delta(OLD_FILES[name], NEW_FILES[name])
    assert delta is not None
    assert len(delta) < len(NEW_FILES[name]) / 2
    path = tmp_path / "delta"
    path.write_bytes(delta)
    out = io.BytesIO()
    blob = Blob(hashlib.sha256(NEW_FILES[name]).hexdigest(), len(NEW_FILES[name]))
    apply_delta(path, anything, lambda base, offset, count: OLD_FILES[name][offset : offset + count], out.write, blob)
    assert out.getvalue() == NEW_FILES[name]


def test_random_text_has_no_shorter_delta() -> None:
    assert make_file_delta(b"abc", np.random.default_rng(1).bytes(1000)) is None


# --- what does not fit ---


def test_another_base_gives_an_error(versions: tuple[Package, Package], tmp_path: Path) -> None:
    old, new = versions
    delta, blob = some_delta(old, new)
    path = tmp_path / "delta"
    path.write_bytes(delta)
    with pytest.raises(FormatError, match=r"delta|damaged"):
        apply_delta(path, anything, lambda base, offset, count: bytes(count), lambda piece: None, blob)


def test_a_delta_for_something_else_gives_an_error(versions: tuple[Package, Package], tmp_path: Path) -> None:
    old, new = versions
    delta, blob = some_delta(old, new)
    with pytest.raises(FormatError, match="something else"):
        made(delta, old, Blob("0" * 64, blob.num_bytes), tmp_path)


@given(data=st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_anywhere_gives_an_error(
    versions: tuple[Package, Package], tmp_path: Path, data: st.DataObject
) -> None:
    old, new = versions
    delta, blob = some_delta_once(old, new)
    damaged = bytearray(delta)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(FormatError):  # or a bit that means nothing
        assert hashlib.sha256(made(bytes(damaged), old, blob, tmp_path)).hexdigest() == blob.sha256


_CACHE: dict[Path, tuple[bytes, Blob]] = {}


def some_delta_once(old: Package, new: Package) -> tuple[bytes, Blob]:
    if old.path not in _CACHE:
        _CACHE[old.path] = some_delta(old, new)
    return _CACHE[old.path]


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_truncated_delta_gives_an_error(versions: tuple[Package, Package], tmp_path: Path, cut: int) -> None:
    old, new = versions
    delta, blob = some_delta_once(old, new)
    for short in (delta[:-cut], delta[:cut]):
        with pytest.raises(FormatError):
            made(short, old, blob, tmp_path)


def header_of(delta: bytes) -> dict[str, Any]:
    size, num_bytes = struct.unpack("<II", delta[8:16])
    value = json.loads(zstd.decompress(delta[16 : 16 + size], num_bytes))
    assert isinstance(value, dict)
    return value


HOSTILE: dict[str, dict[str, Any]] = {
    "a copy from beyond its base": {"kind": "copy", "base": 0, "offset": 99_000_000, "num_bytes": 100},
    "a negative offset": {"kind": "copy", "base": 0, "offset": -1, "num_bytes": 100},
    "a base that there is not": {"kind": "copy", "base": 900, "offset": 0, "num_bytes": 100},
    "zeros without end": {"kind": "zeros", "num_bytes": 1 << 60},
    "a whole of terabytes": {"kind": "whole", "num_bytes": 1 << 42, "payload_bytes": 10},
    "a payload of terabytes": {"kind": "whole", "num_bytes": 10, "payload_bytes": 1 << 42},
    "tiles without end": {"kind": "tiles", "format": "f32", "cols": 32, "num_rows": 1 << 40, "payload_bytes": 1},
    "rows without end": {"kind": "tiles", "format": "f32", "cols": 1 << 40, "num_rows": 1, "payload_bytes": 1},
    "a format that there is not": {"kind": "tiles", "format": "q9", "cols": 32, "num_rows": 1, "payload_bytes": 1},
    "old rows beyond their base": {
        "kind": "tiles",
        "format": "q4p",
        "cols": 32,
        "num_rows": 100,
        "payload_bytes": 1,
        "base": 0,
        "offset": 0,
        "old_format": "f32",
    },
    "a payload longer than what it makes": {"kind": "whole", "num_bytes": 5000, "payload_bytes": 90_000_000},
    "a whole as large as a chunk": {"kind": "whole", "num_bytes": 90_000_000, "payload_bytes": 10},
    "one row of millions": {"kind": "tiles", "format": "f32", "cols": 1 << 20, "num_rows": 1, "payload_bytes": 1},
    "values without end": {"kind": "vector", "num_values": 1 << 50, "payload_bytes": 1, "base": 0, "offset": 0},
    "a kind that there is not": {"kind": "run", "num_bytes": 5},
    "a field too many": {"kind": "zeros", "num_bytes": 5, "path": "../../x"},
    "no kind": {"num_bytes": 5},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_part_out_of_bounds_is_refused_in_one_line(what: str) -> None:
    blob = {"sha256": "0" * 64, "num_bytes": 5000}
    text = json.dumps({"result": blob, "bases": [blob], "parts": [HOSTILE[what]]}).encode()
    with pytest.raises(FormatError) as caught:
        parse_header(text)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_told_comes_in_parts_that_are_let_through(tmp_path: Path) -> None:
    data = np.random.default_rng(3).integers(0, 256, 2 * MAX_WHOLE_BYTES + 70_000, np.uint8)
    parts = _whole_parts(data)
    assert len(parts) == 3
    blob = Blob(hashlib.sha256(data).hexdigest(), len(data))
    delta = render_delta(DeltaHeader(blob, (), tuple(part for part, _ in parts)), [payload for _, payload in parts])
    out = io.BytesIO()
    apply_open_delta(io.BytesIO(delta), len(delta), anything, lambda *_: b"", out.write, blob)
    assert out.getvalue() == data.tobytes()


def test_parts_that_are_not_the_size_of_the_result_are_refused(versions: tuple[Package, Package]) -> None:
    delta, _ = some_delta_once(*versions)
    header = header_of(delta)
    header["parts"].append({"kind": "zeros", "num_bytes": 1})
    with pytest.raises(FormatError, match="size of the result"):
        parse_header(json.dumps(header).encode())


def test_a_header_that_is_a_bomb_is_refused() -> None:
    frame = zstd.compress(bytes(64 << 20))
    delta = MAGIC + struct.pack("<II", len(frame), 64 << 20) + frame
    with pytest.raises(FormatError, match="too long"):
        read_header(io.BytesIO(delta), len(delta))


def test_bases_are_told_without_applying(versions: tuple[Package, Package]) -> None:
    old, _ = versions
    delta, _ = some_delta_once(*versions)
    assert {base.sha256 for base in delta_bases(delta)} <= {chunk.sha256 for chunk in old.manifest.chunks}
