"""Conversions that take long go on where they were interrupted, and the package is the same, byte for byte."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from package.crashes import run_killed_before_change
from tiny_models import tiny_model, write_hf

from pocketseek.convert import unfinished
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.sensitivity_state import Measured
from pocketseek.convert.unfinished import GoingOn
from pocketseek.errors import FormatError, StorageError
from pocketseek.package import journal
from pocketseek.package.verify import verify_package

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

TEXT = "".join(f"{number} green bottles hanging on the wall, and if one should fall. " for number in range(100))
DAY = date(2025, 1, 31)
NUM_LAYERS = 3
HOW: Mapping[str, Mapping[str, Any]] = {
    "calibrated": {"quant": "q4-pure", "calibration": [TEXT], "calibration_tokens": 1024},
    "bits": {"bits": 5.0, "calibration": [TEXT], "calibration_tokens": 1024},
    "size": {"target_bytes": 560_000},
}


class Interrupter:
    """A Progress that is Ctrl-C at the first word of a stage from the number-th distinct place on."""

    def __init__(self, number: int, error: BaseException | None = None) -> None:
        self.seen: list[tuple[str, int]] = []
        self._number = number
        self._error = error or KeyboardInterrupt()

    def __call__(self, stage: str, done: int, total: int) -> None:
        place = (stage, done if stage == "sensitivity" else 0)
        if place not in self.seen:
            self.seen.append(place)
        if len(self.seen) > self._number:
            raise self._error


def convert(source: Path, destination: Path, how: str = "calibrated", **more: Any) -> Path:
    return convert_checkpoint(source, destination, name="m", converted_on=DAY, **(dict(HOW[how]) | more))


def package_bytes(package: Path) -> dict[str, bytes]:
    """All but the marker, which has the files' own numbers."""
    return {str(path.relative_to(package)): path.read_bytes() for path in files_of(package)}


def files_of(package: Path) -> list[Path]:
    unlike = ("verified.json", "checked.json")
    return sorted(path for path in package.rglob("*") if path.is_file() and path.name not in unlike)


def leftovers(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if "pocketseek" in path.name]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tiny_model("llama", hidden=64, intermediate=96, num_layers=NUM_LAYERS, vocab=320)
    return write_hf(tmp_path_factory.mktemp("source") / "hf", model)


@pytest.fixture(scope="module")
def references(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, dict[str, bytes]]:
    """Never interrupted."""
    folder = tmp_path_factory.mktemp("references")
    return {how: package_bytes(convert(source, folder / how, how)) for how in HOW}


@pytest.mark.parametrize("how", HOW)
def test_interrupted_at_every_step_it_ends_with_the_same_bytes(
    how: str, source: Path, references: Mapping[str, dict[str, bytes]], tmp_path: Path
) -> None:
    """One step further each time: a second place of a run is never reached twice."""
    told: list[GoingOn] = []
    reached: list[tuple[str, int]] = []
    for _ in range(40):
        interrupter = Interrupter(1)
        try:
            convert(source, tmp_path / "m", how, progress=interrupter, tell_going_on=told.append)
            break
        except KeyboardInterrupt:
            assert told[-1].is_kept or not reached
            assert not (tmp_path / "m").exists()
            assert interrupter.seen[-1] not in reached
            reached.append(interrupter.seen[-1])
    assert len(reached) >= NUM_LAYERS
    assert package_bytes(tmp_path / "m") == references[how]
    assert leftovers(tmp_path) == []


def test_what_was_done_is_told_and_not_done_again(source: Path, tmp_path: Path) -> None:
    told: list[GoingOn] = []
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "m", progress=Interrupter(3), tell_going_on=told.append)
    assert told == [GoingOn(NUM_LAYERS, is_kept=True)]
    shown = Interrupter(100)
    convert(source, tmp_path / "m", progress=shown, tell_going_on=told.append)
    assert told[1:] == [GoingOn(NUM_LAYERS, num_done=2)]
    assert [stage for stage, _ in shown.seen] == ["layer.2", "head"]


def test_measured_costs_are_told_and_not_measured_again(source: Path, tmp_path: Path) -> None:
    told: list[GoingOn] = []
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "m", "bits", progress=Interrupter(2), tell_going_on=told.append)
    shown = Interrupter(100)
    convert(source, tmp_path / "m", "bits", progress=shown, tell_going_on=told.append)
    assert told[1:] == [GoingOn(NUM_LAYERS, num_measured=2)]
    assert [done for stage, done in shown.seen if stage == "sensitivity"] == [2, 3]


@pytest.mark.parametrize("how", ["calibrated", "bits"])
def test_killed_at_random_changes_of_the_disk_it_ends_with_the_same_bytes(
    how: str, source: Path, references: Mapping[str, dict[str, bytes]], tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    kills = 0
    while run_killed_before_change(partial(convert, source, tmp_path / "m", how), rng.randrange(10, 45)):
        kills += 1
        assert kills < 60
        if (tmp_path / "m").exists():
            break
    assert kills > 0
    verify_package(tmp_path / "m", full=True)
    assert package_bytes(tmp_path / "m") == references[how]


def other_text(arguments: dict[str, Any], _: Path) -> None:
    arguments["calibration"] = [TEXT.replace("green", "blue")]


def other_quant(arguments: dict[str, Any], _: Path) -> None:
    arguments["quant"] = "q4"


def touched(_: dict[str, Any], source: Path) -> None:
    os.utime(source / "model.safetensors", ns=(1, 1))


@pytest.mark.parametrize(
    ("change", "refused"), [(other_text, "settings"), (other_quant, "settings"), (touched, "source")]
)
def test_what_was_for_something_else_is_not_used_and_that_is_told(
    change: Callable[[dict[str, Any], Path], None], refused: str, source: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(source, tmp_path / "hf"))
    with pytest.raises(KeyboardInterrupt):
        convert(own, tmp_path / "m", progress=Interrupter(2))
    arguments: dict[str, Any] = {}
    change(arguments, own)
    told: list[GoingOn] = []
    convert(own, tmp_path / "m", tell_going_on=told.append, **arguments)
    assert told == [GoingOn(NUM_LAYERS, refused=refused)]
    assert package_bytes(tmp_path / "m") == package_bytes(convert(own, tmp_path / "again", **arguments))


def test_another_version_of_the_program_begins_anew(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "m", progress=Interrupter(2))
    monkeypatch.setattr(unfinished, "_STATE_VERSION", 999)
    told: list[GoingOn] = []
    convert(source, tmp_path / "m", tell_going_on=told.append)
    assert told == [GoingOn(NUM_LAYERS, refused="version")]


def test_fresh_begins_anew(source: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "m", progress=Interrupter(2))
    shown = Interrupter(100)
    convert(source, tmp_path / "m", fresh=True, progress=shown)
    assert shown.seen[0][0] == "embed"
    assert leftovers(tmp_path) == []


def test_a_full_disk_keeps_what_was_done(
    source: Path, references: Mapping[str, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = 0

    def full(*arguments: object) -> None:
        nonlocal writes
        writes += 1
        if writes > 2:
            raise OSError(28, "No space left on device")
        written(*arguments)

    written = journal.write_all
    monkeypatch.setattr(journal, "write_all", full)
    told: list[GoingOn] = []
    with pytest.raises(StorageError, match="the disk is full"):
        convert(source, tmp_path / "m", tell_going_on=told.append)
    assert told == [GoingOn(NUM_LAYERS, is_kept=True)]
    monkeypatch.undo()
    convert(source, tmp_path / "m", tell_going_on=told.append)
    assert told[-1] == GoingOn(NUM_LAYERS, num_done=2)
    assert package_bytes(tmp_path / "m") == references["calibrated"]


def test_too_little_disk_is_refused_before_the_work(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("pocketseek.package.writer.check_free_space", lambda _, num_bytes: asked.append(num_bytes))
    package = convert(source, tmp_path / "m", "bits")
    streams, hidden = NUM_LAYERS + 5, 1024 * 64 * 4
    least = sum(path.stat().st_size for path in files_of(package) if path.parent.name == "chunks")
    assert asked[0] > 2 * streams * hidden  # while costs are measured
    assert asked[1] > least + 2 * hidden


def test_a_plain_conversion_keeps_nothing(source: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        convert_checkpoint(source, tmp_path / "m", quant="q4", progress=Interrupter(3))
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_no_numbers_keep_nothing(tmp_path: Path) -> None:
    model = tiny_model(num_layers=NUM_LAYERS)
    model.weights["model.layers.2.mlp.up_proj.weight"][3, 3] = np.nan
    source = write_hf(tmp_path / "source", model)
    with pytest.raises(FormatError, match="up_proj"):
        convert(source, tmp_path / "m")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"num_layers": 1, "costs": [["a"]], "streams": [], "moved": []},
        {"num_layers": 1, "costs": [[["a"], [["q4p", "no"]]]], "streams": [], "moved": []},
        {"num_layers": 1, "costs": None, "streams": [[]], "moved": []},
        {"num_layers": 1, "costs": None, "streams": [], "moved": [["a", {}]]},
    ],
)
def test_measured_costs_of_another_form_are_refused(value: Any) -> None:
    with pytest.raises(FormatError):
        Measured.from_json(value, lambda _: np.zeros((1, 1), np.float32))


def test_costs_come_back_to_the_bit_whatever_they_are() -> None:
    costs = {("a", "b"): {"q4p": 0.1 + 0.2, "q8s": float("inf")}, ("head.weight",): {"q4p": 1e-300, "q8s": 0.0}}
    back = Measured.from_json(Measured(3, costs=costs).to_json(), lambda _: np.zeros((1, 1), np.float32))
    assert back.costs == costs
    assert list(back.costs or ()) == list(costs)
