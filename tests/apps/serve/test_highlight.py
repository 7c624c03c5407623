"""Code gets colours or stays code."""

import pytest

from pocketseek.apps.serve.highlight import MAX_CODE_CHARS, highlight


def nothing() -> None:
    pass


def test_known_languages_are_coloured() -> None:
    html = highlight("def f(): return 'a<b'\n", "Python", nothing)
    assert html == (
        '<span class="k">def</span> <span class="f">f</span>(): <span class="k">return</span> '
        '<span class="s">&#x27;a&lt;b&#x27;</span>\n'
    )


@pytest.mark.parametrize("language", ["", "nonsense", "../python", "brainfuck"])
def test_other_languages_are_plain(language: str) -> None:
    assert highlight("<a>", language, nothing) == "&lt;a&gt;"


def test_long_code_is_plain() -> None:
    assert "<span" not in highlight("if " * MAX_CODE_CHARS, "python", nothing)


def test_nothing_of_the_code_is_lost() -> None:
    code = "\n\n  x = 1\n\n"
    assert highlight(code, "python", nothing).replace('<span class="m">1</span>', "1") == code


def test_time_is_asked_for() -> None:
    asked = []
    highlight("a + b\n" * 100, "python", lambda: asked.append(1))
    assert len(asked) > 3


def test_a_language_whose_lexer_no_clock_can_stop_is_plain() -> None:
    asked: list[bool] = []
    assert highlight("$ ls <x>\n" * 9, "console", lambda: asked.append(True)) == "$ ls &lt;x&gt;\n" * 9
    assert asked == []
