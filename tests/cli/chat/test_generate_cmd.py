"""`generate` answers one prompt, the same way for the same seed."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import gguf_metadata, tiny_gguf, tiny_model, write_model_gguf

from pocketseek.apps import demo_model
from pocketseek.cli.run import model_choice
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import ContextLengthError, FormatError, NotFoundError, UsageError

SHORT = ("--max-tokens", "8")


class Stdin(io.TextIOWrapper):
    """Standard input with the given bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8")


def test_the_same_seed_gives_the_same_answer(run: Callable, tiny_package: Path) -> None:
    answers = [run("generate", tiny_package, "hello", "--seed", 7, *SHORT, "--json").json for _ in range(2)]
    assert answers[0]["text"] == answers[1]["text"]
    assert answers[0]["seed"] == 7


def test_speculation_changes_no_answer(run: Callable, tiny_package: Path) -> None:
    arguments = ("generate", tiny_package, "hello hello hello", "--seed", 7, "--max-tokens", 60)
    assert run(*arguments, "--no-speculation").out == run(*arguments, "--speculation").out == run(*arguments).out


def test_json_reports_the_answer_and_the_seed_that_was_drawn(run: Callable, tiny_package: Path) -> None:
    first = run("generate", tiny_package, "hello", *SHORT, "--json").json
    assert {"text", "reasoning", "prompt_tokens", "completion_tokens", "first_token_s", "duration_s"} <= set(first)
    assert first["finish_reason"] in ("stop", "length")
    again = run("generate", tiny_package, "hello", *SHORT, "--json", "--seed", first["seed"]).json
    assert again["text"] == first["text"]


def test_without_json_the_answer_alone_is_printed(run: Callable, tiny_package: Path) -> None:
    facts = run("generate", tiny_package, "hello", "--seed", 7, *SHORT, "--json").json
    ended = run("generate", tiny_package, "hello", "--seed", 7, *SHORT)
    assert ended.out.rstrip("\n") == str(facts["text"]).rstrip("\n")
    assert ended.err == "[cut at the token limit]\n"


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_the_prompt_can_be_piped_in(
    run: Callable, tiny_package: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    said = run("generate", tiny_package, "hello 你", "--seed", 7, *SHORT).out
    monkeypatch.setattr(sys, "stdin", Stdin("hello 你".encode()))
    assert run("generate", tiny_package, *arguments, "--seed", 7, *SHORT).out == said


@pytest.mark.parametrize(
    ("texts", "prompt"),
    [
        (("Sum", "up:", "-"), "Sum up:\n\nhello\n"),
        (("-", "In one word."), "hello\n\n\nIn one word."),
        (("why", "is", "it"), "why is it"),
    ],
)
def test_texts_and_what_was_piped_in_are_one_prompt(
    run: Callable, tiny_package: Path, monkeypatch: pytest.MonkeyPatch, texts: tuple[str, ...], prompt: str
) -> None:
    said = run("generate", tiny_package, prompt, "--seed", 7, *SHORT).out
    monkeypatch.setattr(sys, "stdin", Stdin(b"hello\n"))
    assert run("generate", tiny_package, *texts, "--seed", 7, *SHORT).out == said


def test_standard_input_has_to_have_something_and_is_read_once(
    run: Callable, tiny_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(b" \n"))
    assert "standard input had no text" in run("generate", tiny_package, "Sum up:", "-").error
    assert "give - once" in run("generate", tiny_package, "-", "and", "-").error


def test_a_pipe_that_nobody_reads_is_told(run: Callable, tiny_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    with os.fdopen(ours) as waiting, os.fdopen(theirs, "w") as writer:
        monkeypatch.setattr(sys, "stdin", waiting)
        assert "not read" not in run("generate", tiny_package, "hello", *SHORT).err
        writer.write("a letter")
        writer.flush()
        assert "not read beside a TEXT" in run("generate", tiny_package, "hello", *SHORT).err
        assert "not read" not in run("generate", tiny_package, "hello", *SHORT, "--json").err


def test_raw_continues_the_text_without_the_template(run: Callable, tiny_package: Path) -> None:
    chat = run("generate", tiny_package, "hello", *SHORT, "--json").json
    raw = run("generate", tiny_package, "hello", "--raw", *SHORT, "--json").json
    assert raw["prompt_tokens"] < chat["prompt_tokens"]


def test_a_system_message_makes_the_prompt_longer(run: Callable, tiny_package: Path) -> None:
    plain = run("generate", tiny_package, "hello", *SHORT, "--json").json
    told = run("generate", tiny_package, "hello", "--system", "be brief", *SHORT, "--json").json
    assert told["prompt_tokens"] > plain["prompt_tokens"]


def test_a_stop_text_ends_the_answer(run: Callable, tiny_package: Path) -> None:
    text = run("generate", tiny_package, "hello", "--seed", 7, "--json").json["text"]
    stop = text[3:5]
    ended = run("generate", tiny_package, "hello", "--seed", 7, "--stop", stop, "--json").json
    assert ended["text"] == text[: text.index(stop)]
    assert ended["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "arguments",
    [
        ("",),
        ("  \n",),
        ("hi", "--temperature", "-1"),
        ("hi", "--temperature", "nan"),
        ("hi", "--top-p", "0"),
        ("hi", "--top-p", "2"),
        ("hi", "--top-k", "-1"),
        ("hi", "--min-p", "2"),
        ("hi", "--repetition-penalty", "0"),
        ("hi", "--presence-penalty", "inf"),
        ("hi", "--max-tokens", "-1"),
        ("hi", "--stop", ""),
        ("hi", "--raw", "--system", "x"),
    ],
)
def test_impossible_requests_are_refused_in_one_line(
    run: Callable, tiny_package: Path, arguments: tuple[str, ...]
) -> None:
    ended = run("generate", tiny_package, *arguments, "--json")
    assert ended.code == UsageError.exit_code
    assert ended.error


def test_a_prompt_longer_than_the_context_is_refused(run: Callable, tiny_package: Path) -> None:
    ended = run("generate", tiny_package, "x" * 3000)
    assert ended.code == ContextLengthError.exit_code
    assert "256" in ended.error


def test_a_prompt_that_is_no_utf8_is_refused(
    run: Callable, tiny_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(b"\xff\xfe"))
    assert run("generate", tiny_package).code == FormatError.exit_code


def test_a_missing_model_is_not_found(run: Callable) -> None:
    ended = run("generate", "absent", "hi")
    assert ended.code == NotFoundError.exit_code
    assert "pocketseek" in ended.error


def test_a_model_without_a_template_gets_the_text_as_it_is(run: Callable, tmp_path: Path) -> None:
    model = tiny_model()
    path = write_model_gguf(tmp_path / "plain.gguf", model)
    assert "tokenizer.chat_template" in gguf_metadata(model)
    data = path.read_bytes().replace(b"tokenizer.chat_template", b"tokenizer.xxxx_template")
    path.write_bytes(data)
    package = convert_checkpoint(path, tmp_path / "plain", models_dir=tmp_path)
    assert run("generate", package, "abc", *SHORT, "--json").json["prompt_tokens"] <= 4
    assert run("generate", package, "abc", "--system", "x").code == UsageError.exit_code


def test_the_demo_model_is_installed_when_first_asked_for(
    run: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Path
) -> None:
    calls: list[Path] = []

    def install(models_dir: Path, progress: Callable[[str, int, int], None]) -> Path:
        progress("download", 0, 0)
        calls.append(models_dir)
        return convert_checkpoint(tiny_gguf(tmp_path / "demo.gguf"), name="demo", models_dir=models_dir)

    monkeypatch.setattr(demo_model, "install_demo", install)
    first, second = (run("generate", "demo", "hi", "--seed", 1, *SHORT) for _ in range(2))
    assert calls == [home / "models"]
    assert first.out == second.out
    assert first.err.startswith("downloading the demo model ...\n")
    assert "downloading" not in second.err


def test_a_person_may_decline_the_demo_model(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_choice, "is_interactive", lambda: True)
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    ended = run("generate", "demo", "hi")
    assert ended.code == NotFoundError.exit_code
    assert "pocketseek convert" in ended.err


@pytest.mark.parametrize("option", ["--top-p", "--temperature", "--max-tokens"])
def test_a_value_out_of_range_is_complained_of_by_its_option(run: Callable, tiny_package: Path, option: str) -> None:
    ended = run("generate", tiny_package, "hi", option, -5)
    assert ended.code == UsageError.exit_code
    assert option in ended.error
