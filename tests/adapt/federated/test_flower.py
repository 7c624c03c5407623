"""With the real Flower, in the environment that it needs for itself: `scripts/flower` makes one and runs these."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import pocketseek
from pocketseek.settings import flower_environment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What flower_cases.py prints."""
    python = os.environ.get("POCKETSEEK_FEDERATED_PYTHON")
    assert python, "run scripts/flower, or set POCKETSEEK_FEDERATED_PYTHON to a Python that has Flower"
    folder = tmp_path_factory.mktemp("flower")
    (folder / "path").mkdir()
    (folder / "path" / "pocketseek").symlink_to(Path(pocketseek.__file__).parent)
    script = Path(__file__).with_name("flower_cases.py")
    ended = subprocess.run(
        [python, str(script), str(folder / "cases")],
        env={**flower_environment(folder / "flower"), "PYTHONPATH": str(folder / "path")},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    (line,) = (line for line in ended.stdout.splitlines() if line.startswith("FOUND "))
    told = json.loads(line.removeprefix("FOUND "))
    assert isinstance(told, dict)
    return told


def moved_by(case: dict[str, Any]) -> float:
    low, high = case["moved"]
    assert high - low < 1e-5  # secure aggregation rounds to a grid
    return float(low + high) / 2


def test_a_round_moves_the_adapter_by_the_mean_in_the_open_and_secretly(found: dict[str, Any]) -> None:
    for name in ("open", "secure"):
        assert found[name]["outcome"] == "learnt"
        assert found[name]["learnt"] == 4
        assert moved_by(found[name]) == pytest.approx(0.025, abs=2e-6)  # of 0.01, 0.02, 0.03, 0.04
    assert found["open"]["loss"] == 2.0
    assert found["secure"]["loss"] is None


@pytest.mark.parametrize(
    "name", ["open-killed", "secure-killed-in-training", "secure-killed-before-keys", "secure-killed-at-once"]
)
def test_a_device_that_is_lost_changes_nothing_but_its_absence(found: dict[str, Any], name: str) -> None:
    case = found[name]
    assert (case["outcome"], case["learnt"], case["absent"]) == ("learnt", 3, ["node-13"])
    assert moved_by(case) == pytest.approx(0.02, abs=2e-6)


def test_one_that_is_lost_after_its_answer_is_in_the_mean(found: dict[str, Any]) -> None:
    assert found["secure-killed-after-training"]["learnt"] == 4
    assert moved_by(found["secure-killed-after-training"]) == pytest.approx(0.025, abs=2e-6)


def test_too_many_losses_leave_the_adapter_as_it_was(found: dict[str, Any]) -> None:
    case = found["secure-two-of-four-killed"]
    assert (case["outcome"], moved_by(case)) == ("too-few", 0.0)


def test_in_the_open_malicious_devices_are_rejected_by_name(found: dict[str, Any]) -> None:
    case = found["open-malicious"]
    assert case["rejected"] == {"node-14": "too-large", "node-15": "not-finite", "node-16": "wrong-shape"}
    assert moved_by(case) == moved_by(found["open"])


def test_under_secure_aggregation_garbage_breaks_the_round_off(found: dict[str, Any]) -> None:
    assert found["secure-garbage"]["outcome"] == "bad-sum"
    assert found["secure-garbage"]["fault"] == "too-large"
    assert found["secure-misshapen"]["outcome"] == "broken-off"
    assert moved_by(found["secure-garbage"]) == moved_by(found["secure-misshapen"]) == 0.0


def test_who_does_not_want_to_is_not_asked_to_train(found: dict[str, Any]) -> None:
    assert found["unwilling"]["learnt"] == 4
    assert found["unwilling"]["absent"] == []


def test_a_device_does_not_answer_in_the_open_what_was_planned_to_be_secret(found: dict[str, Any]) -> None:
    (reason,) = found["downgrade"]
    assert "nothing is sent" in reason


def test_devices_are_known_by_the_files_of_their_keys(found: dict[str, Any]) -> None:
    assert found["keys"] == {
        "none": [],
        "both": ["one", "two"],
        "gone": ["two"],
        "half": ["two"],
        "back": ["one", "two"],
    }
