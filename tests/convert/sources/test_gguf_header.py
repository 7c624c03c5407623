from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from checkpoints import GGUF_TYPES, Typed, gguf_bytes, gguf_string, gguf_tensor_info, gguf_value

from pocketseek.convert.sources.byte_file import ByteFile
from pocketseek.convert.sources.gguf_header import MAX_ARRAY_VALUES, GgufHeader, read_gguf_header
from pocketseek.errors import FormatError, PocketseekError, UnsupportedError

F32_32 = ("F32", np.arange(32, dtype=np.float32))


def header_of(path: Path, data: bytes) -> GgufHeader:
    path = path / "file.gguf"
    path.write_bytes(data)
    file = ByteFile(path)
    try:
        return read_gguf_header(file)
    finally:
        file.close()


def head(num_tensors: int = 0, num_keys: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, num_tensors, num_keys)


def key_value(type_id: int, content: bytes, key: str = "key") -> bytes:
    return head(num_keys=1) + gguf_string(key) + struct.pack("<I", type_id) + content + bytes(64)


def one_tensor(shape: tuple[int, ...], type_id: int = 0, offset: int = 0, data: int = 4096) -> bytes:
    text = head(num_tensors=1) + gguf_tensor_info("t", shape, type_id, offset)
    return text + bytes(-len(text) % 32) + bytes(data)


METADATA = {
    "bool": True,
    "u8": Typed("u8", 255),
    "i8": Typed("i8", -128),
    "u16": Typed("u16", 65535),
    "i16": Typed("i16", -32768),
    "u32": Typed("u32", 2**32 - 1),
    "i32": Typed("i32", -(2**31)),
    "u64": Typed("u64", 2**64 - 1),
    "i64": Typed("i64", -(2**63)),
    "f32": 0.5,
    "f64": Typed("f64", 0.1),
    "text": "größe 你好 🦊",
    "words": ["a", "", "b c"],
    "numbers": [1, -2, 3],
    "scores": [0.5, -1.0],
    "flags": [True, False],
    "bytes": Typed("u8", [1, 2, 3]),
    "empty": [],
    "nested": [["a"], [], ["b", "c"]],
    "deep": [[[[1, 2]]]],
}


@pytest.mark.parametrize("version", [2, 3])
def test_every_value_type_is_read(tmp_path: Path, version: int) -> None:
    expected = {key: value.value if isinstance(value, Typed) else value for key, value in METADATA.items()}
    metadata = header_of(tmp_path, gguf_bytes(METADATA, {}, version=version)).metadata
    assert metadata == expected
    assert {key: type(value) for key, value in metadata.items()} == {key: type(v) for key, v in expected.items()}


def test_tensors_are_listed_in_numpy_order_with_their_place(tmp_path: Path) -> None:
    data = gguf_bytes({}, {"a": ("F32", np.ones((2, 3), np.float32)), "b": ("Q8_0", np.zeros((4, 68), np.uint8))})
    first, second = header_of(tmp_path, data).tensors
    assert (first.tensor.name, first.tensor.type, first.tensor.shape, first.num_bytes) == ("a", "F32", (2, 3), 24)
    assert (second.tensor.name, second.tensor.type, second.tensor.shape, second.num_bytes) == (
        "b",
        "Q8_0",
        (4, 64),
        272,
    )
    assert data[first.offset :][:24] == np.ones(6, np.float32).tobytes()
    assert second.offset == first.offset + 32


def test_the_alignment_key_moves_the_data(tmp_path: Path) -> None:
    tensors = {"a": F32_32, "b": F32_32}
    data = gguf_bytes({"general.alignment": 1024}, tensors, alignment=1024)
    assert [info.offset for info in header_of(tmp_path, data).tensors] == [1024, 2048]


def test_types_that_cannot_be_read_are_still_listed(tmp_path: Path) -> None:
    data = gguf_bytes({}, {"t": ("IQ4_XS", np.zeros((2, 136), np.uint8))})
    assert header_of(tmp_path, data).tensors[0].tensor.type == "IQ4_XS"


def test_a_header_longer_than_the_first_read_is_read_whole(tmp_path: Path) -> None:
    words = [f"word {number}" for number in range(100_000)]
    metadata = {"long": "x" * 3_000_000, "words": words, "last": 7}
    assert header_of(tmp_path, gguf_bytes(metadata, {})).metadata == metadata


@pytest.mark.parametrize(
    ("data", "error", "reason"),
    [
        (b"", FormatError, "ends inside the header"),
        (b"GGUF", FormatError, "ends inside the header"),
        (b"GGML" + bytes(60), FormatError, "wrong magic"),
        (head(version=0), UnsupportedError, "version 0"),
        (head(version=1), UnsupportedError, "version 1"),
        (head(version=4), UnsupportedError, "version 4"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), UnsupportedError, "big-endian"),
        (head(num_tensors=2**63), FormatError, "claims"),
        (head(num_keys=2**63), FormatError, "claims"),
        (head(num_tensors=1000), FormatError, "ends inside the header"),
        (head(num_keys=1) + struct.pack("<Q", 2**64 - 1), FormatError, "ends inside the header"),
        (head(num_keys=1) + gguf_string("k" * 70_000) + bytes(99), FormatError, "more than 65535"),
        (head(num_keys=2) + (gguf_string("k") + gguf_value(1)) * 2, FormatError, "'k' is there twice"),
        (key_value(13, b""), FormatError, "unknown value type 13"),
        (key_value(7, b"\x02"), FormatError, "truth value"),
        (key_value(8, struct.pack("<Q", 2**40)), FormatError, "ends inside the header"),
        (key_value(8, struct.pack("<Q", 2) + b"\xff\xfe"), FormatError, "not UTF-8"),
        (key_value(9, struct.pack("<IQ", 0, 2**62)), FormatError, "more than"),
        (key_value(9, struct.pack("<IQ", 8, MAX_ARRAY_VALUES)), FormatError, "ends inside the header"),
        (key_value(9, struct.pack("<IQ", 12, MAX_ARRAY_VALUES)), FormatError, "ends inside the header"),
        (key_value(9, struct.pack("<IQ", 99, 0)), FormatError, "unknown value type 99"),
        (key_value(9, struct.pack("<IQ", 9, 1) * 100_000), FormatError, "nested deeper"),
        (key_value(9, struct.pack("<IQ", 9, MAX_ARRAY_VALUES)), FormatError, "ends inside the header"),
        (one_tensor((1,) * 5), FormatError, "5 dimensions"),
        (one_tensor((0,)), FormatError, "dimensions"),
        (one_tensor((2**63, 2**63, 2)), FormatError, "dimensions"),
        (one_tensor((2**32, 2**32)), FormatError, "dimensions"),
        (one_tensor((4, 33), GGUF_TYPES["Q4_0"][0]), FormatError, "whole number of Q4_0 blocks"),
        (one_tensor((), GGUF_TYPES["Q4_0"][0]), FormatError, "whole number of Q4_0 blocks"),
        (one_tensor((4,), type_id=4), UnsupportedError, "unknown type 4"),
        (one_tensor((4,), type_id=2**32 - 1), UnsupportedError, "unknown type"),
        (one_tensor((1024,), data=4095), FormatError, "ends at byte"),
        (one_tensor((4,), offset=4096), FormatError, "ends at byte"),
        (one_tensor((4,), offset=2**64 - 32), FormatError, "ends at byte"),
        (one_tensor((4,), offset=7), FormatError, "not aligned"),
        (gguf_bytes({}, {"n" * 300: F32_32}), FormatError, "more than 256"),
        (gguf_bytes({"general.alignment": 33}, {}), FormatError, "power of two"),
        (gguf_bytes({"general.alignment": 0}, {}), FormatError, "power of two"),
        (gguf_bytes({"general.alignment": "32"}, {}), FormatError, "power of two"),
    ],
)
def test_hostile_headers_are_refused_in_one_line(
    tmp_path: Path, data: bytes, error: type[PocketseekError], reason: str
) -> None:
    with pytest.raises(error, match=reason) as caught:
        header_of(tmp_path, data)
    message = str(caught.value)
    assert "\n" not in message
    assert "; " in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("second_name", "second_offset", "reason"),
    [("a", 128, "'a' is there twice"), ("b", 96, "overlaps"), ("b", 0, "overlaps")],
)
def test_tensors_do_not_share_names_or_bytes(tmp_path: Path, second_name: str, second_offset: int, reason: str) -> None:
    infos = gguf_tensor_info("a", (32,), 0, 0) + gguf_tensor_info(second_name, (32,), 0, second_offset)
    text = head(num_tensors=2) + infos
    with pytest.raises(FormatError, match=reason):
        header_of(tmp_path, text + bytes(-len(text) % 32) + bytes(1024))


def test_arrays_of_all_keys_together_are_limited(tmp_path: Path) -> None:
    array = struct.pack("<IIQ", 9, 0, MAX_ARRAY_VALUES // 2) + bytes(MAX_ARRAY_VALUES // 2)
    data = head(num_keys=3) + b"".join(gguf_string(key) + array for key in "abc")
    with pytest.raises(FormatError, match="arrays have more than"):
        header_of(tmp_path, data)


def test_claims_of_an_enormous_file_take_no_memory(tmp_path: Path) -> None:
    """The file is sparse: its size allows every claim, its header does not."""
    path = tmp_path / "file.gguf"
    path.write_bytes(key_value(8, struct.pack("<Q", 2**36)))
    with path.open("r+b") as sparse:
        sparse.truncate(2**40)
    file = ByteFile(path)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="more than 64 MiB"):
            read_gguf_header(file)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
        file.close()
