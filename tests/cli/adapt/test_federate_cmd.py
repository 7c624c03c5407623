"""`adapt federate`: what is refused before anything starts, keys, and the log."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pocketseek.adapt.federated.aggregate import Answer
from pocketseek.adapt.federated.federation import Federation
from pocketseek.adapt.federated.plan import FederatedPlan
from pocketseek.errors import FormatError, IntegrityError, NotFoundError, UnsupportedError, UsageError
from pocketseek.package.trust.audit import AuditLog


@pytest.fixture
def some_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """One without Flower."""
    monkeypatch.setenv("POCKETSEEK_FEDERATED_PYTHON", sys.executable)


def test_keys_are_made_for_a_server_and_a_device(run: Callable, tmp_path: Path) -> None:
    assert run("adapt", "federate", "keygen", tmp_path / "s", "--host", "127.0.0.1", "--json").json
    facts = run("adapt", "federate", "keygen", tmp_path / "d", "--device", "phone", "--json").json
    assert Path(str(facts["public"])).read_text().startswith("ecdsa-sha2-nistp384 ")
    assert run("adapt", "federate", "keygen", tmp_path / "d", "--device", "phone").code == UsageError.exit_code
    assert run("adapt", "federate", "keygen", tmp_path / "x").code == UsageError.exit_code


def test_without_flower_one_line_says_what_to_do(run: Callable, installed: Path, device_texts: Path) -> None:
    ended = run("adapt", "federate", "simulate", "tiny", "--data", device_texts)
    assert ended.code == UnsupportedError.exit_code
    assert "adapt federate setup" in ended.error


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--min-clients", 4), UsageError),
        (("--min-clients", 2), UsageError),  # secure aggregation needs three
        (("--sample-rate", 2), UsageError),
        (("--clip-norm", 0), UsageError),
        (("--noise", -1), UsageError),
        (("--targets", "embed"), UsageError),
        (("--weigh", "tokens"), UsageError),
        (("--validation", "absent.txt"), NotFoundError),
        (("--name", "../evil"), UsageError),
    ],
)
@pytest.mark.usefixtures("some_python")
def test_an_impossible_plan_starts_nothing(
    run: Callable, installed: Path, home: Path, device_texts: Path, options: tuple[object, ...], code: type[UsageError]
) -> None:
    ended = run("adapt", "federate", "simulate", "tiny", "--data", device_texts, *options)
    assert ended.code == code.exit_code
    assert not (home / "federations").exists()


@pytest.mark.usefixtures("some_python")
def test_who_can_be_heard_by_others_needs_keys(
    run: Callable, installed: Path, device_texts: Path, tmp_path: Path
) -> None:
    server, client = ("adapt", "federate", "server", "tiny"), ("adapt", "federate", "client", "tiny", "--data")
    for command in (
        server,
        (*server, "--insecure", "--host", "0.0.0.0"),
        (*server, "--insecure", "--keys", tmp_path),
        (*client, device_texts / "0.txt", "--server", "example.org:9092"),
        (*client, device_texts / "0.txt", "--server", "example.org:9092", "--insecure"),
    ):
        assert run(*command).code == UsageError.exit_code
    assert run(*client, device_texts / "0.txt", "--server", "h:1", "--keys", tmp_path).code == NotFoundError.exit_code
    (tmp_path / "bad.jsonl").write_text("{broken\n")
    ended = run(*client, tmp_path / "bad.jsonl", "--server", "127.0.0.1:1", "--insecure")
    assert ended.code == FormatError.exit_code


def test_a_process_that_ends_without_a_word_is_told(
    run: Callable, installed: Path, device_texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETSEEK_FEDERATED_PYTHON", str(shutil.which("true")))
    assert "flower.log tells why" in run("adapt", "federate", "simulate", "tiny", "--data", device_texts).error


def test_the_log_shows_rounds_and_whether_it_is_whole(run: Callable, home: Path) -> None:
    assert run("adapt", "federate", "log").code == NotFoundError.exit_code
    folder = home / "federations" / "default"
    folder.mkdir(parents=True)
    plan = FederatedPlan("a" * 64, secure=False, min_clients=1)
    shapes = {"one": (2, 2)}
    learning = Federation(
        plan, shapes, {"one": np.zeros((2, 2), np.float32)}, folder / "adapter", AuditLog(folder / "rounds.log")
    )
    learning.begin(2)
    learning.end_open([Answer("phone", np.full(4, 0.1, np.float32), 1.0), Answer("evil", np.zeros(3), 1.0)], ["gone"])
    facts = run("adapt", "federate", "log", "--json").json
    (told,) = facts["rounds"]
    assert (told["outcome"], told["learnt"], told["absent"], told["rejected"]) == (
        "learnt",
        1,
        "gone",
        "evil:wrong-shape",
    )
    assert "evil:wrong-shape" in run("adapt", "federate", "log").out
    log = folder / "rounds.log"
    log.write_text(log.read_text().replace("evil", "good"))
    assert run("adapt", "federate", "log").code == IntegrityError.exit_code


def test_rounds_that_the_log_keeps_no_longer_are_told(run: Callable, home: Path) -> None:
    folder = home / "federations" / "default"
    folder.mkdir(parents=True)
    log = AuditLog(folder / "rounds.log", rotate_bytes=2000)
    for number in range(1, 61):
        log.write("round-ended", round=number, outcome="learnt", learnt=2, asked=2, epsilon=f"{number}.5")
    facts = run("adapt", "federate", "log", "--json").json
    forgotten = facts["rounds_forgotten"]
    assert forgotten > 0
    assert [one["round"] for one in facts["rounds"]] == list(range(forgotten + 1, 61))
    out = run("adapt", "federate", "log").out
    assert f"rounds 1 to {forgotten} are no longer in the log" in out
    assert "60.5" in out
