"""What a federation has learnt is a signed release: `--install --sign` on the server, `pull` and `update` on devices.

Flower is not here (scripts/flower tests with it): a program in its place does the rounds with changes that are made up.
"""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.errors import UsageError

ASK = ("generate", "tiny", "Hello", "--max-tokens", 8, "--seed", 1, "--json")
LEARN = ("adapt", "federate", "simulate", "tiny", "--rank", 4, "--clip-norm", 1000, "--noise", 0)
ROUNDS = """#!{python}
import sys

import numpy as np

from pocketseek.adapt.federated import process
from pocketseek.adapt.federated.opened import OpenedFederation

def run_job(job, tell):
    with OpenedFederation(job.rounds, tell) as opened:
        learning = opened.federation
        while not learning.is_done:
            number = learning.begin(3)
            change = np.random.default_rng(number).standard_normal(len(learning.vector)).astype(np.float32)
            opened.tell_round(learning.end_secure(None if number == 1 else change, 3, [], 2.0))
        opened.finish()

process.run_job = run_job
sys.exit(process.main(sys.argv[-1:]))
"""


@pytest.fixture(autouse=True)
def _rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_PASSPHRASE", "a long enough passphrase")
    program = tmp_path / "python"
    program.write_text(ROUNDS.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("POCKETSEEK_FEDERATED_PYTHON", str(program))


def test_one_command_makes_a_signed_release_and_devices_update_to_the_next(
    run: Callable, installed: Path, home: Path, device_texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = (*LEARN, "--data", device_texts, "--install", "helper", "--sign", "--json")
    assert "no key to sign with" in run(*learn).error
    assert not (home / "federations").exists()
    key = run("keygen", "--name", "hub", "--json").json
    first = run(*learn, "--rounds", 2).json
    assert (first["rounds_done"], first["rounds_learnt"], first["installed"]) == (2, 1, "helper")
    assert (first["signed"]["version"], first["signed"]["signed_by"]) == (1, "hub")

    phone = tmp_path / "phone"
    monkeypatch.setenv("POCKETSEEK_HOME", str(phone))
    run("pull", installed, "--json")
    assert run("pull", installed.parent / "helper", "--yes", "--trust", key["fingerprint"], "--json").code == 0
    plain, adapted = run(*ASK).json["text"], run(*ASK, "--adapter", "helper").json["text"]
    assert adapted != plain

    monkeypatch.setenv("POCKETSEEK_HOME", str(home))
    second = run(*learn, "--rounds", 4).json
    assert [one["number"] for one in second["rounds"]] == [3, 4]
    assert (second["rounds_done"], second["rounds_learnt"], second["signed"]["version"]) == (4, 3, 2)

    monkeypatch.setenv("POCKETSEEK_HOME", str(phone))
    assert run("update", "helper", "--yes", "--json").json["updated"] is True
    assert run("inspect", "helper", "--json").json["version"] == 2
    assert run(*ASK, "--adapter", "helper").json["text"] not in (plain, adapted)


def test_the_same_command_again_tells_that_all_is_done_and_installs(
    run: Callable, installed: Path, device_texts: Path
) -> None:
    learn = (*LEARN, "--data", device_texts, "--rounds", 3)
    ended = run(*learn)
    assert "2 of 3 rounds changed it" in ended.out
    again = run(*learn, "--install", "helper")
    assert "3 rounds were done before" in again.err
    assert "pocketseek sign helper" in again.out
    assert [one["name"] for one in run("adapt", "list", "--json").json["adapters"]] == ["helper"]
    assert "differs in learning_rate; " in run(*learn, "--lr", 0.5).error
    assert run(*learn, "--lr", 0.5, "--fresh", "--json").json["rounds_done"] == 3


def test_what_cannot_be_installed_or_signed_is_told_before_anybody_trains(
    run: Callable, installed: Path, home: Path, device_texts: Path
) -> None:
    for options, said in (
        (("--install", "tiny"), "something else is called tiny"),
        (("--install", "../evil"), "../evil"),
        (("--sign",), "--install NAME"),
    ):
        ended = run(*LEARN, "--data", device_texts, *options)
        assert ended.code == UsageError.exit_code
        assert said in ended.error
    assert not (home / "federations").exists()
