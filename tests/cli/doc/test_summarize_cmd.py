"""`doc summarize` and `doc jobs` as scripts and people use them, on a model that talks nonsense."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_models import tiny_hf_directory

from pocketseek.apps.doc import summarize as summarize_module
from pocketseek.apps.doc.summary_events import LENGTHS, Planned, Progress, SummaryEvent, seconds_left
from pocketseek.cli.doc.progress import LineProgress, label
from pocketseek.cli.doc.summarize_cmd import parse_length
from pocketseek.cli.messages import Words
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import FormatError, NotFoundError, StorageError, UsageError

SHORT = ("--length", "10", "--chunk-tokens", "1100")
INTERRUPTED = 130


@pytest.fixture(scope="session")
def long_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that takes prompts of 4096 bytes."""
    folder = tmp_path_factory.mktemp("long")
    return convert_checkpoint(tiny_hf_directory(folder / "hf", context=4096), folder / "long", models_dir=folder)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "facts.txt"
    path.write_text("\n\n".join(f"Fact number {number} is the one we know. " * 10 for number in range(5)))
    return path


@pytest.fixture
def summarize(run: Callable, long_package: Path, text: Path) -> Callable:
    return lambda *more: run("doc", "summarize", text, "--model", long_package, *SHORT, *more)


def test_json_has_the_summary_and_what_it_covers(summarize: Callable, text: Path) -> None:
    facts = summarize("--json").json
    assert facts["summary"]
    assert facts["seconds"] > 0
    coverage = facts["coverage"]
    assert facts["chunks"] == coverage["chunks"] == len(coverage["parts"]) > 2
    assert coverage["characters"] == len(text.read_text().strip()) - 4  # a space before each blank line
    assert [part["start"] for part in coverage["parts"][1:]] == [part["stop"] for part in coverage["parts"][:-1]]


def test_the_same_command_computes_nothing_twice_unless_told_to(summarize: Callable) -> None:
    first = summarize("--json").json
    again = summarize("--json").json
    assert again["summary"] == first["summary"]
    assert again["coverage"] == first["coverage"]
    assert (again["answers_computed"], again["chunks_kept"]) == (0, first["coverage"]["chunks_covered"])
    assert summarize("--json", "--fresh").json["answers_computed"] == first["answers_computed"] > 0


def test_the_summary_is_the_output_and_the_rest_are_remarks(summarize: Callable) -> None:
    summary = str(summarize("--json").json["summary"])
    ended = summarize()
    assert ended.code == 0
    assert ended.out.strip() == summary
    assert "were read before" in ended.err
    assert "The summary covers" in ended.err


def test_the_outline_follows_the_summary(summarize: Callable) -> None:
    ended = summarize("--outline")
    assert "\nOutline\n\n(before the first heading)\n" in ended.out
    (chapter,) = summarize("--outline", "--json").json["outline"]
    assert chapter["title"] == ""
    assert chapter["notes"]


def test_jobs_are_shown_and_removed(run: Callable, summarize: Callable) -> None:
    assert run("doc", "jobs").out == "No summaries are kept.\n"
    job = summarize("--json").json["job"]
    shown = run("doc", "jobs").out
    assert shown.startswith(f"{job}\tfacts\tdone\t")
    (listed,) = run("doc", "jobs", "--json").json["jobs"]
    assert (listed["job"], listed["done"], listed["options"]["num_words"]) == (job, True, 10)
    assert run("doc", "jobs", "--remove", job[:6], "--json").json == {"jobs": [], "removed": [job]}
    assert run("doc", "jobs", "--remove-all").out == "Removed 0.\n"


def test_a_job_that_is_not_there_is_one_line(run: Callable) -> None:
    ended = run("doc", "jobs", "--remove", "0123abcd")
    assert ended.code == NotFoundError.exit_code
    assert "pocketseek doc jobs" in ended.error


def test_ctrl_c_says_that_the_work_is_kept(summarize: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: object) -> Iterator[SummaryEvent]:
        yield Planned(7, 0, 7000)
        raise KeyboardInterrupt

    monkeypatch.setattr(summarize_module, "summarize", stopped)
    ended = summarize()
    assert ended.code == INTERRUPTED
    assert "0 answers are kept, and the same command goes on from there" in ended.err


@pytest.mark.parametrize("length", ["7", "tiny", "3001", "-5", "٣٠", "1e3"])
def test_a_length_that_is_none_is_one_line(summarize: Callable, length: str) -> None:
    ended = summarize("--length", length)
    assert ended.code == UsageError.exit_code
    assert "short, medium, long" in ended.error


def test_lengths_are_words() -> None:
    assert parse_length("Medium") == LENGTHS["medium"] == 250
    assert parse_length("120") == 120


def test_a_file_that_is_not_there_or_empty_is_one_line(run: Callable, long_package: Path, tmp_path: Path) -> None:
    missing = run("doc", "summarize", tmp_path / "missing.txt", "--model", long_package)
    assert missing.code in (NotFoundError.exit_code, StorageError.exit_code)
    assert missing.error
    (tmp_path / "empty.txt").touch()
    empty = run("doc", "summarize", tmp_path / "empty.txt", "--model", long_package)
    assert empty.code == FormatError.exit_code
    assert empty.error


def test_an_encrypted_file_is_read_with_its_password(run: Callable, long_package: Path) -> None:
    path = Path(__file__).parents[2] / "apps" / "doc" / "data" / "encrypted.pdf"
    assert "--password" in run("doc", "summarize", path, "--model", long_package).error
    facts = run("doc", "summarize", path, "--model", long_package, *SHORT, "--password", "secret", "--json").json
    assert facts["coverage"]["characters"] > 0


def test_without_a_model_one_is_asked_for(run: Callable, text: Path) -> None:
    ended = run("doc", "summarize", text)
    assert ended.code == NotFoundError.exit_code
    assert "no model is installed" in ended.error


def test_the_time_left_follows_from_the_share_that_is_done() -> None:
    assert seconds_left(0.25, 30.0) == 90.0
    assert seconds_left(0.001, 30.0) is None
    assert label(Progress("notes", 3, 12, 0.25), 30.0, Words("en")) == "notes on 3 of 12 chunks, about 2 min left"
    assert label(Progress("merge", 1, 2, 0.75), 30.0, Words("en")) == "notes merged: 1 of 2, about 10 s left"
    assert label(Progress("notes", 3, 12, 0.25), 30.0, Words("zh")).endswith("约剩 2 分钟")


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = [0.0]
    show = LineProgress(Words("en"), clock=lambda: now_s[0])
    for step in range(101):
        now_s[0] = step * 0.25
        show(Progress("notes", step // 10, 10, step / 100))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "notes on 0 of 10 chunks"
    assert lines[-1].startswith("notes on 10 of 10 chunks")
    assert 4 <= len(lines) <= 6
