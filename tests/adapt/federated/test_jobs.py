from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pocketseek.adapt.federated import environment
from pocketseek.adapt.federated.device_facts import read_device_facts
from pocketseek.adapt.federated.jobs import ClientJob, RoundsJob, ServerJob, SimulateJob, data_files, from_json, to_json
from pocketseek.errors import PocketseekError, UnsupportedError, UsageError
from pocketseek.settings import flower_environment

ROUNDS = RoundsJob("/models/m", "/federations/f", "{}", validation="/v.txt", round_s=5.0)


@pytest.mark.parametrize(
    "job",
    [
        ServerJob(ROUNDS, "127.0.0.1", 9092, "/keys"),
        SimulateJob(ROUNDS, "/data", 2),
        ClientJob("/models/m", "/data.txt", "h:1", None, {"charging": False}, {"most_steps": 3}, 2),
    ],
)
def test_a_job_travels_as_it_is(job: ServerJob | SimulateJob | ClientJob) -> None:
    assert from_json(to_json(job)) == job


def test_each_file_is_a_device(tmp_path: Path) -> None:
    for name in ("b.txt", "a.jsonl", "readme.md"):
        (tmp_path / name).write_text("x")
    assert [path.name for path in data_files(tmp_path)] == ["a.jsonl", "b.txt"]
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="for each device"):
        data_files(tmp_path / "none")


def test_without_flower_the_remedy_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="federate setup"):
        environment.find_python(tmp_path, None)
    with pytest.raises(UnsupportedError, match="POCKETSEEK_FEDERATED_PYTHON"):
        environment.find_python(tmp_path, tmp_path / "nothing")
    assert environment.find_python(tmp_path, Path(sys.executable)) == Path(sys.executable)


def test_a_python_without_flower_says_so_through_the_process(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="federate setup"):
        environment.run_in(
            Path(sys.executable),
            SimulateJob(ROUNDS, str(tmp_path)),
            tmp_path / "flower.log",
            flower_environment(tmp_path),
            lambda event, values: None,
        )


def test_a_process_that_dies_is_told_with_its_log(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho \'{"event": "round", "number": 1}\'\necho nonsense\necho broken >&2\nexit 7\n')
    python.chmod(0o755)
    told = []
    with pytest.raises(PocketseekError, match=r"unexpectedly \(7\).*flower\.log"):
        environment.run_in(
            python,
            SimulateJob(ROUNDS, str(tmp_path)),
            tmp_path / "flower.log",
            flower_environment(tmp_path),
            lambda event, values: told.append((event, dict(values))),
        )
    assert told == [("round", {"number": 1})]
    assert "broken" in (tmp_path / "flower.log").read_text()


def test_flower_is_told_to_keep_quiet_and_to_itself(tmp_path: Path) -> None:
    values = flower_environment(tmp_path)
    assert values["FLWR_TELEMETRY_ENABLED"] == "0"
    assert values["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert values["FLWR_HOME"] == str(tmp_path)


def test_what_is_installed_is_what_the_project_names() -> None:
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8")
    block = project.split("[dependency-groups]")[1].split("]\n")[0]
    for one in environment.requirements(simulation=True):
        assert f'"{one}"' in block
    assert environment.requirements(simulation=False)[0].startswith("flwr==")


def test_a_device_tells_what_it_can(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "loadavg").write_text("0.4 1.0 2.0 1/100 1234\n")
    facts = read_device_facts(2, tmp_path)
    assert (facts.charging, facts.is_idle) == (None, True)
    (tmp_path / "proc" / "loadavg").write_text("3.0 1.0 2.0 1/100 1234\n")
    assert read_device_facts(2, tmp_path).is_idle is False
    (tmp_path / "proc" / "loadavg").unlink()
    assert read_device_facts(2, tmp_path).is_idle is None
