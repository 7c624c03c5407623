"""The bare program guides a person to the first conversation, and tells a script what is here and what to do next."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from pocketseek.apps import measure_device
from pocketseek.cli.chat import chat_cmd
from pocketseek.cli.models import pull_cmd
from pocketseek.cli.serve import serve_cmd
from pocketseek.cli.start import start_cmd
from pocketseek.device.probe import check_device
from pocketseek.errors import DownloadError

Acts = list[tuple[str, dict[str, object]]]


def test_bare_program_offers_the_demo_when_nothing_is_installed(run: Callable) -> None:
    assert "pocketseek chat demo" in run().out


def test_bare_program_offers_what_is_installed(run: Callable, installed: Path) -> None:
    shown = run().out
    assert "pocketseek chat tiny" in shown
    assert "Installed models: tiny" in shown


def test_bare_program_names_a_broken_model_and_the_remedy(run: Callable, installed: Path) -> None:
    next((installed / "chunks").iterdir()).unlink()
    assert "`pocketseek remove tiny`" in run().out


def test_without_a_terminal_the_commands_are_listed_and_nothing_is_asked(run: Callable) -> None:
    ended = run()
    assert ended.code == 0
    assert "Usage: pocketseek" in ended.out


@pytest.fixture
def guided(run: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """The program with a person who gives these answers, one at a question, and then leaves with Ctrl-D."""
    monkeypatch.setattr(start_cmd, "is_guided", lambda: True)
    room = {"memory_available_bytes": 6 * 10**9, "memory_limit_bytes": None, "storage_free_bytes": 50 * 10**9}
    monkeypatch.setattr(start_cmd, "check_device", lambda **where: replace(check_device(**where), **room))

    def guided(*answers: str) -> object:
        coming: Iterator[str] = iter(answers)

        def prompt(*_: object, **__: object) -> str:
            try:
                return next(coming)
            except StopIteration:
                raise typer.Abort from None

        monkeypatch.setattr(typer, "prompt", prompt)
        monkeypatch.setattr(typer, "confirm", lambda *_, **__: prompt() == "y")
        return run()

    return guided


@pytest.fixture
def acts(monkeypatch: pytest.MonkeyPatch) -> Acts:
    """What was started, instead of starting it."""
    acts: Acts = []
    for module, name in ((chat_cmd, "chat"), (pull_cmd, "pull"), (serve_cmd, "serve")):
        monkeypatch.setattr(
            module, name, lambda *model, _name=name, **options: acts.append((f"{_name} {' '.join(model)}", options))
        )
    return acts


def test_the_first_choice_talks_to_the_model_that_is_here(guided: Callable, acts: Acts, installed: Path) -> None:
    ended = guided("1")
    assert [act for act, _ in acts] == ["chat tiny"]
    assert "http://127.0.0.1:8080" in ended.out


def test_nothing_is_measured_without_a_yes(guided: Callable, acts: Acts, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: object, **__: object) -> None:
        pytest.fail("measured")

    monkeypatch.setattr(measure_device, "measure_device", measure)
    assert guided("n", "q").code == 0


def number_of(shown: str, words: str) -> str:
    """Of the choice with these words in its title."""
    return next(line.split()[0] for line in shown.splitlines() if words in line)


def test_a_model_is_fetched_and_talked_to(guided: Callable, acts: Acts) -> None:
    number = number_of(guided("n", "q").out, "Get r1-")
    guided("n", number)
    fetched, talked = (act for act, _ in acts)
    assert fetched.startswith("pull r1-")
    assert talked == fetched.replace("pull", "chat")


def test_all_commands_are_listed_for_who_wants_to_see_them(guided: Callable, acts: Acts) -> None:
    number = number_of(guided("n", "q").out, "See all commands")
    ended = guided("n", number)
    assert (ended.code, acts) == (0, [])
    assert "Usage: pocketseek" in ended.out
    assert "Usage: pocketseek" not in guided("n", "q").out


def test_the_demo_is_told_to_be_brief_and_asks_nothing_more(guided: Callable, acts: Acts) -> None:
    guided("n", number_of(guided("n", "q").out, "demo model"))
    ((act, options),) = acts
    assert act == "chat demo"
    assert options["yes"] is True
    assert options["system"]


def test_what_fails_is_told_and_the_choices_come_again(
    guided: Callable, acts: Acts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DownloadError("no network; connect and try again")

    monkeypatch.setattr(pull_cmd, "pull", fail)
    number = number_of(guided("n", "q").out, "Get r1-")
    ended = guided("n", number, "q")
    assert ended.code == 0
    assert "connect and try again" in ended.out
    assert ended.out.count("What would you like to do?") == 2


def test_a_stopped_download_says_how_to_go_on(guided: Callable, acts: Acts, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pull_cmd, "pull", interrupt)
    number = number_of(guided("n", "q").out, "Get r1-")
    ended = guided("n", number)
    assert ended.code == 130
    assert "`pocketseek pull r1-" in ended.err


def test_a_number_that_is_none_is_asked_for_again(guided: Callable, acts: Acts, installed: Path) -> None:
    ended = guided("99", "what", "1")
    assert "from 1 to" in ended.out
    assert [act for act, _ in acts] == ["chat tiny"]


def test_a_file_that_is_not_there_leads_back_to_the_choices(guided: Callable, acts: Acts, installed: Path) -> None:
    number = number_of(guided("q").out, "file I have")
    ended = guided(number, "/nowhere/model.gguf", "q")
    assert "/nowhere/model.gguf is not there" in ended.out
    assert acts == []


def test_a_file_is_converted_and_talked_to(guided: Callable, acts: Acts, installed: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").rename(tmp_path / "other model.gguf")
    number = number_of(guided("q").out, "file I have")
    guided(number, f"'{tmp_path}/other model.gguf'")
    assert len(acts) == 1
    assert acts[0][0] not in ("chat tiny", "chat ")


def test_the_page_is_opened(guided: Callable, acts: Acts, installed: Path) -> None:
    guided(number_of(guided("q").out, "page"))
    assert [act for act, _ in acts] == ["serve "]


def test_a_missing_extra_is_named_with_how_to_get_it(
    guided: Callable, acts: Acts, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_cmd, "missing_libraries", lambda: ["starlette_that_is_not_here"])
    ended = guided(number_of(guided("q").out, "page"), "q")
    assert "pip install 'pocketseek[serve]'" in ended.out
    assert acts == []


def test_leaving_at_a_question_is_no_error(guided: Callable, acts: Acts, installed: Path) -> None:
    ended = guided()
    assert (ended.code, ended.err) == (130, "")


def test_it_speaks_chinese(guided: Callable, monkeypatch: pytest.MonkeyPatch, installed: Path) -> None:
    monkeypatch.setenv("POCKETSEEK_LANG", "zh")
    assert "您想做什么" in guided("q").out
