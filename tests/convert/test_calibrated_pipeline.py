"""`convert` with calibration: a package like others, with less lost."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_gguf, tiny_hf_directory, tiny_model, write_hf

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.recipe import Quant
from pocketseek.errors import UsageError
from pocketseek.package.manifest import read_manifest
from pocketseek.package.reader import Package
from pocketseek.package.verify import verify_package
from pocketseek.runtime.load import load

TEXT = " ".join(f"The capital of {name} is the city of {name[::-1]}." for name in map(str, range(100, 1100)))
TOKENS = 2048  # enough for models as small as these


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_a_calibrated_package_has_the_same_formats_and_runs(family: str, tmp_path: Path) -> None:
    checkpoint = tiny_hf_directory(tmp_path / "source", family)
    plain = convert_checkpoint(checkpoint, tmp_path / "plain", quant="q4")
    calibrated = convert_checkpoint(
        checkpoint, tmp_path / "calibrated", quant="q4", calibration=[TEXT], calibration_tokens=TOKENS
    )
    formats = [{tensor.name: tensor.format for tensor in read_manifest(path).tensors} for path in (plain, calibrated)]
    assert formats[0] == formats[1]
    verify_package(calibrated, full=True)
    with closing(Package.open(plain)) as one, closing(Package.open(calibrated)) as other:
        assert bytes(one.tensor("layer.0.q").parts[0].data) != bytes(other.tensor("layer.0.q").parts[0].data)
    with load(calibrated, num_threads=1) as engine:
        assert engine.generate("The capital", max_tokens=4).num_tokens > 0


def test_the_report_says_what_it_was_calibrated_on_and_what_was_lost(tmp_path: Path) -> None:
    checkpoint = tiny_hf_directory(tmp_path / "source")
    package = convert_checkpoint(checkpoint, tmp_path / "p", quant="q4", calibration=[TEXT], calibration_tokens=TOKENS)
    report = read_manifest(package).quality["calibration"]
    assert isinstance(report, dict)
    assert report["tokens"] == TOKENS
    assert report["matrices"] == 15
    assert 0 < float(str(report["relative_output_error"])) < 0.01
    assert str(report["worst_tensor"]).startswith("layer.")


@pytest.mark.parametrize("quant", ["q4", "q4-pure"])
@pytest.mark.parametrize("tied", [False, True])
def test_the_head_is_calibrated_where_it_has_four_or_six_bits(tied: bool, quant: Quant, tmp_path: Path) -> None:
    checkpoint = write_hf(tmp_path / "source", tiny_model(tied=tied))
    package = convert_checkpoint(checkpoint, tmp_path / "p", quant=quant, calibration=[TEXT], calibration_tokens=TOKENS)
    report = read_manifest(package).quality["calibration"]
    assert isinstance(report, dict)
    assert report["matrices"] == 15


@pytest.mark.parametrize(("type_name", "quant"), [("Q4_0", "q4"), ("F16", "q8"), ("F16", "keep"), ("F16", None)])
def test_text_that_nothing_is_calibrated_on_is_refused(type_name: str, quant: Quant | None, tmp_path: Path) -> None:
    """What was four bits before is copied, what gets eight or more is rounded."""
    checkpoint = tiny_gguf(tmp_path / "model.gguf", type_name=type_name)
    with pytest.raises(UsageError, match="nothing to calibrate; leave --calibrate out"):
        convert_checkpoint(checkpoint, tmp_path / "p", quant=quant, calibration=[TEXT], calibration_tokens=TOKENS)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


def test_a_head_in_pieces_is_that_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = write_hf(tmp_path / "source", tiny_model(vocab=331))

    def converted(name: str) -> tuple[bytes, object, list[int]]:
        done: list[int] = []
        path = convert_checkpoint(
            checkpoint,
            tmp_path / name,
            quant="q4",
            calibration=[TEXT],
            calibration_tokens=TOKENS,
            progress=lambda _, now, all_: done.append(all_ - now),
        )
        with closing(Package.open(path)) as package:
            head = package.tensor("head.weight")
            return b"".join(bytes(part.data) for part in head.parts), package.manifest.quality["calibration"], done

    whole, report, _ = converted("whole")
    monkeypatch.setattr("pocketseek.convert.calibrate._HEAD_VALUES", 100 * 64)
    pieces, same_report, left = converted("pieces")
    assert len(pieces) == len(whole)
    assert np.mean(np.frombuffer(pieces, np.uint8) == np.frombuffer(whole, np.uint8)) > 0.99  # BLAS rounds by shape
    assert isinstance(report, dict)
    assert isinstance(same_report, dict)
    assert same_report["matrices"] == report["matrices"] == 15
    assert same_report["relative_output_error"] == pytest.approx(report["relative_output_error"], rel=1e-2)
    assert left[-1] == 0


def test_progress_counts_everything_once(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    convert_checkpoint(
        tiny_hf_directory(tmp_path / "source"),
        tmp_path / "p",
        quant="q4",
        calibration=[TEXT],
        calibration_tokens=TOKENS,
        progress=lambda stage, done, total: seen.append((done, total)),
    )
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]
    assert max(done for done, _ in seen[:-1]) <= seen[-1][1]


def test_too_little_text_leaves_nothing_behind(tmp_path: Path) -> None:
    checkpoint = tiny_hf_directory(tmp_path / "source")
    with pytest.raises(UsageError, match="calibration text"):
        convert_checkpoint(checkpoint, tmp_path / "p", quant="q4", calibration=["too short"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_weights_that_are_no_numbers_name_their_tensor(tmp_path: Path) -> None:
    model = tiny_model()
    model.weights["model.layers.1.mlp.up_proj.weight"][3, 3] = np.nan
    checkpoint = write_hf(tmp_path / "source", model)
    with pytest.raises(Exception, match="up_proj"):
        convert_checkpoint(checkpoint, tmp_path / "p", quant="q4", calibration=[TEXT], calibration_tokens=TOKENS)
    assert not (tmp_path / "p").exists()
