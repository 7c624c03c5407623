"""What reaches a terminal is harmless; what reaches a pipe is exact."""

import io
import json
import re
import sys
from collections.abc import Callable

import pytest
from rich.cells import cell_len

from pocketseek.cli import console
from pocketseek.cli.console import AnswerPrinter, format_bytes


@pytest.fixture(autouse=True)
def capable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the terminal is that the tests run in, which may be none."""
    monkeypatch.setenv("TERM", "xterm-256color")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Called by the test itself: between a fixture and its test, pytest puts its own streams back."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    return screen


def test_escape_sequences_of_a_model_never_reach_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    printer = AnswerPrinter()
    printer.write("a\x1b]0;title\x07b\r\x9bc\td\u202e\n", "")
    printer.end()
    assert terminal.getvalue() == "a\ufffd]0;title\ufffdb\ufffd\ufffdc\td\ufffd\n"


@pytest.mark.parametrize("columns", range(20, 60))
def test_no_line_of_a_chinese_fact_begins_with_what_closes(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    facts = (
        ("系统", "Debian GNU/Linux 12 (bookworm),Linux 6.18,Termux(含 Termux:API 命令)"),
        ("温度", "（无）" * 9),
        ("权限", "可以:读取负载、读取内存压力、查看磁盘", "（说明）"),
    )
    console.print_facts(facts)
    shown = re.sub("\x1b\\[\\d*m", "", terminal.getvalue())
    lines = [line.strip() for line in shown.splitlines()]
    assert all(cell_len(line) <= columns for line in lines)
    assert not [line for line in lines if line[:1] in tuple(")）,，、。:")]
    assert "".join(shown.split()) == "".join("".join(map("".join, facts)).split())


def test_text_in_a_pipe_is_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    printer = AnswerPrinter()
    printer.write("a\x1b[1mb", "")
    printer.end()
    assert capsys.readouterr().out == "a\x1b[1mb\n"


@pytest.mark.parametrize("print_it", [console.print_text, console.print_indented])
def test_lines_of_a_terminal_end_between_words_and_never_in_a_command(
    print_it: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setattr(console, "_columns", lambda: 36)
    text = "133.3 MB of storage are needed; `pocketseek rollback tiny` goes back, `pocketseek verify tiny` looks"
    print_it(text)
    lines = terminal.getvalue().splitlines()
    assert " ".join(line.strip() for line in lines) == text
    assert max(map(len, lines)) <= 36
    assert any("`pocketseek rollback tiny`" in line for line in lines)


def test_what_is_copied_has_no_line_ends_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setattr(console, "_columns", lambda: 20)
    console.print_exact("pocketseek-ed25519 AAAAAAAAAAAAAAAAAAAAAAAAAAAA alice")
    assert terminal.getvalue() == "pocketseek-ed25519 AAAAAAAAAAAAAAAAAAAAAAAAAAAA alice\n"


def test_reasoning_is_dimmed_on_a_terminal_and_set_apart_from_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    printer = AnswerPrinter()
    printer.write("", "hm")
    printer.write("", "m")
    printer.write("yes", "")
    printer.end()
    assert terminal.getvalue() == "\x1b[2mhmm\x1b[22m\n\nyes\n"


def test_dimming_ends_even_if_the_answer_stops_in_its_reasoning(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    printer = AnswerPrinter()
    printer.write("", "hm")
    printer.end()
    assert terminal.getvalue() == "\x1b[2mhm\x1b[22m\n"


def test_waiting_is_shown_on_a_terminal_until_something_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    printer = AnswerPrinter("reading")
    printer.write("", "")
    assert terminal.getvalue() == "\x1b[2mreading\x1b[22m"
    printer.write("yes", "")
    printer.end()
    assert terminal.getvalue() == "\x1b[2mreading\x1b[22m\r\x1b[Kyes\n"


def test_waiting_goes_also_if_nothing_comes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    AnswerPrinter("reading").end()
    assert capsys.readouterr().out == ""
    terminal = on_terminal(monkeypatch)
    AnswerPrinter("reading").end()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_reasoning_is_left_out_of_pipes(capsys: pytest.CaptureFixture[str]) -> None:
    printer = AnswerPrinter()
    printer.write("", "hm")
    printer.write("yes", "")
    printer.end()
    assert capsys.readouterr().out == "yes\n"


def test_json_survives_any_text(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"text": "巴黎\n\udcff\x1b"}
    console.print_json(value)
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == value


def test_progress_without_a_terminal_is_a_line_for_each_label(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress_bar() as show:
        for done in range(5):
            show("reading", done, 5)
        show("writing", 0, 0)
    captured = capsys.readouterr()
    assert captured.err == "reading ...\nwriting ...\n"
    assert captured.out == ""


def test_progress_on_a_terminal_goes_to_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with console.progress_bar() as show:
        show("reading", 1_000_000, 2_000_000)
    assert "reading" in screen.getvalue()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("unit", "shown"), [("bytes", "0.5/2.0 MB"), ("transfer", "0.5/2.0 MB"), ("pages", "500000/2000000")]
)
def test_progress_counts_what_it_is_of(unit: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "120")
    with console.progress_bar(unit) as show:
        show("reading", 0, 0)  # of what is known later
        show("reading", 500_000, 2_000_000)
    assert shown in screen.getvalue()


def test_lines_for_a_person_end_between_words_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "24")
    console.note("a remark that is longer than the line")
    console.note_list("/save FILE  writes it to a file\nThat is all.")
    assert screen.getvalue() == (
        "a remark that is longer\nthan the line\n/save FILE  writes it to\n            a file\nThat is all.\n"
    )


def test_the_end_of_a_text_fits_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "9")
    assert console.end_in_a_line("what was said so far") == "d so far"
    assert console.end_in_a_line("法国的首都") == "国的首都"
    assert console.end_in_a_line("yes") == "yes"


def test_lists_are_aligned_in_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "24")
    console.note_list("/save 文件  写入文件并说明在何处")
    assert screen.getvalue() == "/save 文件  写入文件并说\n            明在何处\n"


def test_lists_are_plain_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.note_list("/save FILE  writes it to a file, and says where that file is in the end, at whatever length\nx")
    assert capsys.readouterr().err.count("\n") == 2


def test_a_question_before_and_during_progress_is_not_wiped_from_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with console.progress_bar() as show:
        assert sys.stderr is screen
        assert screen.getvalue() == ""
        show("reading", 1, 2)
        assert sys.stderr is not screen  # it is rich's: what is written goes above the bar
        with show.paused():
            assert sys.stderr is screen
            before = screen.getvalue()
            show("reading", 2, 2)
            assert screen.getvalue() == before
        show("writing", 1, 2)
    assert "writing" in screen.getvalue()
    assert sys.stderr is screen


def test_tables_in_pipes_are_tab_separated(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table(("a", "b"), [("1", "2"), ("3", "4")])
    assert capsys.readouterr().out == "1\t2\n3\t4\n"


def test_tables_on_a_terminal_have_headings_and_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    console.print_table(("name", "size"), [("[red]x[/red]", "2")])
    assert "name" in terminal.getvalue()
    assert "[red]x[/red]" in terminal.getvalue()


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (None, "?"),
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (98_362_432, "98.4 MB"),
        (15 * 10**9, "15.0 GB"),
    ],
)
def test_sizes_are_in_decimal_units(num_bytes: int | None, text: str) -> None:
    assert format_bytes(num_bytes) == text


def test_a_narrow_terminal_loses_columns_but_nothing_of_the_essential_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal = on_terminal(monkeypatch)
    name = "deepseek-r1-distill-qwen-1.5b"
    console.print_table(("name", "family", "size", "formats"), [(name, "qwen2", "1.1 GB", "q4s f16")], essential=(0, 2))
    shown = terminal.getvalue()
    assert name in shown
    assert "1.1 GB" in shown
    assert "q4s" not in shown
    assert any(line.split() == [name, "1.1", "GB"] for line in shown.splitlines())
