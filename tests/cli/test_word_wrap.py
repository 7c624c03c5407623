"""Lines end between words, and nothing of a text is changed but where its spaces were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pocketseek.cli.word_wrap import WordWrap


def wrapped(text: str, width: int, sizes: list[int] | None = None) -> str:
    wrap, pieces = WordWrap(width), []
    for size in sizes or [1]:
        pieces.append(wrap.push(text[:size]))
        text = text[size:]
    return "".join([*pieces, wrap.push(text), wrap.flush()])


WORDS = st.lists(st.text("abc，。光 \n", max_size=8), max_size=30).map(" ".join)


def test_a_word_that_does_not_fit_begins_a_line() -> None:
    assert wrapped("the sky is blue", 7) == "the sky\nis blue"
    assert wrapped("the sky is blue", 40) == "the sky is blue"


def test_chinese_breaks_between_characters() -> None:
    assert wrapped("天空是蓝色的", 8) == "天空是蓝\n色的"


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("天空是蓝色，真的", 10, ["天空是蓝", "色，真的"]),
        ("天空是(蓝色)的", 11, ["天空是(蓝", "色)的"]),
        ("天空(蓝色)的", 9, ["天空(蓝", "色)的"]),
        ("天空是蓝“色”的", 9, ["天空是蓝", "“色”的"]),
        ("天空是蓝(a)的", 9, ["天空是蓝", "(a)的"]),
    ],
)
def test_punctuation_stays_with_what_it_closes_or_opens(text: str, width: int, lines: list[str]) -> None:
    assert wrapped(text, width).splitlines() == lines


def test_a_word_longer_than_the_line_is_whole() -> None:
    assert "b" * 20 in wrapped("a " + "b" * 20 + " c", 8).replace("\n", "")


def test_code_stays_as_it_is() -> None:
    code = "see:\n```python\nprint('one two three four')\n```\nthat was the code"
    assert wrapped(code, 10).startswith("see:\n```python\nprint('one two three four')\n```\n")
    assert wrapped(code, 10).endswith("that was\nthe code")


@given(WORDS, st.integers(6, 30), st.lists(st.integers(1, 5), max_size=20))
def test_however_it_is_cut_it_is_the_same(text: str, width: int, sizes: list[int]) -> None:
    assert wrapped(text, width, sizes) == wrapped(text, width)


@given(WORDS, st.integers(10, 30))
def test_lines_fit_and_no_character_is_lost(text: str, width: int) -> None:
    shown = wrapped(text, width)
    assert all(cell_len(line.rstrip(" ")) <= width for line in shown.splitlines())
    assert [c for c in shown if c not in " \n"] == [c for c in text if c not in " \n"]
    assert shown.count("\n") >= text.count("\n")
