"""`train_adapter`: what comes out of it, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from adapt.training_models import conversations, tiny_package
from package.sealed_samples import GCM
from package.sealed_samples import key as sealing_key
from tiny_models import write_hf
from tiny_sparse import tiny_sparse

from pocketseek.adapt.train import train_adapter
from pocketseek.adapt.train_run import StepReport
from pocketseek.adapt.train_settings import TrainSettings
from pocketseek.adapt.train_tensors import adapter_shapes
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import FormatError, MemoryLimitError, ModelOutputError, UnsupportedError, UsageError
from pocketseek.package.manifest import read_manifest
from pocketseek.package.sealing.in_place import seal_package

SETTINGS = TrainSettings(rank=4, steps=6, learning_rate=1e-2, batch=4, context=64)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_package(tmp_path_factory.mktemp("packages"), "qwen3")


def test_the_loss_falls_and_every_step_is_told(package: Path) -> None:
    told: list[StepReport] = []
    before = {path: path.read_bytes() for path in package.rglob("*") if path.is_file()}
    found = train_adapter(package, conversations(), SETTINGS, tell=told.append)
    assert found.losses == tuple(report.loss for report in told)
    assert found.losses[-1] < 0.9 * found.losses[0]
    assert found.num_tokens == sum(report.num_tokens for report in told)
    shapes = adapter_shapes(read_manifest(package).model, 4, SETTINGS.targets)
    assert {name: values.shape for name, values in found.tensors.items()} == shapes
    assert {path: path.read_bytes() for path in package.rglob("*") if path.is_file()} == before


def test_the_same_training_gives_the_same_bits_and_another_seed_others(package: Path) -> None:
    once, again = (train_adapter(package, conversations(), SETTINGS) for _ in range(2))
    other = train_adapter(package, conversations(), TrainSettings(**{**SETTINGS.__dict__, "seed": 1}))
    assert all(once.tensors[name].tobytes() == again.tensors[name].tobytes() for name in once.tensors)
    assert once.losses == again.losses
    assert once.losses != other.losses


def test_memory_that_is_scarce_changes_sums_only_in_their_last_bits(package: Path) -> None:
    plenty = train_adapter(package, conversations(), SETTINGS)
    scarce = train_adapter(
        package, conversations(), TrainSettings(**{**SETTINGS.__dict__, "memory_bytes": 424_000_000})
    )
    np.testing.assert_allclose(plenty.losses, scarce.losses, atol=1e-4)


def test_training_goes_on_from_where_another_ended(package: Path) -> None:
    first = train_adapter(package, conversations(), SETTINGS)
    second = train_adapter(package, conversations(), SETTINGS, first.tensors)
    assert second.losses[0] < first.losses[0]


def test_a_strong_pull_keeps_the_adapter_where_it_began(package: Path) -> None:
    start = train_adapter(package, conversations(), SETTINGS).tensors

    def moved(mu: float) -> float:
        settings = TrainSettings(**{**SETTINGS.__dict__, "clip_norm": 0.0, "steps": 12})
        end = train_adapter(package, conversations(), settings, start, mu).tensors
        return sum(float(np.square(end[name] - start[name]).sum()) for name in start)

    assert moved(100.0) < 0.7 * moved(0.0)


def test_only_the_targets_that_are_named_are_trained(package: Path) -> None:
    settings = TrainSettings(**{**SETTINGS.__dict__, "targets": ("v_proj", "q_proj"), "steps": 1})
    names = train_adapter(package, conversations(), settings).tensors
    assert {name.split(".")[-3] for name in names} == {"q_proj", "v_proj"}


def test_a_start_that_is_not_of_this_model_is_refused(package: Path) -> None:
    good = train_adapter(package, conversations(), TrainSettings(**{**SETTINGS.__dict__, "steps": 1})).tensors
    name = next(iter(good))
    for bad in (
        {key: values for key, values in good.items() if key != name},
        good | {"extra": good[name]},
        good | {name: good[name][:, :-1]},
        good | {name: good[name] * np.float32("nan")},
    ):
        with pytest.raises(FormatError):
            train_adapter(package, conversations(), SETTINGS, bad)


def test_a_loss_that_is_no_number_ends_it_in_one_line(package: Path) -> None:
    huge = {
        name: np.full(shape, 1e30, np.float32)
        for name, shape in adapter_shapes(read_manifest(package).model, 4, SETTINGS.targets).items()
    }
    with pytest.raises(ModelOutputError, match=r"step 1 .*lower --lr"):
        train_adapter(package, conversations(), SETTINGS, huge)


def test_too_little_memory_is_told_before_anything_is_done(package: Path) -> None:
    settings = TrainSettings(**{**SETTINGS.__dict__, "memory_bytes": 1_000_000})
    with pytest.raises(MemoryLimitError, match="--context"):
        train_adapter(package, conversations(), settings)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank": 0},
        {"rank": 257},
        {"alpha": 0.0},
        {"alpha": float("nan")},
        {"targets": ()},
        {"targets": ("embed",)},
        {"targets": ("q_proj", "q_proj")},
        {"steps": 0},
        {"steps": 1, "epochs": 1.0},
        {"steps": None, "epochs": 0.0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"schedule": "up"},
        {"warm_up": 1.0},
        {"batch": 0},
        {"context": 4},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=";"):
        TrainSettings(**wrong)  # type: ignore[arg-type]


def test_what_cannot_be_trained_on_is_refused(package: Path) -> None:
    with pytest.raises(UsageError, match="no examples"):
        train_adapter(package, [], SETTINGS)
    with pytest.raises(UsageError, match="context of 256"):
        train_adapter(package, conversations(), TrainSettings(context=512, steps=1))
    with pytest.raises(UsageError, match="proximal_mu"):
        train_adapter(package, conversations(), SETTINGS, None, -1.0)


def test_sparse_models_are_refused(tmp_path: Path) -> None:
    source = write_hf(tmp_path / "hf", tiny_sparse("qwen3_moe"))
    package = convert_checkpoint(source, tmp_path / "package")
    with pytest.raises(UnsupportedError, match="dense"):
        train_adapter(package, conversations(), SETTINGS)


def test_sealed_models_are_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tiny_package(tmp_path)
    seal_package(path, sealing_key, GCM)
    with pytest.raises(UnsupportedError, match="pocketseek unseal"):
        train_adapter(path, conversations(), SETTINGS)
