"""What was learnt comes back for the same model on the same device, and anything else counts as nothing."""

import json
from pathlib import Path

import pytest

from pocketseek.runtime.cost_file import CostFile
from pocketseek.types import Limits

DEVICE = {"processor": "p", "kernels": "avx2", "kv": "f16"}
MODEL = "0" * 64


def saved(data_dir: Path) -> CostFile:
    file = CostFile(data_dir, MODEL, DEVICE)
    for num_tokens, seconds in ((9, 1.0), (1, 0.25), (100, 0.5)):
        file.costs.observe(Limits(2), num_tokens, seconds)
    file.close()
    return file


def test_the_curve_comes_back(tmp_path: Path) -> None:
    saved(tmp_path)
    costs = CostFile(tmp_path, MODEL, DEVICE).costs
    assert [costs.of(Limits(2)).seconds(n) for n in (1, 100)] == [0.25, 0.5]
    assert [path.suffix for path in (tmp_path / "costs").iterdir()] == [".json"]


@pytest.mark.parametrize(
    ("model", "device"), [("1" * 64, DEVICE), (MODEL, {**DEVICE, "processor": "q"}), (MODEL, {**DEVICE, "kv": "q8"})]
)
def test_another_model_or_device_starts_afresh(tmp_path: Path, model: str, device: dict[str, str]) -> None:
    file = saved(tmp_path)
    other = CostFile(tmp_path, model, device)
    assert other.costs.models == {}
    other.path.write_bytes(file.path.read_bytes())  # even under the other's name
    assert CostFile(tmp_path, model, device).costs.models == {}


@pytest.mark.parametrize(
    "curves", ["[]", '{"2":5}', '{"2":[[1]]}', '{"2":[[0,1]]}', '{"2":[[1,-1]]}', '{"2":[["a",1]]}']
)
def test_a_file_with_impossible_points_counts_as_none(tmp_path: Path, curves: str) -> None:
    file = saved(tmp_path)
    value = json.loads(file.path.read_text())
    value["curves"] = json.loads(curves)
    file.path.write_text(json.dumps(value))
    assert CostFile(tmp_path, MODEL, DEVICE).costs.models == {}


def test_a_damaged_file_counts_as_none_and_is_replaced(tmp_path: Path) -> None:
    file = saved(tmp_path)
    whole = file.path.read_bytes()
    for damaged in (b"", whole[:-5], b"\xff" * 40, b"[" * 100_000, b"null", b"{}", b" " * 100_000):
        file.path.write_bytes(damaged)
        assert CostFile(tmp_path, MODEL, DEVICE).costs.models == {}
    saved(tmp_path)
    assert file.path.read_bytes() == whole


def test_nothing_is_written_without_passes_or_without_a_data_directory(tmp_path: Path) -> None:
    CostFile(tmp_path, MODEL, DEVICE).close()
    assert list(tmp_path.iterdir()) == []
    saved(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "costs").write_text("in the way")
    saved(tmp_path)
    assert (tmp_path / "costs").read_text() == "in the way"
