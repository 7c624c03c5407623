"""`diff`, `update` and `rollback` from the outside: what is said, what is asked, what is left."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from package.samples import flip_bit
from streaming_engine import keep_in_memory, small_units
from tiny_models import TinyModel, tiny_model, write_model_gguf
from web_server import serving

import pocketseek
from pocketseek.cli.models import metered, update_cmd
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.device.network import NetworkFacts
from pocketseek.errors import FormatError, NotFoundError, SealError, UsageError
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


def test_what_is_to_be_run_next_names_where_it_is_published(run: Callable, installed: Path, published: Path) -> None:
    said = run("update", "tiny", "--check", "--from", published).out
    assert f"`pocketseek update tiny --from {published}` installs it" in said
    hidden = update_cmd._as_option("https://me:secret@example.org/tiny")
    assert hidden == " --from ADDRESS"


def test_pulling_back_a_version_that_needs_no_bytes_is_no_model_that_was_here_already(
    run: Callable, installed: Path, published: Path
) -> None:
    run("update", "tiny", "--yes", "--from", published)
    old = published.parent / "old"
    shutil.copytree(installed, old)
    for name in (PREVIOUS_NAME, "manifest.json"):
        (old / name).unlink()
    shutil.copy(installed / PREVIOUS_NAME, old / "manifest.json")
    said = run("pull", old, "--yes", "--name", "tiny").out
    assert "is installed in" in said
    assert "was here already" not in said


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


@pytest.mark.parametrize("language", ["en", "zh"])
def test_sealing_removes_the_version_before_and_says_so(
    run: Callable, installed: Path, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    monkeypatch.setenv("POCKETSEEK_LANG", language)
    run("update", "tiny", "--from", published, "--yes", "--json")
    ended = run("seal", "tiny", "--new-key-file", tmp_path / "key")
    said = ended.out + ended.err
    assert "pocketseek rollback" in said
    assert "no version to go back to" in run("rollback", "tiny").error
    assert "rollback" not in run("unseal", "tiny", "--key-file", tmp_path / "key").out


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


def test_the_version_before_is_shown_as_long_as_it_is_kept(run: Callable, installed: Path, published: Path) -> None:
    assert run("inspect", "tiny", "--json").json["previous"] is None
    run("update", "tiny", "--from", published, "--yes")
    facts = run("inspect", "tiny", "--json").json["previous"]
    assert (facts["kept"], facts["name"]) == ("until it has answered", "tiny")
    assert run("models", "--json").json["models"][0]["previous"] == facts
    assert "pocketseek rollback tiny" in run("inspect", "tiny").out
    assert "pocketseek rollback tiny" in run("models").err
    run("rollback", "tiny")
    assert run("inspect", "tiny", "--json").json["previous"] is None


def test_an_offer_of_the_version_before_is_told_as_that(
    run: Callable, installed: Path, published: Path, tmp_path: Path
) -> None:
    shutil.copytree(installed, tmp_path / "old")
    run("update", "tiny", "--from", published, "--yes")
    assert "pocketseek rollback tiny" in run("update", "tiny", "--from", tmp_path / "old", "--check").out
    run("rollback", "tiny")
    assert "pocketseek rollback tiny" not in run("update", "tiny", "--from", published, "--check").out


def test_pulling_over_a_model_can_be_taken_back(run: Callable, installed: Path, published: Path) -> None:
    before = read_manifest_bytes(installed)
    pulled = run("pull", published, "--name", "tiny", "--yes", "--json").json
    assert pulled["previous_kept"] is True
    assert read_manifest_bytes(installed) != before
    assert run("inspect", "tiny", "--json").json["origin"]["address"] == str(published)
    assert run("rollback", "tiny").code == 0
    assert read_manifest_bytes(installed) == before
    assert run("inspect", "tiny", "--json").json["origin"] is None


def test_a_sealed_model_is_updated_with_its_key_and_answers(
    run: Callable, installed: Path, published: Path, tmp_path: Path
) -> None:
    pytest.importorskip("cryptography", reason="cryptography is not installed (extra `secure`)")
    key, ask = tmp_path / "key", ("generate", "tiny", "Hello", "--max-tokens", 8, "--seed", 1, "--json")
    wanted = run("generate", published, *ask[2:]).json["text"]
    run("diff", "tiny", published, "--publish")
    assert run("seal", "tiny", "--new-key-file", key).code == 0
    assert run("update", "tiny", "--from", published, "--check", "--json").json["fetch_bytes"] > 0
    assert run("update", "tiny", "--from", published, "--yes").code == SealError.exit_code
    done = run("update", "tiny", "--from", published, "--yes", "--key-file", key, "--json").json
    assert done["updated"] is True
    assert done["num_deltas"] > 0
    assert run(*ask, "--key-file", key).json["text"] == wanted
    assert {path.suffix for folder in ("chunks", "files") for path in (installed / folder).iterdir()} == {".sealed"}
    assert run("verify", "tiny", "--json").json["with_key"] is False
    assert run("verify", "tiny", "--key-file", key, "--json").json["with_key"] is True
    assert "decrypted" in run("verify", "tiny", "--key-file", key).out
    chunk = next((installed / "chunks").iterdir())
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"x")
    assert run("verify", "tiny", "--key-file", key).code == 6
    assert run("verify", "tiny", "--repair").code == SealError.exit_code
    assert run("pull", published, "--name", "tiny", "--yes", "--key-file", key).code == 0
    assert run("verify", "tiny", "--key-file", key).code == 0


def test_more_than_was_told_is_asked_again(
    run: Callable, installed: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("diff", "tiny", published, "--publish")
    asked: list[str] = []

    def confirm(question: str, **_: object) -> bool:
        asked.append(question)
        if len(asked) == 1:  # the server tells another story as soon as it is agreed to
            shutil.rmtree(published / "deltas")
        return len(asked) == 1

    monkeypatch.setattr(update_cmd, "is_interactive", lambda: True)
    monkeypatch.setattr("typer.confirm", confirm)
    before = read_manifest_bytes(installed)
    with serving(published.parent) as server:
        ended = run("update", "tiny", "--from", f"{server.url}/{published.name}")
    assert ended.code == UsageError.exit_code
    assert len(asked) == 2
    assert "more than was told" in asked[1]
    assert read_manifest_bytes(installed) == before


def test_in_a_script_more_than_was_told_is_not_fetched_over_a_network_paid_by_the_byte(
    run: Callable, installed: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("diff", "tiny", published, "--publish")
    base = json.loads(next((published / "deltas").glob("*.json")).read_bytes())["deltas"][0]["bases"][0]
    flip_bit(installed / "chunks" / base, 100, keep_times=True)  # so that the delta makes nothing
    told = run("update", "tiny", "--from", published, "--check", "--json").json["fetch_bytes"]
    monkeypatch.setattr(metered, "UNASKED_BYTES", told)
    monkeypatch.setattr("pocketseek.device.network.read_network", lambda: NetworkFacts("yes"))
    with serving(published.parent) as server:
        ended = run("update", "tiny", "--from", f"{server.url}/{published.name}", "--yes")
        assert "--allow-metered" in ended.err
        assert read_manifest_bytes(installed) != read_manifest_bytes(published)
        assert run("update", "tiny", "--from", f"{server.url}/{published.name}", "--yes", "--allow-metered").code == 0
