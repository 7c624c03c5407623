"""`diff`, `update` and `rollback` from the outside: what is said, what is asked, what is left."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streaming_engine import keep_in_memory, small_units
from tiny_models import TinyModel, tiny_model, write_model_gguf

import pocketseek
from pocketseek.cli import update_cmd
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import FormatError, NotFoundError, UsageError
from pocketseek.package.manifest import read_manifest_bytes
from pocketseek.package.paths import PREVIOUS_NAME
from pocketseek.package.switch import has_answered
from pocketseek.types import SamplingParams


@pytest.fixture
def published(tmp_path: Path, installed: Path) -> Path:
    """The installed model, trained a little."""
    model = tiny_model()
    draw = np.random.default_rng(3)
    weights = {
        name: values + draw.normal(0, 1e-3, values.shape).astype(np.float32) if ".layers.1." in name else values
        for name, values in model.weights.items()
    }
    gguf = write_model_gguf(tmp_path / "new.gguf", TinyModel(model.family, model.config, weights))
    return convert_checkpoint(gguf, tmp_path / "published", models_dir=tmp_path, name="tiny")


def test_diff_tells_stages_and_sums(run: Callable, installed: Path, published: Path) -> None:
    facts = run("diff", "tiny", published, "--json").json
    assert facts["sent_bytes"] < facts["whole_bytes"]
    assert {stage["stage"]: stage["num_same"] > 0 for stage in facts["stages"]} == {
        "embed": True,
        "layer.0": True,
        "layer.1": False,
        "head": True,
    }
    assert facts["deltas"] is None
    lines = run("diff", "tiny", published).out.splitlines()
    assert any(line.startswith("layer.1\t") for line in lines)
    assert lines[-1].startswith("all\t")


def test_diff_of_a_version_with_itself(run: Callable, installed: Path) -> None:
    assert "same version" in run("diff", "tiny", "tiny").out


def test_deltas_are_written_where_they_are_wanted(
    run: Callable, installed: Path, published: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert str(out / "deltas") in run("diff", "tiny", published, "--out", out).out
    run("diff", "tiny", published, "--publish")
    assert sorted(path.name for path in (out / "deltas").iterdir()) == sorted(
        path.name for path in (published / "deltas").iterdir()
    )
    assert run("diff", "tiny", published, "--publish", "--out", out).code == UsageError.exit_code


def test_check_tells_without_changing(run: Callable, installed: Path, published: Path) -> None:
    run("diff", "tiny", published, "--publish")
    before = read_manifest_bytes(installed)
    facts = run("update", "tiny", "--from", published, "--check", "--json").json
    assert facts["up_to_date"] is False
    assert facts["fetch_bytes"] < facts["whole_bytes"]
    assert "pocketseek update tiny" in run("update", "tiny", "--from", published, "--check").out
    assert read_manifest_bytes(installed) == before


def test_updating_and_going_back(run: Callable, installed: Path, published: Path) -> None:
    before = read_manifest_bytes(installed)
    run("diff", "tiny", published, "--publish")
    done = run("update", "tiny", "--from", published, "--yes", "--json").json
    assert done["updated"] is True
    assert done["num_deltas"] > 0
    assert read_manifest_bytes(installed) == read_manifest_bytes(published)
    assert run("update", "tiny", "--from", published, "--json").json["up_to_date"] is True
    assert "up to date" in run("update", "tiny", "--from", published).out
    assert "back at the version" in run("rollback", "tiny").out
    assert read_manifest_bytes(installed) == before
    assert "no version to go back to" in run("rollback", "tiny").error


def test_a_script_must_confirm_in_advance(run: Callable, installed: Path, published: Path) -> None:
    ended = run("update", "tiny", "--from", published)
    assert ended.code == UsageError.exit_code
    assert "--yes" in ended.err


@pytest.mark.parametrize(("answer", "updated"), [("n\n", False), ("y\n", True), ("\n", True)])
def test_a_person_is_asked(
    run: Callable, installed: Path, published: Path, monkeypatch: pytest.MonkeyPatch, answer: str, updated: bool
) -> None:
    monkeypatch.setattr(update_cmd, "is_interactive", lambda: True)
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    assert run("update", "tiny", "--from", published).code == 0
    assert (read_manifest_bytes(installed) == read_manifest_bytes(published)) is updated


def test_where_it_was_pulled_from_is_known(run: Callable, installed: Path, published: Path) -> None:
    (installed / "origin.json").write_text(json.dumps({"address": str(published), "pulled_at": "2026-01-31T12:00:00Z"}))
    assert run("update", "tiny", "--yes").code == 0
    assert read_manifest_bytes(installed) == read_manifest_bytes(published)


def test_without_an_origin_the_source_must_be_named(run: Callable, installed: Path) -> None:
    ended = run("update", "tiny")
    assert ended.code == UsageError.exit_code
    assert "--from" in ended.error


@pytest.mark.parametrize(
    "command", [("update", "absent", "--from", "."), ("rollback", "absent"), ("diff", "tiny", "absent")]
)
def test_models_that_are_not_there_are_told(run: Callable, installed: Path, command: tuple[str, ...]) -> None:
    assert run(*command).code == NotFoundError.exit_code


def test_a_folder_without_a_package_is_told(run: Callable, installed: Path, tmp_path: Path) -> None:
    assert run("update", "tiny", "--from", tmp_path).code == FormatError.exit_code


def test_messages_come_in_chinese(
    run: Callable, installed: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETSEEK_LANG", "zh")
    assert "有更新" in run("update", "tiny", "--from", published, "--check").out


# --- answers ---


def ask(run: Callable) -> str:
    answer = run("generate", "tiny", "Hello", "--max-tokens", "4", "--seed", "1", "--json").json["text"]
    assert isinstance(answer, str)
    return answer


def test_the_old_version_goes_at_the_next_start_after_an_answer(
    run: Callable, installed: Path, published: Path
) -> None:
    run("update", "tiny", "--from", published, "--yes")
    assert (installed / PREVIOUS_NAME).exists()
    first = ask(run)
    assert (installed / PREVIOUS_NAME).exists()
    assert has_answered(installed)
    assert ask(run) == first
    assert not (installed / PREVIOUS_NAME).exists()
    assert run("verify", "tiny").code == 0


def test_the_old_version_stays_with_keep(run: Callable, installed: Path, published: Path) -> None:
    run("update", "tiny", "--from", published, "--yes", "--keep")
    ask(run)
    ask(run)
    assert run("rollback", "tiny").code == 0


def test_an_answer_in_a_chat_counts(
    run: Callable, installed: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("update", "tiny", "--from", published, "--yes")
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello\n"))
    assert run("chat", "tiny", "--max-tokens", "4").code == 0
    assert has_answered(installed)


@pytest.mark.parametrize("share", [None, 0.4])
def test_an_engine_that_is_open_is_not_disturbed(
    run: Callable, installed: Path, published: Path, monkeypatch: pytest.MonkeyPatch, share: float | None
) -> None:
    """The text goes on as it would have, through an update, its answer elsewhere, and the end of the old version; also
    where weights stream from the chunks that are removed. share: of the weights that stays in memory."""
    sampling = SamplingParams(temperature=0.0)
    with pocketseek.load(str(installed)) as engine:
        expected = engine.generate("Hello", max_tokens=60, sampling=sampling).text
    with monkeypatch.context() as patch:
        small_units(patch, unit_bytes=16 << 10)
        keep_in_memory(patch, share)
        engine = pocketseek.load(str(installed), prefix_cache=False)
    with engine:
        events = engine.stream_text("Hello", max_tokens=60, sampling=sampling)
        pieces = [next(events).text]
        assert run("update", "tiny", "--from", published, "--yes").code == 0
        ask(run)
        ask(run)
        assert not (installed / PREVIOUS_NAME).exists()
        pieces += [event.text for event in events]
        again = engine.generate("Hello", max_tokens=60, sampling=sampling).text
    assert "".join(pieces) == again == expected
