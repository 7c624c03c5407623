"""What the comparison of sparse models makes of its processes, and what its worker does with texts."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import engines
import numpy as np
import own_small_memory
import pytest
import routing_traces
import small_workload
import sparse
from group_worker import Outcome
from small_workload import SmallJob
from tiny_models import write_hf
from tiny_sparse import tiny_sparse

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.runtime.residency.routing_trace import TracePass, read_trace, write_trace


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sparse")
    return convert_checkpoint(
        write_hf(folder / "hf", tiny_sparse("deepseek_v2")), folder / "package", models_dir=folder
    )


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    facts: dict[str, object] = {}
    for line in capsys.readouterr().out.splitlines():
        facts.update(json.loads(line))
    return facts


def test_our_worker_writes_the_same_text_again(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETSEEK_HOME", str(tmp_path / "home"))
    job = SmallJob(
        str(package), 0, threads=1, passes=5, prompt_tokens=4, num_sequences=2, temperature=1.0,
        trace=str(tmp_path / "a.trace"),
    )  # fmt: skip
    own_small_memory.measure(job)
    first = told(capsys)
    assert first["same_alone"] is True
    texts = first["texts"]
    assert isinstance(texts, list)
    assert [len(row) for row in texts] == [9, 9]
    assert "same_texts" not in first
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    again = SmallJob(**{**vars(job), "texts": str(tmp_path / "texts.json"), "trace": ""})
    own_small_memory.measure(again)
    assert told(capsys)["same_texts"] is True
    passes = read_trace(tmp_path / "a.trace")[1]
    assert {one.num_rows for one in passes if one.answered == one.num_rows} == {1, 2}


def test_a_peer_is_given_the_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts.json").write_text(json.dumps([[1, 2, 3, 4], [5, 6, 7, 8]]))
    seen: list[list[list[int]]] = []

    class Runner:
        engine = system = "fake"
        vocab_size = 100
        kv_bytes = None

        def forget(self) -> None: ...

        def run(self, token_ids: list[list[int]], first_position: int) -> list[int]:
            seen.append(token_ids)
            return [0] * len(token_ids)

    job = SmallJob("m", 1, passes=2, prompt_tokens=2, num_sequences=2, texts=str(tmp_path / "texts.json"))
    small_workload.measure(job, lambda _: Runner())
    assert seen == [[[1, 2]], [[3]], [[4]], [[1, 2], [5, 6]], [[3], [7]], [[4], [8]]]


def test_ours_goes_first_until_there_are_texts(tmp_path: Path) -> None:
    models = {engines.ours(): tmp_path, engines.Engine("llama.cpp", "python"): tmp_path}
    names = [[one.name for one in sparse.in_turn(models, tmp_path, 8, number)] for number in (0, 1)]
    assert names[0] == names[1] == ["pocketseek", "llama.cpp"]
    sparse.texts_path(tmp_path, 8).write_text("[]")
    assert [one.name for one in sparse.in_turn(models, tmp_path, 8, 1)] == ["llama.cpp", "pocketseek"]


def outcome(texts: list[list[int]], same_alone: bool = True) -> Outcome:
    return Outcome({"texts": texts, "same_alone": same_alone})


def test_texts_are_the_same_or_not() -> None:
    outcomes = {(size, 2): {"pocketseek": [outcome([[1], [2]])]} for size in ("resident", "3GB")}
    assert sparse.same_texts(outcomes)
    assert not sparse.same_texts({**outcomes, ("4GB", 2): {"pocketseek": [outcome([[1], [3]])]}})
    assert not sparse.same_texts({**outcomes, ("4GB", 2): {"pocketseek": [outcome([[1], [2]], same_alone=False)]}})
    assert sparse.same_texts({**outcomes, ("4GB", 4): {"pocketseek": [outcome([[1], [2], [3], [4]])]}})


def test_figures_of_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    alone = [TracePass(one.chosen, 1, 4, 0.01, 0.02) for one in routing_traces.passes(6)]
    together = [TracePass(one.chosen, 4, 8, 0.02, 0.02) for one in routing_traces.passes(6, rows=4)]
    prompt = [TracePass(routing_traces.passes(1, rows=5)[0].chosen, 1, 9, 0.02, 0.0)]
    write_trace(path, routing_traces.header(beside_bytes=2_000_000), [*prompt, *alone, *prompt, *together])
    figures = sparse.trace_figures(path, "2.02MB", Outcome({"num_slots": 12}), 1e6)
    assert (figures.num_slots, figures.memory_slots) == (12, 20)
    assert figures.experts_read == {1: 4.0, 4: 2.0}
    assert figures.experts_used[1] == 9.0
    assert figures.experts_used[4] < 9.0
    assert figures.misses == 2 * 9 + 6 * 4 + 6 * 8
    assert (figures.compute_s, figures.waited_s) == (pytest.approx(0.01), pytest.approx(0.02))
    assert figures.expected_tokens_per_s is not None
    assert figures.bound_tokens_per_s is not None
    assert figures.expected_tokens_per_s <= figures.bound_tokens_per_s
    assert figures.replayed_misses is not None


def test_jobs_say_what_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jobs: list[tuple[SmallJob, int, bool]] = []

    def run_job(_engine: object, job: SmallJob, limit_bytes: int, _patience: float, *, repack: bool) -> Outcome:
        jobs.append((job, limit_bytes, repack))
        return Outcome()

    monkeypatch.setattr(sparse, "run_job", run_job)
    arguments = Namespace(folder=tmp_path, tokens=9, peer_tokens=3, threads=2, patience=1.0)
    for engine in (engines.ours(), engines.Engine("llama.cpp", "python")):
        for size in ("resident", "3GB"):
            sparse.run_one(engine, tmp_path, size, 4, arguments)
    assert [(job.memory_bytes, job.passes, repack) for job, _, repack in jobs] == [
        (0, 9, True),
        (3_000_000_000, 9, False),
        (0, 9, True),
        (3_000_000_000, 3, False),
    ]
    assert [bool(job.trace) for job, *_ in jobs] == [False, True, False, True]
    assert np.all([job.temperature == 1.0 for job, *_ in jobs])
