"""Bad input from end to end: one line, the documented code, and nothing left on disk."""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny_models
from checkpoints import Typed, gguf_string, gguf_tensor_info, safetensors_bytes, safetensors_file, write_gguf
from tiny_models import TinyModel, gguf_metadata, tiny_gguf, tiny_hf_directory, tiny_model, write_hf, write_model_gguf

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import (
    ContextLengthError,
    FormatError,
    IntegrityError,
    NotFoundError,
    TemplateError,
    UnsupportedError,
)


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def refused(run: Callable, source: Path, home: Path, *kinds: type) -> str:
    """Converting ends in one line, which is returned, and one of the codes; source and data directory are as before."""
    before = files_in(source.parent)
    ended = run("convert", source, "--name", "bad")
    assert ended.code in {kind.exit_code for kind in kinds}, ended.err
    assert ended.error
    assert files_in(source.parent) == before
    assert not files_in(home)
    return str(ended.error)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", type_name="Q8_0").read_bytes()


@pytest.mark.parametrize("part", [i / 16 for i in range(16)])
def test_truncated_gguf(run: Callable, tmp_path: Path, home: Path, gguf: bytes, part: float) -> None:
    refused(run, write(tmp_path / "bad.gguf", gguf[: int(part * len(gguf))]), home, FormatError)


@pytest.mark.parametrize("num_bytes", [1, 3, 7, 8, 20, 24, 25, 100, 1000])
def test_gguf_cut_in_its_header_or_by_a_little(
    run: Callable, tmp_path: Path, home: Path, gguf: bytes, num_bytes: int
) -> None:
    refused(run, write(tmp_path / "a.gguf", gguf[:num_bytes]), home, FormatError)
    refused(run, write(tmp_path / "b.gguf", gguf[:-num_bytes]), home, FormatError)


@pytest.mark.parametrize("part", [i / 8 for i in range(8)])
def test_truncated_safetensors(run: Callable, tmp_path: Path, home: Path, part: float) -> None:
    source = tiny_hf_directory(tmp_path / "hf")
    weights = source / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[: int(part * len(data))])
    refused(run, source, home, FormatError)


@pytest.mark.parametrize("data", [b"\0" * 100, b"PK\x03\x04" * 30, b"GGUF\x01\0\0\0" * 10, b"GGUF\x09\0\0\0" * 10])
def test_wrong_magic_or_version(run: Callable, tmp_path: Path, home: Path, data: bytes) -> None:
    refused(run, write(tmp_path / "bad.gguf", data), home, FormatError, UnsupportedError)


def hostile_gguf_headers() -> Iterator[bytes]:
    start = b"GGUF" + struct.pack("<I", 3)
    yield start + struct.pack("<QQ", 2**63, 0)  # huge number of tensors
    yield start + struct.pack("<QQ", 0, 2**63)  # huge number of keys
    yield start + struct.pack("<QQ", 0, 1) + struct.pack("<Q", 2**62) + b"x"  # huge key
    yield start + struct.pack("<QQ", 0, 1) + gguf_string("a") + struct.pack("<IIQ", 9, 4, 2**61)  # huge array
    nested = struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 100_000
    yield start + struct.pack("<QQ", 0, 1) + gguf_string("a") + nested  # arrays in arrays in arrays
    yield start + struct.pack("<QQ", 1, 0) + gguf_tensor_info("t", (2**40, 2**40), 0, 0)  # a product beyond 64 bits


@pytest.mark.parametrize("data", [*hostile_gguf_headers()], ids=lambda data: str(len(data)))
def test_hostile_gguf_header(run: Callable, tmp_path: Path, home: Path, data: bytes) -> None:
    refused(run, write(tmp_path / "bad.gguf", data + bytes(64)), home, FormatError, UnsupportedError)


def hostile_safetensors_headers() -> Iterator[bytes]:
    def tensor(begin: int, end: int) -> dict[str, object]:
        return {"dtype": "F32", "shape": [(end - begin) // 4], "data_offsets": [begin, end]}

    yield struct.pack("<Q", 2**62) + b"{}"
    yield safetensors_file(b"[" * 200_000)
    yield safetensors_file(b'{"a":' * 50_000)
    yield safetensors_file(b'{"a": NaN}')
    yield safetensors_file([1, 2])
    yield safetensors_file({"a": tensor(0, 64), "b": tensor(32, 96)}, bytes(96))  # overlapping
    yield safetensors_file({"a": tensor(0, 2**40)}, bytes(8))  # outside the file
    yield safetensors_file({"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 8]}}, bytes(8))
    yield safetensors_file({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, bytes(8))


@pytest.mark.parametrize("data", [*hostile_safetensors_headers()], ids=lambda data: str(len(data)))
def test_hostile_safetensors_header(run: Callable, tmp_path: Path, home: Path, data: bytes) -> None:
    source = tiny_hf_directory(tmp_path / "hf")
    (source / "model.safetensors").write_bytes(data)
    refused(run, source, home, FormatError, UnsupportedError)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a":' * 100_000, '{"model_type": "llama"}', '{"x": 1e999}'])
def test_hostile_config(run: Callable, tmp_path: Path, home: Path, text: str) -> None:
    source = tiny_hf_directory(tmp_path / "hf")
    (source / "config.json").write_text(text)
    refused(run, source, home, FormatError, UnsupportedError)


def test_index_that_points_to_itself_or_out_of_the_folder(run: Callable, tmp_path: Path, home: Path) -> None:
    source = tiny_hf_directory(tmp_path / "hf", num_shards=2)
    index = source / "model.safetensors.index.json"
    good = json.loads(index.read_text())
    for shard in ("model.safetensors.index.json", "../../etc/passwd", "/etc/passwd", "absent.safetensors", ""):
        index.write_text(json.dumps(good | {"weight_map": dict.fromkeys(good["weight_map"], shard)}))
        refused(run, source, home, FormatError, NotFoundError)


def test_unknown_architecture(run: Callable, tmp_path: Path, home: Path) -> None:
    model = tiny_model()
    metadata = gguf_metadata(model) | {"general.architecture": "mamba"}
    refused(run, write_gguf(tmp_path / "bad.gguf", metadata, {}), home, UnsupportedError)
    source = write_hf(tmp_path / "hf", model)
    config = json.loads((source / "config.json").read_text()) | {"model_type": "mamba", "architectures": ["Mamba"]}
    (source / "config.json").write_text(json.dumps(config))
    refused(run, source, home, UnsupportedError)


def test_unknown_tensor_type(run: Callable, tmp_path: Path, home: Path) -> None:
    path = tiny_gguf(tmp_path / "bad.gguf")
    known = gguf_tensor_info("output.weight", (320, 64), 0, 0)[:-12]  # without type and offset
    data = path.read_bytes()
    at = data.index(known) + len(known)
    refused(run, write(path, data[:at] + struct.pack("<I", 99) + data[at + 4 :]), home, UnsupportedError, FormatError)


def test_missing_tensor_and_wrong_shape(run: Callable, tmp_path: Path, home: Path) -> None:
    model = tiny_model()
    name = "model.layers.1.mlp.up_proj.weight"
    without = TinyModel(model.family, model.config, {k: v for k, v in model.weights.items() if k != name})
    crooked = TinyModel(model.family, model.config, model.weights | {name: model.weights[name][:-16]})
    for number, bad in enumerate((without, crooked)):
        refused(run, write_model_gguf(tmp_path / f"{number}.gguf", bad), home, FormatError)
        refused(run, write_hf(tmp_path / f"hf{number}", bad), home, FormatError)


@pytest.mark.parametrize("value", [Typed("string", "two"), Typed("f32", float("nan")), -1, 2**60, [1, 2]])
def test_wrong_type_or_range_of_a_metadata_value(
    run: Callable, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    metadata = gguf_metadata(tiny_model()) | {"llama.block_count": value}
    monkeypatch.setattr(tiny_models, "gguf_metadata", lambda model: metadata)
    assert "block_count" in refused(run, tiny_gguf(tmp_path / "bad.gguf"), home, FormatError, UnsupportedError)


def test_pickled_checkpoints_are_not_opened(run: Callable, tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "hf"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(tiny_model().config))
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    refused(run, folder, home, FormatError, UnsupportedError, NotFoundError)
    refused(run, folder / "pytorch_model.bin", home, FormatError, UnsupportedError)


def test_safetensors_without_a_config(run: Callable, tmp_path: Path, home: Path) -> None:
    path = write(tmp_path / "alone.safetensors", safetensors_bytes({}))
    refused(run, path, home, NotFoundError, FormatError)


def test_flipped_bit_in_a_chunk_is_found_before_the_first_use(run: Callable, installed: Path) -> None:
    chunk = max((installed / "chunks").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.chmod(0o644)
    chunk.write_bytes(data)
    for command in (("generate", "tiny", "hi"), ("verify", "tiny"), ("bench", "tiny")):
        ended = run(*command, "--json")
        assert ended.code == IntegrityError.exit_code, command
        assert chunk.name in (ended.out if command[0] == "verify" else ended.err)


def test_missing_chunk(run: Callable, installed: Path) -> None:
    next((installed / "chunks").iterdir()).unlink()
    ended = run("generate", "tiny", "hi")
    assert ended.code == IntegrityError.exit_code
    assert ended.error


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(10**9) %}x{% endfor %}",
        "{{ 'x' * 10**10 }}",
        "{{ ().__class__.__bases__ }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ raise_exception('no') }}",
        "{% if %}",
        "{{ absent.attribute }}",
        "{% include 'x' %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ],
)
def test_misbehaving_chat_template(run: Callable, tmp_path: Path, template: str) -> None:
    source = tiny_hf_directory(tmp_path / "hf")
    config = json.loads((source / "tokenizer_config.json").read_text()) | {"chat_template": template}
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    package = convert_checkpoint(source, tmp_path / "package", models_dir=tmp_path)
    ended = run("generate", package, "hi")
    assert ended.code == TemplateError.exit_code
    assert ended.error


def test_prompt_longer_than_the_context(run: Callable, tiny_package: Path) -> None:
    assert run("generate", tiny_package, "word " * 1000).code == ContextLengthError.exit_code


def test_a_choice_that_is_none_is_told_in_plain_words(run: Callable) -> None:
    told = run("convert", "model.gguf", "--quant", "q3").err
    assert "'q3' is not one of 'q4'" in told
    assert "Value error" not in told


@pytest.mark.parametrize("words", [("--quant", "3MB"), ("--quant=3MB",)])
def test_a_size_in_place_of_a_format_is_told_which_option_it_belongs_to(run: Callable, words: tuple[str, ...]) -> None:
    ended = run("convert", "model.gguf", *words)
    assert (ended.code, "write --target-size 3MB" in ended.error) == (2, True)


def test_the_help_of_a_command_in_a_group_within_a_group_is_named(run: Callable) -> None:
    assert "see `pocketseek adapt federate keygen --help`" in run("adapt", "federate", "keygen").err
