"""What a folder with an ONNX model says of itself, and what is said of one that is wrong. Nothing is run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pocketseek.errors import FormatError, IntegrityError, NotFoundError, UnsupportedError
from pocketseek.runtime.onnx.model_files import is_onnx_model, read_model
from pocketseek.runtime.onnx.text_files import read_template, read_text_parts

DATA = Path(__file__).parent / "data"


@pytest.fixture
def genai(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA / "genai-llama-int4", tmp_path / "genai"))


@pytest.fixture
def optimum(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA / "optimum-qwen2", tmp_path / "optimum"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """As `pocketseek export` writes it, but for what is in the files."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"graph")
    model = {"family": "llama", "num_layers": 2, "hidden_size": 8, "intermediate_size": 8, "num_heads": 2}
    model |= {"num_kv_heads": 1, "head_dim": 4, "vocab_size": 16, "context_length": 64}
    stage = {"file": "model.onnx", "kind": "all", "layers": [], "inputs": ["input_ids"], "outputs": ["logits"]}
    description = {
        "format": "pocketseek-onnx",
        "version": 1,
        "name": "own",
        "quant": "int4",
        "model": model | {"rms_norm_eps": 1e-6, "rope_theta": 1e4},
        "stages": [stage],
        "kv": {"shares_buffer": True, "present_tokens": "all"},
        "files": {"model.onnx": {"sha256": "0" * 64, "num_bytes": 5}},
    }
    (folder / "model.json").write_text(json.dumps(description))
    return folder


def change(path: Path, **values: Any) -> None:
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | values))


def test_the_makers_are_told_apart(genai: Path, optimum: Path, own: Path, tmp_path: Path) -> None:
    assert [read_model(folder).maker for folder in (genai, optimum, own)] == ["genai", "optimum", "pocketseek"]
    assert all(is_onnx_model(folder) for folder in (genai, optimum, own, own / "model.onnx"))
    assert not is_onnx_model(tmp_path)
    assert not is_onnx_model(tmp_path / "nothing")


def test_genais_names_and_shape_are_taken_over(genai: Path) -> None:
    model = read_model(genai)
    assert model.shares_buffer
    assert (model.config.num_layers, model.config.head_dim, model.config.context_length) == (3, 16, 1024)
    assert model.names.past_key == "past_key_values.{layer}.key"
    assert model.num_bytes == sum((genai / name).stat().st_size for name in ("model.onnx", "model.onnx.data"))


def test_a_model_in_a_subfolder_uses_the_files_above_it(optimum: Path) -> None:
    (optimum / "onnx").mkdir()
    (optimum / "model.onnx").rename(optimum / "onnx" / "model_q4.onnx")
    model = read_model(optimum / "onnx" / "model_q4.onnx")
    assert (model.folder, model.config.num_layers) == (optimum, 2)


def test_several_files_need_a_choice(optimum: Path) -> None:
    shutil.copy(optimum / "model.onnx", optimum / "a.onnx")
    (optimum / "model.onnx").rename(optimum / "b.onnx")
    with pytest.raises(UnsupportedError, match=r"several ONNX files \(a.onnx, b.onnx\)"):
        read_model(optimum)
    assert read_model(optimum / "b.onnx").stages[0].path == optimum / "b.onnx"


def test_a_file_without_its_description_is_refused(optimum: Path) -> None:
    (optimum / "config.json").unlink()
    with pytest.raises(NotFoundError, match=r"put the model's config.json"):
        read_model(optimum)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"num_hidden_layers": -1}, "num_hidden_layers is not a whole number"),
        ({"hidden_size": None, "n_embd": None}, "lacks 'hidden_size'"),
        ({"num_key_value_heads": 1000}, "cannot share"),
        ({"vocab_size": "many"}, "vocab_size is not"),
    ],
)
def test_a_wrong_config_is_told_in_a_line(optimum: Path, values: dict[str, Any], problem: str) -> None:
    change(optimum / "config.json", **values)
    with pytest.raises(FormatError, match=problem) as error:
        read_model(optimum)
    assert "\n" not in str(error.value)


def test_a_file_outside_of_the_folder_is_refused(genai: Path) -> None:
    config = json.loads((genai / "genai_config.json").read_text())
    config["model"]["decoder"]["filename"] = "../model.onnx"
    (genai / "genai_config.json").write_text(json.dumps(config))
    with pytest.raises(FormatError, match="outside of its folder"):
        read_model(genai)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000])
def test_descriptions_that_are_no_objects_are_refused(genai: Path, own: Path, content: bytes) -> None:
    (genai / "genai_config.json").write_bytes(content)
    (own / "model.json").write_bytes(content)
    for folder in (genai, own):
        with pytest.raises(FormatError):
            read_model(folder)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"version": 2}, UnsupportedError),
        ({"format": "other"}, FormatError),
        ({"stages": []}, FormatError),
        ({"files": {}}, FormatError),
        ({"files": {"../x": {"sha256": "0" * 64, "num_bytes": 5}}}, FormatError),
        ({"files": {"model.onnx": {"sha256": "0" * 64, "num_bytes": 6}}}, IntegrityError),
        ({"kv": {"present_tokens": "new"}}, FormatError),
        ({"kv": {"present_tokens": "some"}}, UnsupportedError),
    ],
)
def test_an_export_that_is_not_what_it_should_be_is_refused(
    own: Path, values: dict[str, Any], kind: type[Exception]
) -> None:
    change(own / "model.json", **values)
    with pytest.raises(kind):
        read_model(own)


def test_an_export_is_also_known_by_the_path_of_its_graph(own: Path) -> None:
    assert read_model(own / "model.onnx") == read_model(own)
    (own / "other.onnx").write_bytes(b"graph")
    with pytest.raises(UnsupportedError, match="does not belong to the export"):
        read_model(own / "other.onnx")


def test_tokens_that_begin_and_end_a_text_come_from_whatever_file_says_so(genai: Path, optimum: Path) -> None:
    assert 257 in read_text_parts(genai).tokenizer.settings.eos_ids
    assert read_text_parts(optimum).tokenizer.settings.eos_ids
    assert read_template(genai) is None
    (genai / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    assert read_template(genai) == "{{ messages[0]['content'] }}"


def test_a_model_without_a_tokenizer_is_refused(genai: Path) -> None:
    (genai / "tokenizer.json").unlink()
    with pytest.raises(NotFoundError, match=r"no tokenizer\.json"):
        read_text_parts(genai)
