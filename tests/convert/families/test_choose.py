from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from checkpoints import write_gguf
from sparse_gguf import write_sparse_gguf
from tiny_models import tiny_gguf, tiny_hf_directory, write_hf
from tiny_sparse import FAMILY_CONFIGS, tiny_sparse

from pocketseek.convert.families.choose import PLANNERS, choose_planner
from pocketseek.convert.sources.open import open_source
from pocketseek.errors import FormatError, UnsupportedError


def edit_config(directory: Path, **changes: object) -> Path:
    config = json.loads((directory / "config.json").read_text())
    config = {key: value for key, value in (config | changes).items() if value is not None}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_a_family_is_found_from_either_kind_of_checkpoint(family: str, tmp_path: Path) -> None:
    for path in (tiny_gguf(tmp_path / "model.gguf", family), tiny_hf_directory(tmp_path / "hf", family)):
        with closing(open_source(path)) as source:
            assert choose_planner(source) is PLANNERS[family]


@pytest.mark.parametrize("family", sorted(FAMILY_CONFIGS))
def test_a_family_with_experts_is_found_from_either_kind_of_checkpoint(family: str, tmp_path: Path) -> None:
    model = tiny_sparse(family)
    of_gguf = "deepseek_v2" if family == "deepseek_v3" else family  # the two share an architecture there
    for path, found in (
        (write_sparse_gguf(tmp_path / "model.gguf", model), of_gguf),
        (write_hf(tmp_path / "hf", model), family),
    ):
        with closing(open_source(path)) as source:
            assert choose_planner(source) is PLANNERS[found]


def test_model_type_decides_where_no_architecture_is_named(tmp_path: Path) -> None:
    directory = edit_config(tiny_hf_directory(tmp_path / "hf", "qwen2"), architectures=None)
    with closing(open_source(directory)) as source:
        assert choose_planner(source) is PLANNERS["qwen2"]


@pytest.mark.parametrize(
    "changes",
    [
        {"architectures": ["MixtralForCausalLM"]},
        {"architectures": ["Qwen2ForSequenceClassification"]},
        {"architectures": None, "model_type": "gpt2"},
    ],
)
def test_an_unknown_architecture_is_refused_naming_what_is_supported(
    changes: dict[str, object], tmp_path: Path
) -> None:
    directory = edit_config(tiny_hf_directory(tmp_path / "hf"), **changes)
    with closing(open_source(directory)) as source, pytest.raises(UnsupportedError, match="llama, qwen2, qwen3"):
        choose_planner(source)


def test_a_config_that_names_nothing_is_refused(tmp_path: Path) -> None:
    directory = edit_config(tiny_hf_directory(tmp_path / "hf"), architectures=None, model_type=None)
    with closing(open_source(directory)) as source, pytest.raises(FormatError, match="names no architecture"):
        choose_planner(source)


@pytest.mark.parametrize(("value", "error"), [("gpt2", UnsupportedError), (7, FormatError), (None, FormatError)])
def test_a_gguf_of_another_architecture_is_refused(value: object, error: type[Exception], tmp_path: Path) -> None:
    metadata = {} if value is None else {"general.architecture": value}
    path = write_gguf(tmp_path / "model.gguf", metadata, {})
    with closing(open_source(path)) as source, pytest.raises(error):
        choose_planner(source)
