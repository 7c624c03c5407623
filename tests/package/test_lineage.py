"""Smaller siblings are of the same family and speak alike, whatever they are called."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_models import TinyModel, tiny_model, write_hf

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.package.entries import FileEntry
from pocketseek.package.lineage import are_of_one_line, smaller_siblings, weight_bytes
from pocketseek.package.manifest import read_manifest, render_manifest
from pocketseek.package.store import ModelStore


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    def install(name: str, model: TinyModel, quant: str = "keep") -> None:
        source = write_hf(tmp_path / f"{name}-source", model)
        convert_checkpoint(source, name=name, models_dir=tmp_path / "models", quant=quant)

    install("a-middle", tiny_model("qwen2", num_layers=3))
    install("large", tiny_model("qwen2", num_layers=4))
    install("large-q4", tiny_model("qwen2", num_layers=4), "q4")
    install("small", tiny_model("qwen2", num_layers=1))
    install("stranger", tiny_model("llama", num_layers=1))
    return ModelStore(tmp_path / "models")


def names(store: ModelStore, name: str) -> list[str]:
    return [
        model.name for model in smaller_siblings(store, store.models_dir / name, read_manifest(store.models_dir / name))
    ]


def test_siblings_come_from_the_largest_to_the_smallest(store: ModelStore) -> None:
    found = smaller_siblings(store, store.models_dir / "large", read_manifest(store.models_dir / "large"))
    sizes = [weight_bytes(model.manifest) for model in found]
    assert {model.name for model in found} == {"a-middle", "large-q4", "small"}
    assert sizes == sorted(sizes, reverse=True)


def test_larger_ones_and_the_model_itself_are_none(store: ModelStore) -> None:
    assert "large" not in names(store, "large")
    assert "large" not in names(store, "a-middle")
    assert names(store, "stranger") == []


def test_a_broken_sibling_is_none(store: ModelStore) -> None:
    (store.models_dir / "small" / "manifest.json").write_bytes(b"{")
    assert "small" not in names(store, "large")


def test_another_template_or_vocabulary_is_another_line(store: ModelStore) -> None:
    manifest = read_manifest(store.models_dir / "small")
    assert are_of_one_line(manifest, manifest)
    padded = replace(manifest, config=replace(manifest.model, vocab_size=manifest.model.vocab_size + 4))
    assert are_of_one_line(manifest, padded)
    other = replace(manifest, config=replace(manifest.model, vocab_size=2 * manifest.model.vocab_size))
    assert not are_of_one_line(manifest, other)
    for name in ("chat_template.jinja", "text.json"):
        changed = replace(manifest, files={**manifest.files, name: FileEntry("0" * 64, 10)})
        assert not are_of_one_line(manifest, changed)
    without = replace(manifest, files={k: v for k, v in manifest.files.items() if k != "chat_template.jinja"})
    assert not are_of_one_line(manifest, without)


def rewrite_tokenizer(package: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Another tokenizer in an installed package, which is whole again afterwards."""
    manifest = read_manifest(package)
    content = json.loads((package / "files" / manifest.files["tokenizer.json"].sha256).read_bytes())
    change(content)
    data = json.dumps(content).encode()
    entry = FileEntry(hashlib.sha256(data).hexdigest(), len(data))
    (package / "files" / entry.sha256).write_bytes(data)
    (package / "manifest.json").write_bytes(
        render_manifest(replace(manifest, files={**manifest.files, "tokenizer.json": entry}))
    )


def swap_two_tokens(content: dict[str, Any]) -> None:
    vocabulary = content["model"]["vocab"]
    one, two = list(vocabulary)[40:42]
    vocabulary[one], vocabulary[two] = vocabulary[two], vocabulary[one]


def add_padding(content: dict[str, Any]) -> None:
    vocabulary = content["model"]["vocab"]
    vocabulary["<padding>"] = 1 + max(vocabulary.values(), default=0) + len(content["added_tokens"])


def drop_a_merge(content: dict[str, Any]) -> None:
    del content["model"]["merges"][1]


def write_merges_the_other_way(content: dict[str, Any]) -> None:
    merges = content["model"]["merges"]
    content["model"]["merges"] = [one.split(" ") if isinstance(one, str) else " ".join(one) for one in merges]


def rename_an_added_token(content: dict[str, Any]) -> None:
    content["added_tokens"][0]["content"] += "?"


@pytest.mark.parametrize("change", [swap_two_tokens, drop_a_merge, rename_an_added_token])
def test_other_tokens_or_merges_are_another_line(store: ModelStore, change: Callable[[dict[str, Any]], None]) -> None:
    rewrite_tokenizer(store.models_dir / "small", change)
    assert "small" not in names(store, "large")
    assert "a-middle" in names(store, "large")


@pytest.mark.parametrize("change", [add_padding, write_merges_the_other_way])
def test_padding_and_another_way_to_write_the_merges_are_the_same_line(
    store: ModelStore, change: Callable[[dict[str, Any]], None]
) -> None:
    rewrite_tokenizer(store.models_dir / "small", change)
    assert "small" in names(store, "large")


def test_a_tokenizer_that_is_only_written_in_another_way_is_the_same(store: ModelStore) -> None:
    rewrite_tokenizer(store.models_dir / "small", lambda content: content.pop("truncation", None))
    assert "small" in names(store, "large")


def test_a_tokenizer_that_cannot_be_read_is_another_line(store: ModelStore) -> None:
    rewrite_tokenizer(store.models_dir / "small", lambda content: content.pop("model"))
    assert "small" not in names(store, "large")


def test_a_tokenizer_that_is_too_large_is_not_read(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketseek.package.lineage._MOST_TOKENIZER_BYTES", 10)
    assert "small" in names(store, "large")
    rewrite_tokenizer(store.models_dir / "small", lambda content: content.pop("truncation", None))
    assert "small" not in names(store, "large")
