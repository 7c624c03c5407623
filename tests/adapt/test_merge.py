"""A merged package is the base plus B A, in the base's formats, and says what it is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from adapt.test_add import read_pair
from peft_folders import write_peft
from tiny_models import tiny_hf_directory, tiny_model, write_hf

from pocketseek.adapt.add import add_adapter
from pocketseek.adapt.merge import merge_adapter
from pocketseek.convert.package_weights import PackageWeights
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import FormatError, UsageError
from pocketseek.package.manifest import read_manifest
from pocketseek.package.reader import Package
from pocketseek.runtime.load import load
from pocketseek.types import SamplingParams


@pytest.mark.parametrize("quant", ["keep", "q8", "q4"])
def test_weights_are_the_sum_and_the_rest_is_the_same_bytes(quant: str, tmp_path: Path) -> None:
    base = convert_checkpoint(tiny_hf_directory(tmp_path / "hf"), tmp_path / "b", quant=quant, models_dir=tmp_path)
    add_adapter(write_peft(tmp_path / "p", targets=("q", "down"), size=0.1), base, tmp_path / "ad")
    error = merge_adapter(base, tmp_path / "ad", tmp_path / "m", name="m")
    assert error < {"keep": 1e-3, "q8": 0.01, "q4": 0.12}[quant]
    with Package.open(base) as one, Package.open(tmp_path / "m") as merged, Package.open(tmp_path / "ad") as adapter:
        assert [t.format for t in merged.manifest.tensors] == [t.format for t in one.manifest.tensors]
        before, after = PackageWeights(one), PackageWeights(merged)
        for entry in one.manifest.tensors:
            layer, _, target = entry.name.removeprefix("layer.").partition(".")
            if target in ("q", "down") and entry.name.startswith("layer."):
                expected = before.matrix(entry.name) + read_pair(adapter, int(layer), target)
                off = np.linalg.norm(after.matrix(entry.name) - expected) / np.linalg.norm(expected)
                assert off <= 1.5 * error + 1e-6
            else:
                parts = [b"".join(p.data.tobytes() for p in x.tensor(entry.name).parts) for x in (one, merged)]
                assert parts[0] == parts[1]
        source = merged.manifest.provenance["source"]
        assert source["kind"] == "merge"
        assert (source["base"]["name"], source["adapter"]["name"]) == ("b", "ad")
        assert merged.manifest.quality["merge"]["relative_rms_error"] == pytest.approx(error, rel=1e-3)


def test_it_answers_as_base_and_adapter_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path))
    models = tmp_path / "models"
    base = convert_checkpoint(tiny_hf_directory(tmp_path / "hf"), models / "b", quant="keep", models_dir=models)
    add_adapter(write_peft(tmp_path / "p", size=0.2), base, models / "ad")
    merge_adapter(base, models / "ad", models / "m", name="m")
    greedy = SamplingParams(temperature=0.0)
    with load("m") as merged, load("b", adapter="ad") as adapted, load("b") as plain:
        scores = [engine.score(engine.encode_prompt("hello there")) for engine in (merged, adapted, plain)]
        assert np.allclose(scores[0], scores[1], atol=5e-3)
        assert not np.allclose(scores[0], scores[2], atol=5e-2)
        assert merged.generate("a", max_tokens=1, sampling=greedy).num_tokens <= 1


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    base = convert_checkpoint(tiny_hf_directory(tmp_path / "hf"), tmp_path / "b", models_dir=tmp_path)
    other = write_hf(tmp_path / "hf2", tiny_model(seed=3, context=128))
    other = convert_checkpoint(other, tmp_path / "other", models_dir=tmp_path)
    add_adapter(write_peft(tmp_path / "p"), base, tmp_path / "ad")
    before = read_manifest(base)
    for one, two, error, said in (
        (other, tmp_path / "ad", UsageError, "made for b, not for other"),
        (base, other, UsageError, "not an adapter"),
        (tmp_path / "ad", base, FormatError, "is an adapter"),
    ):
        with pytest.raises(error, match=said):
            merge_adapter(one, two, tmp_path / "m", name="m")
        assert not (tmp_path / "m").exists()
    with pytest.raises(UsageError, match="is there already"):
        merge_adapter(base, tmp_path / "ad", other, name="m")
    assert read_manifest(base) == before
