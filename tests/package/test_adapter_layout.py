"""Manifests of adapters: what belongs together is accepted, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from peft_folders import write_peft
from tiny_models import tiny_hf_directory

from pocketseek.adapt.add import add_adapter
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import FormatError
from pocketseek.package.adapter_layout import is_for
from pocketseek.package.manifest import Manifest, parse_manifest, read_manifest, render_manifest


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Manifest]:
    """Of an adapter and its base."""
    folder = tmp_path_factory.mktemp("made")
    base = convert_checkpoint(tiny_hf_directory(folder / "hf"), folder / "base", quant="q8", models_dir=folder)
    add_adapter(write_peft(folder / "p", targets=("q", "down")), base, folder / "ad")
    return read_manifest(folder / "ad"), read_manifest(base)


def test_it_is_read_as_it_was_written(manifests: tuple[Manifest, Manifest]) -> None:
    adapter, base = manifests
    data = render_manifest(adapter)
    assert json.loads(data)["format_version"] == 4
    assert parse_manifest(data) == adapter
    assert json.loads(render_manifest(base))["format_version"] == 1
    assert "adapter" not in json.loads(render_manifest(base))


def test_tensors_that_do_not_belong_there_are_refused(manifests: tuple[Manifest, Manifest]) -> None:
    adapter, _ = manifests
    tree = json.loads(render_manifest(adapter))

    def refused(change: object) -> str:
        copy = json.loads(json.dumps(tree))
        change(copy)  # type: ignore[operator]
        with pytest.raises(FormatError) as caught:
            parse_manifest(json.dumps(copy).encode())
        return str(caught.value)

    assert "only one of A and B" in refused(lambda t: t["tensors"][0].update(name="layer.1.k.a"))
    assert "only one of A and B" in refused(lambda t: t["tensors"][1].update(name="layer.0.q.c"))
    assert "not those of an adapter" in refused(
        lambda t: [tensor.update(name=tensor["name"].replace(".q.", ".x.")) for tensor in t["tensors"]]
    )
    assert "adapter.scales is missing" in refused(lambda t: t["tensors"][-1].update(name="adapter.other"))
    assert "does not fit" in refused(lambda t: t["model"].update(hidden_size=128))
    assert "adapter" in refused(lambda t: t.pop("adapter"))
    assert "base_source" in refused(lambda t: t["adapter"].pop("base_source"))
    assert refused(lambda t: t.update(format_version=1))
    assert "newer than this program" in refused(lambda t: t.update(format_version=5))


def test_whom_it_is_for(manifests: tuple[Manifest, Manifest]) -> None:
    adapter, base = manifests
    assert is_for(adapter, base)
    assert is_for(adapter, replace(base, name="renamed"))  # the same checkpoint
    assert is_for(adapter, replace(base, provenance={}))  # the same name
    assert not is_for(adapter, replace(base, name="renamed", provenance={}))
    assert not is_for(adapter, replace(base, config=replace(base.model, num_layers=3)))
    assert not is_for(base, base)
