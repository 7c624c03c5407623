"""What is lost, measured layer by layer, is what the whole model loses; on text that was not seen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import tiny_gguf, tiny_hf_directory

from pocketseek.convert import held_out
from pocketseek.convert.held_out import held_out_texts
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.recipe import Quant
from pocketseek.errors import UsageError
from pocketseek.kernels.divergence import Divergence
from pocketseek.package.manifest import read_manifest
from pocketseek.runtime.window_logits import WindowLogits

PROSE = "".join(f"{number} green bottles hanging on the wall, and if one should fall. " for number in range(60))
CODE = "".join(f"def wall_{number}(): return bottles[{number}]\n" for number in range(60))
TEXTS = {"prose": PROSE, "code": CODE}
FEW_TOKENS = 512  # of each text, where it does not matter how many


def report(folder: Path, source: Path, quant: Quant, **options: Any) -> Mapping[str, Any]:
    package = convert_checkpoint(source, folder / f"package-{quant}", quant=quant, checks=TEXTS, **options)
    found = read_manifest(package).quality["held_out"]
    assert isinstance(found, Mapping)
    return found


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_it_agrees_with_the_runtime_up_to_its_rounding_of_activations(tmp_path: Path, family: str) -> None:
    source = tiny_hf_directory(tmp_path / "hf", family)
    found = report(tmp_path, source, "q4-pure")
    exact = convert_checkpoint(source, tmp_path / "exact", quant="keep")
    models = [WindowLogits(path, window=256, num_threads=1) for path in (tmp_path / "package-q4-pure", exact)]
    divergence = Divergence()
    texts = held_out_texts(TEXTS, models[0].tokenizer, context_length=256)
    for window in (window.tolist() for text in texts for window in text.windows):
        rows = [np.concatenate([part.copy() for part in model.run(window)]) for model in models]
        divergence.add(rows[0], rows[1], window[1:])
    for model in models:
        model.close()
    measured, everything = divergence.comparison(), found["all"]
    assert isinstance(everything, Mapping)
    assert everything["positions"] == measured.positions
    assert everything["mean_kl"] == pytest.approx(measured.mean_kl, rel=0.15)
    assert everything["source_perplexity"] == pytest.approx(measured.reference_perplexity, rel=1e-3)
    assert everything["perplexity"] == pytest.approx(measured.perplexity, rel=5e-3)


def test_exact_weights_lose_nothing_and_fewer_bits_more(tmp_path: Path) -> None:
    source = tiny_hf_directory(tmp_path / "hf", "llama")
    kls = []
    quants: tuple[Quant, ...] = ("keep", "q8", "q4", "q4-pure")
    for quant in quants:
        found = report(tmp_path, source, quant, check_tokens=FEW_TOKENS)
        assert isinstance(found["all"], Mapping)
        assert set(found["kinds"]) == {"prose", "code"}
        kls.append(found["all"]["mean_kl"])
    assert kls[0] < 1e-9
    assert kls == sorted(kls)


def test_a_source_that_is_quantised_itself_is_named(tmp_path: Path) -> None:
    found = report(tmp_path, tiny_gguf(tmp_path / "some.gguf", type_name="Q4_1"), "keep", check_tokens=FEW_TOKENS)
    assert found["source_types"] == ["Q4_1"]
    assert isinstance(found["all"], Mapping)
    assert found["all"]["mean_kl"] < 1e-6


def test_a_head_in_parts_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tiny_hf_directory(tmp_path / "hf", "llama")
    whole = report(tmp_path, source, "q4", check_tokens=FEW_TOKENS)
    monkeypatch.setattr(held_out, "_HEAD_VALUES", 64 * 100)
    monkeypatch.setattr(held_out, "_LOGITS_BYTES", 4 * 320 * 33)
    assert report(tmp_path, source, "q4", check_tokens=FEW_TOKENS) == whole


def test_text_that_the_weights_were_calibrated_on_is_refused(tmp_path: Path) -> None:
    source = tiny_hf_directory(tmp_path / "hf", "llama")
    lines = "\n".join(f"line {number} of a text that is long enough to be told from others" for number in range(90))
    with pytest.raises(UsageError, match="calibration text"):
        convert_checkpoint(source, tmp_path / "out", calibration=[lines], checks={"other": lines[100:]})
    assert not (tmp_path / "out").exists()


def test_no_more_is_measured_than_was_asked_for(tmp_path: Path) -> None:
    found = report(tmp_path, tiny_hf_directory(tmp_path / "hf", "llama"), "q8", check_tokens=64)
    assert [kind["positions"] for kind in found["kinds"].values()] == [64, 64]


def test_too_little_text_is_refused_before_any_work(tmp_path: Path) -> None:
    source = tiny_hf_directory(tmp_path / "hf", "llama")
    with pytest.raises(UsageError, match="'short'"):
        convert_checkpoint(source, tmp_path / "out", checks={"short": "a few words"})
    assert not (tmp_path / "out").exists()


def test_progress_ends_at_its_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "check":
            seen.append((done, total))

    source = tiny_hf_directory(tmp_path / "hf", "llama")
    convert_checkpoint(source, tmp_path / "out", checks=TEXTS, check_tokens=FEW_TOKENS, progress=progress)
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
