"""Sentences end where a reader says so, in both languages, and every text can be cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.doc.sentences import sentence_ends, split_in_two


def sentences(text: str) -> list[str]:
    places = [0, *sentence_ends(text), len(text)]
    return [text[start:stop] for start, stop in pairwise(places)]


@pytest.mark.parametrize(
    "expected",
    [
        ["One. ", "Two! ", "Three? ", "Four."],
        ['He said "Stop." ', "Then he left."],
        ["Wait... ", "What?! ", "Yes."],
        ["It costs 3.14 euros. ", "See www.debian.org for more."],
        ["See Fig. 3 and e.g. Smith et al. (2020). ", "Mr. Smith, J. R. Jones and Dr. No agree."],
        ["He stopped... and went on. ", "“No!” she said."],
        ["I see it and so do I. ", "You do not."],
        ["今天下雨。", "我们不去！", "为什么？", "因为冷；", "就这样。"],
        ["他说:“走吧。”", "然后走了。"],
        ["版本是 2.0。 ", "DeepSeek 很好……", "真的吗？"],
        ["Mixed text 中文。", "Then English. ", "然后中文。"],
        ["no end at all"],
    ],
)
def test_sentences_of_a_text(expected: list[str]) -> None:
    assert sentences("".join(expected)) == expected


@given(st.text(alphabet="ab .!?。！”)\n3Mr中", max_size=60))
def test_sentences_joined_are_the_text_again(text: str) -> None:
    parts = sentences(text)
    assert "".join(parts) == text
    assert all(parts) or not text


def test_a_long_run_of_marks_takes_no_longer_than_its_length() -> None:
    for letters in (".", "!)", "。", ".x", "?!"):
        assert "".join(sentences(letters * 100_000)) == letters * 100_000


@given(st.text(min_size=2, max_size=80))
def test_any_two_characters_can_be_parted(text: str) -> None:
    assert 0 < split_in_two(text) < len(text)


def test_a_cut_is_made_at_a_space_else_after_a_comma() -> None:
    assert split_in_two("some words stand here") == len("some words ")
    assert split_in_two("一二三四五，六七八九十一") == len("一二三四五，")


def test_a_letter_stays_with_its_marks() -> None:
    text = "e\u0301" * 5
    assert split_in_two(text) % 2 == 0
