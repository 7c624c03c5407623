"""The server's bookkeeping: what changes the adapter, what is rejected by name, and what a crash leaves."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pocketseek.adapt.federated.aggregate import Answer, largest_norm, weighted_mean
from pocketseek.adapt.federated.federation import Federation
from pocketseek.adapt.federated.plan import FederatedPlan
from pocketseek.adapt.federated.vector import gaussian, to_vector
from pocketseek.errors import FormatError, UsageError
from pocketseek.package.trust.audit import AuditLog

SHAPES = {"one": (4, 8), "two": (8, 4)}
PLAN = FederatedPlan("a" * 64, rounds=4, secure=False, min_clients=2, clip_norm=4.0)
START = {name: np.full(shape, 0.5, np.float32) for name, shape in SHAPES.items()}


def federation(folder: Path, plan: FederatedPlan = PLAN, **options: bool) -> Federation:
    return Federation(plan, SHAPES, START, folder / "adapter", AuditLog(folder / "rounds.log"), **options)  # type: ignore[arg-type]


def test_a_log_that_lost_its_oldest_rounds_changes_no_total(tmp_path: Path) -> None:
    plan = replace(PLAN, rounds=40, noise=1.0)
    whole, short = tmp_path / "whole", tmp_path / "short"
    told = []
    for folder, rotate_bytes in ((whole, 1 << 20), (short, 2000)):
        folder.mkdir()
        for _ in range(2):  # the second time from what is on the disk
            log = AuditLog(folder / "rounds.log", rotate_bytes=rotate_bytes)
            learning = Federation(plan, SHAPES, START, folder / "adapter", log)
            for _ in range(20):
                learning.begin(2)
                learning.end_open([answer("x"), answer("y")], [])
        rounds = [event.fields for event in log.events() if event.name == "round-ended"]
        told.append((learning.rounds_done, learning.privacy, rounds[-1]["round"], rounds[-1]["epsilon"]))
    assert len(rounds) < 20
    assert told[0] == told[1]
    assert told[0][0] == told[0][2] == 40


def answer(name: str, value: float = 0.01, weight: float = 1.0) -> Answer:
    return Answer(name, np.full(64, value, np.float32), weight, num_tokens=10, loss=2.0)


def test_a_round_adds_the_mean_of_changes(tmp_path: Path) -> None:
    learning = federation(tmp_path)
    learning.begin(3)
    report = learning.end_open([answer("x", 0.1), answer("y", 0.3)], absent=["z"])
    assert (report.outcome, report.num_asked, report.num_learnt, report.absent) == ("learnt", 3, 2, ("z",))
    np.testing.assert_allclose(learning.vector, 0.7, rtol=1e-6)
    assert report.loss == 2.0
    assert math.isinf(report.privacy.published)


def test_malicious_answers_are_rejected_by_name_and_change_nothing(tmp_path: Path) -> None:
    good = [answer("x"), answer("y")]
    bad = [
        answer("huge", 1e6),
        answer("nan", float("nan")),
        answer("inf", float("inf")),
        Answer("short", np.zeros(63, np.float32), 1.0),
        Answer("square", np.zeros((8, 8), np.float32), 1.0),
        Answer("whole", np.zeros(64, np.int64), 1.0),
        answer("heavy", weight=1e9),
        answer("negative", weight=-1.0),
    ]
    clean, attacked = federation(tmp_path / "clean"), federation(tmp_path / "attacked")
    (tmp_path / "clean").mkdir(exist_ok=True)
    (tmp_path / "attacked").mkdir(exist_ok=True)
    clean.begin(2)
    clean.end_open(good, [])
    attacked.begin(10)
    report = attacked.end_open([*bad, *good], [])
    faults = {one.client: one.fault for one in report.rejected}
    assert faults == {
        "huge": "too-large",
        "nan": "not-finite",
        "inf": "not-finite",
        "short": "wrong-shape",
        "square": "wrong-shape",
        "whole": "wrong-shape",
        "heavy": "wrong-weight",
        "negative": "wrong-weight",
    }
    assert attacked.vector.tobytes() == clean.vector.tobytes()
    line = next(
        event for event in AuditLog(tmp_path / "attacked" / "rounds.log").events() if event.name == "round-ended"
    )
    assert "huge:too-large" in str(line.fields["rejected"])


def test_who_is_absent_changes_nothing_but_its_absence() -> None:
    answers = [answer("x", 0.1), answer("y", 0.2), answer("z", 0.3)]
    assert weighted_mean(answers).tobytes() == weighted_mean(answers[::-1]).tobytes()
    np.testing.assert_allclose(weighted_mean(answers[:2]), 0.15, rtol=1e-6)


def test_too_few_answers_leave_the_adapter_as_it_was(tmp_path: Path) -> None:
    learning = federation(tmp_path)
    before = learning.vector.tobytes()
    learning.begin(2)
    assert learning.end_open([answer("x"), answer("y", 1e6)], []).outcome == "too-few"
    assert learning.vector.tobytes() == before


@pytest.mark.parametrize("bad", [np.full(64, np.nan), np.full(64, 9.0), np.zeros(3)])
def test_a_bad_sum_breaks_a_secure_round_off(tmp_path: Path, bad: np.ndarray) -> None:
    learning = federation(tmp_path, replace(PLAN, secure=True, min_clients=3))
    before = learning.vector.tobytes()
    learning.begin(4)
    report = learning.end_secure(bad.astype(np.float32), 4, [], math.nan)
    assert report.outcome == "bad-sum"
    assert report.fault is not None
    assert learning.vector.tobytes() == before


def test_secure_rounds_learn_from_a_good_sum_of_enough(tmp_path: Path) -> None:
    learning = federation(tmp_path, replace(PLAN, secure=True, min_clients=3))
    learning.begin(4)
    assert learning.end_secure(np.full(64, 0.1, np.float32), 3, ["z"], 1.0).outcome == "learnt"
    learning.begin(4)
    assert learning.end_secure(np.full(64, 0.1, np.float32), 2, ["y", "z"], 1.0).outcome == "too-few"
    learning.begin(4)
    assert learning.end_secure(None, 1, ["y"], 1.0).outcome == "too-few"


def test_honest_noise_is_not_taken_for_an_attack() -> None:
    plan = replace(PLAN, noise=5.0)
    values = (gaussian(64 * 100) * plan.client_noise).reshape(100, 64)
    assert max(np.linalg.norm(values, axis=1)) + plan.clip_norm < largest_norm(plan, 64, 1)


def test_epsilon_grows_with_rounds_and_a_server_that_sees_answers_knows_more(tmp_path: Path) -> None:
    learning = federation(tmp_path, replace(PLAN, noise=4.0, sample_rate=0.5))
    spent = []
    for _ in range(3):
        learning.begin(2)
        spent.append(learning.end_open([answer("x"), answer("y")], []).privacy)
    assert spent[0].published < spent[1].published < spent[2].published < spent[2].known
    assert spent[2].server is not None
    assert spent[2].known < spent[2].server
    secure = replace(PLAN, noise=4.0, secure=True, min_clients=3)
    (tmp_path / "secure").mkdir()
    other = federation(tmp_path / "secure", secure)
    other.begin(3)
    assert other.end_secure(np.zeros(64, np.float32), 3, [], math.nan).privacy.server is None


def test_a_killed_server_goes_on_where_it_was_and_forgets_no_noise(tmp_path: Path) -> None:
    plan = replace(PLAN, noise=4.0, secure=True, min_clients=3)
    learning = federation(tmp_path, plan)
    learning.begin(3)
    learning.end_secure(np.full(64, 0.1, np.float32), 3, [], math.nan)
    learning.begin(3)  # and here it was killed
    again = federation(tmp_path, plan)
    assert again.rounds_done == 1
    assert again.vector.tobytes() == learning.vector.tobytes()
    assert again.privacy.known > learning.privacy.known
    assert [event.name for event in AuditLog(tmp_path / "rounds.log").events()][-1] == "round-lost"
    assert AuditLog(tmp_path / "rounds.log").verify().problems == ()


def test_another_federations_state_is_not_taken_over(tmp_path: Path) -> None:
    learning = federation(tmp_path)
    learning.begin(2)
    with pytest.raises(UsageError, match="differs in clip_norm; "):
        federation(tmp_path, replace(PLAN, clip_norm=3.0))
    assert federation(tmp_path, replace(PLAN, rounds=9)).plan.rounds == 9  # more rounds are the same federation
    assert federation(tmp_path, replace(PLAN, clip_norm=3.0), fresh=True).rounds_done == 0


def test_a_start_that_is_no_adapter_of_the_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        Federation(PLAN, SHAPES, {"one": START["one"]}, tmp_path / "a", AuditLog(tmp_path / "rounds.log"))


def test_clients_are_asked_by_coins_of_their_own(tmp_path: Path) -> None:
    learning = federation(tmp_path, replace(PLAN, sample_rate=0.5))
    names = [str(number) for number in range(400)]
    assert 120 < len(learning.choose(names)) < 280
    assert federation(tmp_path / "all").choose(names) == names


def test_the_server_tells_perplexity_where_it_has_a_text(tmp_path: Path) -> None:
    told = []

    def evaluate(tensors: dict[str, np.ndarray]) -> float:
        told.append(to_vector(tensors, SHAPES))
        return 12.5

    learning = Federation(PLAN, SHAPES, START, tmp_path / "a", AuditLog(tmp_path / "rounds.log"), evaluate=evaluate)
    learning.begin(2)
    assert learning.end_open([answer("x"), answer("y")], []).perplexity == 12.5
    assert told[0].tobytes() == learning.vector.tobytes()
