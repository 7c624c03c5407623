import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.voice.clauses import Clauses

# What answers are made of, so that the marks meet each other often.
PIECES = (
    "Well, yes",
    "the capital of France",
    "3.14",
    "1,000",
    "10:30",
    "e.g. ",
    "Dr. Smith",
    "No. 5",
    ". ",
    ", ",
    ": ",
    "! ",
    "?",
    "…",
    "\n",
    "\n\n",
    "。",
    "，",
    "、",
    "你好世界",
    "“好。”",
    "**",
    "*",
    "`x, y`",
    "`",
    "```",
    "\n```python\nprint(1, 2)\n```\n",
    "[Hello, world. You](https://example.com/a,b)",
    "[",
    "](",
    ")",
    "|",
    "\n| a | b. c |\n| 1, 2 | 3 |\n",
    "<think>",
    "</think>",
    "$x, y$",
    "$5 and $6",
    "$$",
    "\\[",
    "\\]",
    "\\(a, b\\)",
    "\n1. ",
    "\n- ",
    " ",
    "A",
    "z",
    "🎉",
)
answers = st.one_of(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.text(max_size=60))


def clauses_of(*pieces: str) -> list[str]:
    clauses = Clauses()
    return [clause for piece in pieces for clause in clauses.feed(piece)] + clauses.finish()


@given(answers, st.lists(st.integers(0, 200), max_size=20))
def test_the_clauses_are_the_same_however_the_text_arrived(text: str, places: list[int]) -> None:
    cuts = sorted({0, len(text), *(min(place, len(text)) for place in places)})
    assert clauses_of(*(text[a:b] for a, b in itertools.pairwise(cuts))) == clauses_of(text)
    assert clauses_of(*text) == clauses_of(text)


@given(answers)
def test_no_text_is_lost_and_no_clause_is_empty(text: str) -> None:
    clauses = clauses_of(text)
    assert "".join(clauses) == text
    blocks = ("|", "```", "~~~", "$$", "\\[", "<think>")
    for clause in clauses[:-1]:
        assert any(character.isalnum() for character in clause) or clause.lstrip().startswith(blocks)
    assert all(clauses)


def test_the_first_clause_ends_at_a_comma_and_later_ones_with_their_sentences() -> None:
    text = "The capital of France, as you know, is Paris. It lies on the Seine, in the north. Yes."
    assert clauses_of(text) == [
        "The capital of France,",
        " as you know, is Paris.",
        " It lies on the Seine, in the north.",
        " Yes.",
    ]


def test_the_first_clause_is_spoken_while_the_rest_is_written() -> None:
    clauses = Clauses()
    assert clauses.feed("The capital of France,") == []  # a digit might follow
    assert clauses.feed(" as") == ["The capital of France,"]


def test_chinese_ends_without_spaces() -> None:
    assert clauses_of("好的，法国的首都是巴黎。它在塞纳河边，很美。“是吗？”对！") == [
        "好的，法国的首都是巴黎。",
        "它在塞纳河边，很美。",
        "“是吗？”",
        "对！",
    ]
    assert clauses_of("今天天气很好，我们去公园吧。")[0] == "今天天气很好，"


def test_numbers_dates_abbreviations_and_initials_stay_whole() -> None:
    text = "Pi is 3.14, about. On May 5, 2024, Dr. J. Smith came at 10:30, e.g. with 1,000 men, to No. 5. No. He left."
    assert clauses_of(text) == [
        "Pi is 3.14,",
        " about.",
        " On May 5, 2024, Dr. J. Smith came at 10:30, e.g. with 1,000 men, to No. 5.",
        " No.",
        " He left.",
    ]


def test_links_code_and_formulas_stay_whole() -> None:
    for whole in (
        "[Look here, please. Now](https://example.com/a)",
        "`print(1, 2). Then`",
        "\\(a, b. C\\)",
        "$x, y. Z$",
    ):
        assert clauses_of(f"This is it: {whole} Good.")[-1].startswith(f" {whole}")


def test_a_price_is_not_taken_for_the_beginning_of_a_formula() -> None:
    clauses = Clauses()
    assert clauses.feed("That will be $5, plus") == ["That will be $5,"]


def test_two_prices_are_no_formula() -> None:
    assert clauses_of("It is $5, and then $6. Fine.")[-1] == " Fine."


def test_blocks_are_clauses_of_their_own() -> None:
    code = "```python\nprint('Hello. World, yes')\n\n| no table\n```"
    table = "| a | b. C |\n| - | - |\n| 1, 2 | 3 |\n"
    assert clauses_of(f"Look:\n{code}\nAnd:\n{table}Done.") == ["Look:\n", code, "\nAnd:\n", table, "Done."]
    assert clauses_of("<think>Hm. Well, I\n\nsee.</think>\n\nYes. No.") == [
        "<think>Hm. Well, I\n\nsee.</think>",
        "\n\nYes.",
        " No.",
    ]


def test_list_items_are_clauses() -> None:
    assert clauses_of("1. Wash it.\n2. Cook it\n- Eat") == ["1. Wash it.", "\n2. Cook it\n", "- Eat"]


def test_a_sentence_without_end_is_cut_at_commas_and_then_at_spaces() -> None:
    assert all(len(clause) < 200 for clause in clauses_of("one two three four, " * 100))
    assert all(len(clause) < 340 for clause in clauses_of("word " * 500))
    assert all(len(clause) < 120 for clause in clauses_of("很好的" * 500))


def test_an_opening_bracket_or_tick_without_end_holds_the_rest_only_for_a_while() -> None:
    clauses = Clauses()
    said = [clause for _ in range(200) for clause in clauses.feed("[ ` $x We talk. ")]
    assert len(said) > 50


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (
            "A virus is a microscopic organism that lacks a cell wall and is carried by a host cell.",
            "A virus is a microscopic organism that lacks a cell wall",
        ),
        ("The sky is blue because of the air.", "The sky is blue because of the air."),
        (
            "It takes about eight and a half minutes longer than 8 and a bit.",
            "It takes about eight and a half minutes longer",
        ),
    ],
)
def test_a_long_first_clause_ends_before_a_word_that_joins(text: str, first: str) -> None:
    for step in (1, 5, len(text)):
        splitter = Clauses()
        clauses = [clause for at in range(0, len(text), step) for clause in splitter.feed(text[at : at + step])]
        clauses += splitter.finish()
        assert clauses[0] == first
        assert "".join(clauses) == text
