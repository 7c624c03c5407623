from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.voice.bench.error_rate import Errors, align, character_errors, units_of, word_errors

short = st.lists(st.sampled_from("abc"), max_size=7)


def fewest_edits(reference: tuple[str, ...], hypothesis: tuple[str, ...]) -> int:
    """The definition, by trying everything."""

    @cache
    def least(i: int, j: int) -> int:
        if i == len(reference) or j == len(hypothesis):
            return len(reference) - i + len(hypothesis) - j
        kept = least(i + 1, j + 1) + (reference[i] != hypothesis[j])
        return min(kept, least(i + 1, j) + 1, least(i, j + 1) + 1)

    return least(0, 0)


@given(short, short)
def test_no_alignment_has_fewer_errors(reference: list[str], hypothesis: list[str]) -> None:
    errors = align(reference, hypothesis)
    assert errors.total == fewest_edits(tuple(reference), tuple(hypothesis))
    assert errors.units == len(reference)
    assert errors.inserted - errors.deleted == len(hypothesis) - len(reference)


@given(short, short)
def test_exchanging_the_texts_exchanges_what_is_deleted_and_inserted(one: list[str], other: list[str]) -> None:
    errors, exchanged = align(one, other), align(other, one)
    assert (errors.substituted, errors.deleted, errors.inserted) == (
        exchanged.substituted,
        exchanged.inserted,
        exchanged.deleted,
    )


@given(st.text(max_size=40))
def test_a_text_has_no_errors_against_itself(text: str) -> None:
    assert word_errors(text, text, "en").total == 0
    assert character_errors(text, text, "zh").total == 0


def test_kinds_of_errors_are_told_apart() -> None:
    assert align(["the", "cat", "sat"], ["the", "hat", "sat"]) == Errors(1, 0, 0, 3)
    assert align(["the", "cat", "sat"], ["the", "sat"]) == Errors(0, 1, 0, 3)
    assert align(["the", "cat", "sat"], ["the", "cat", "it", "sat"]) == Errors(0, 0, 1, 3)


@pytest.mark.parametrize(
    ("one", "other", "language"),
    [
        ("It's 5 o'clock, Dr. Smith!", "it’s five o'clock doctor smith", "en"),
        (
            "At 7:30 a.m. it cost $1.50, 12%.",
            "at seven thirty a m it cost one dollar and fifty cents twelve percent",
            "en",
        ),
        ("well-known", "Well known", "en"),
        ("明天7:30提醒我开会。", "明天七点三十分提醒我开会", "zh"),
        ("我用 Python，写了3个程序", "我用python写了三个程序", "zh"),
    ],
)
def test_writing_differently_is_no_error(one: str, other: str, language: str) -> None:
    assert word_errors(one, other, language).total == 0
    assert character_errors(one, other, language).total == 0


def test_words_and_characters_are_counted() -> None:
    assert word_errors("the cat sat", "the hat sat", "en") == Errors(1, 0, 0, 3)
    assert character_errors("the cat sat", "the hat sat", "en") == Errors(1, 0, 0, 9)
    assert word_errors("我用Python", "我用派森", "zh") == Errors(1, 0, 1, 3)
    assert units_of("don't stop 'now'", "en") == ["don't", "stop", "now"]


def test_rates_of_texts_are_summed_before_they_are_divided() -> None:
    both = word_errors("one two three", "one two", "en") + word_errors("four", "five", "en")
    assert both.rate == 2 / 4
    assert Errors().rate is None
    assert word_errors("", "word", "en").rate is None
