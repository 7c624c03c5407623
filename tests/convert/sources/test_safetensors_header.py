from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from checkpoints import safetensors_bytes, safetensors_file

from pocketseek.convert.sources.byte_file import ByteFile
from pocketseek.convert.sources.safetensors_header import MAX_HEADER_BYTES, read_safetensors_header
from pocketseek.convert.sources.stored import Placement
from pocketseek.errors import FormatError


def header_of(path: Path, data: bytes) -> dict[str, Placement]:
    path = path / "model.safetensors"
    path.write_bytes(data)
    file = ByteFile(path)
    try:
        return read_safetensors_header(file)
    finally:
        file.close()


def entry(begin: object, end: object, shape: object, dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_tensors_are_listed_with_their_place(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    data = safetensors_bytes({"a": ("BF16", values), "b": ("F32", values)}, {"format": "pt"})
    places = header_of(tmp_path, data)
    assert [(place.tensor.name, place.tensor.type, place.tensor.shape) for place in places.values()] == [
        ("a", "BF16", (2, 3)),
        ("b", "F32", (2, 3)),
    ]
    assert data[places["b"].offset :] == values.tobytes()


def test_the_order_in_the_header_does_not_matter(tmp_path: Path) -> None:
    places = header_of(tmp_path, safetensors_file({"b": entry(8, 16, [2]), "a": entry(0, 8, [2])}, bytes(16)))
    assert places["b"].offset == places["a"].offset + 8


@pytest.mark.parametrize("dtype", ["F64", "I64", "U8", "BOOL", "F8_E4M3"])
def test_other_types_are_listed(tmp_path: Path, dtype: str) -> None:
    size = {"F64": 8, "I64": 8}.get(dtype, 1)
    data = safetensors_file({"t": entry(0, 3 * size, [3], dtype)}, bytes(3 * size))
    assert header_of(tmp_path, data)["t"].tensor.type == dtype


def test_types_of_the_future_are_listed_unchecked(tmp_path: Path) -> None:
    assert (
        header_of(tmp_path, safetensors_file({"t": entry(0, 5, [7], "F5_NEW")}, bytes(5)))["t"].tensor.type == "F5_NEW"
    )


def test_empty_tensors_and_scalars_are_listed(tmp_path: Path) -> None:
    places = header_of(tmp_path, safetensors_file({"e": entry(0, 0, [0, 5]), "s": entry(0, 4, [])}, bytes(4)))
    assert places["e"].tensor.shape == (0, 5)
    assert places["s"].tensor.num_rows == 1


@pytest.mark.parametrize(
    ("header", "num_bytes", "reason"),
    [
        ({"t": entry(0, 8, [3])}, 8, "does not fill 8 bytes"),
        ({"t": entry(0, 8, [2])}, 4, "take 8 bytes, but the file holds 4"),
        ({"t": entry(0, 8, [2])}, 9, "take 8 bytes, but the file holds 9"),
        ({"t": entry(4, 8, [1])}, 8, "follows a hole"),
        ({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, 12, "'b' follows a hole"),
        ({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, 12, "'b' overlaps"),
        ({"a": entry(0, 4, [1]), "b": entry(0, 4, [1])}, 4, "'b' overlaps"),
        ({"t": entry(8, 0, [2])}, 8, "not inside the file"),
        ({"t": entry(0, 2**63, [2**61])}, 8, "not inside the file"),
        ({"t": entry(0, 10**400, [1])}, 8, "not inside the file"),
        ({"t": entry(0, 0, [2**63, 2**63, 0])}, 0, "impossible shape"),
        ({"t": entry(0, 4, [1] * 9)}, 4, "impossible shape"),
        ({"t": entry(-4, 0, [1])}, 4, "lacks a valid"),
        ({"t": entry(0, 4, [-1])}, 4, "lacks a valid"),
        ({"t": entry(0, 4, [True])}, 4, "lacks a valid"),
        ({"t": entry(0, 4.0, [1])}, 4, "lacks a valid"),
        ({"t": entry(0, 4, "1")}, 4, "lacks a valid"),
        ({"t": entry(0, 4, [1], 32)}, 4, "lacks a valid"),
        ({"t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}, 4, "lacks a valid"),
        ({"t": {}}, 0, "lacks a valid"),
        ({"t": 5}, 0, "not a tensor"),
        ({"t" * 2000: entry(0, 4, [1])}, 4, "not a tensor"),
        ([], 0, "not an object"),
        (b'{"a": {}, "a": {}}', 0, "twice"),
        (b'{"a": ' + b"[" * 100_000, 0, "nested deeper"),
        (b'{"t": {"dtype": "F32"', 0, "Expecting"),
        (b'{"\xff": {}}', 0, "Unicode"),
    ],
)
def test_hostile_headers_are_refused_in_one_line(tmp_path: Path, header: object, num_bytes: int, reason: str) -> None:
    with pytest.raises(FormatError, match=reason) as caught:
        header_of(tmp_path, safetensors_file(header, bytes(num_bytes)))
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith("; download it again")
    assert len(message) < 400


@pytest.mark.parametrize("data", [b"", b"\x02", struct.pack("<Q", 2) + b"{", struct.pack("<Q", 2**64 - 1) + b"{}"])
def test_a_header_longer_than_the_file_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(FormatError, match="ends inside its header"):
        header_of(tmp_path, data)


def test_an_enormous_header_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", MAX_HEADER_BYTES + 1) + b"{")
    with path.open("r+b") as sparse:
        sparse.truncate(2**40)
    file = ByteFile(path)
    with pytest.raises(FormatError, match="header claims"):
        read_safetensors_header(file)
    file.close()
