from __future__ import annotations

import hashlib
import json
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from tiny_models import tiny_gguf, tiny_hf_directory

from pocketseek.convert.provenance import default_name, describe_provenance, sanitised
from pocketseek.convert.sources.open import open_source

DAY = date(2025, 1, 31)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("DeepSeek R1 Distill Qwen 1.5B", "DeepSeek-R1-Distill-Qwen-1.5B"),
        ("../../etc/passwd", "etc-passwd"),
        (".hidden", "hidden"),
        ("深度求索", ""),
        ("模型 7B", "7B"),
        ("a" * 300, "a" * 100),
        ("", ""),
        ("a\0b\nc", "a-b-c"),
    ],
)
def test_names_are_made_fit_for_a_directory(text: str, name: str) -> None:
    assert sanitised(text) == name


def test_a_gguf_is_called_what_it_calls_itself(tmp_path: Path) -> None:
    with closing(open_source(tiny_gguf(tmp_path / "file.gguf"))) as source:
        assert default_name(source) == "Tiny-llama"


def test_a_directory_gives_its_name(tmp_path: Path) -> None:
    with closing(open_source(tiny_hf_directory(tmp_path / "My model"))) as source:
        assert default_name(source) == "My-model"


def test_a_safetensors_file_gives_its_directorys_name(tmp_path: Path) -> None:
    tiny_hf_directory(tmp_path / "tiny")
    with closing(open_source(tmp_path / "tiny" / "model.safetensors")) as source:
        assert default_name(source) == "tiny"


def test_a_download_cache_gives_the_models_name(tmp_path: Path) -> None:
    snapshots = tmp_path / "models--deepseek-ai--DeepSeek-R1" / "snapshots"
    snapshots.mkdir(parents=True)
    with closing(open_source(tiny_hf_directory(snapshots / "0a1b2c3d"))) as source:
        assert default_name(source) == "DeepSeek-R1"


def test_provenance_of_a_directory_lists_files_sizes_and_small_hashes(tmp_path: Path) -> None:
    directory = tiny_hf_directory(tmp_path / "tiny", num_shards=2)
    with closing(open_source(directory)) as source:
        provenance = describe_provenance(source, DAY)
    described = provenance["source"]
    assert isinstance(described, dict)
    files = {entry["name"]: entry for entry in described["files"]}
    config = (directory / "config.json").read_bytes()
    shard = "model-00001-of-00002.safetensors"
    assert files["config.json"]["sha256"] == hashlib.sha256(config).hexdigest()
    assert files[shard] == {"name": shard, "bytes": (directory / shard).stat().st_size}
    assert described["kind"] == "safetensors"
    assert described["tensor_types"]["F32"] > 10


def test_provenance_of_a_gguf_names_the_model_and_the_day(tmp_path: Path) -> None:
    with closing(open_source(tiny_gguf(tmp_path / "file.gguf"))) as source:
        provenance = describe_provenance(source, DAY)
    assert provenance["date"] == "2025-01-31"
    assert provenance["converter"] == "pocketseek 0.1.0"
    assert '"general.name": "Tiny llama"' in json.dumps(provenance)


def test_provenance_holds_no_absolute_path(tmp_path: Path) -> None:
    for path in (tiny_gguf(tmp_path / "file.gguf"), tiny_hf_directory(tmp_path / "tiny")):
        with closing(open_source(path)) as source:
            assert str(tmp_path) not in json.dumps(describe_provenance(source, DAY))
