"""Numbers in words are read back by a slow reader of words, which knows no rule of how they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.voice.words import chinese_numbers, english_numbers

ENGLISH = {english_numbers.cardinal(str(value)): value for value in range(100)}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
DIGITS = {letter: value for value, letter in enumerate("零一二三四五六七八九")} | {"两": 2}
PLACES = {"十": 10, "百": 100, "千": 1000}


def english_value(words: str) -> int:
    total = group = 0
    for word in words.split():
        if word == "hundred":
            group *= 100
        elif word in SCALES:
            total, group = total + group * SCALES[word], 0
        else:
            group += ENGLISH[word]
    return total + group


def chinese_value(words: str) -> int:
    for scale, value in (("亿", 10**8), ("万", 10**4)):
        if scale in words:
            before, _, after = words.rpartition(scale)
            return chinese_value(before) * value + chinese_value(after)
    total, digit = 0, 0
    for position, letter in enumerate(words):
        if letter in PLACES:
            total += (digit if position and digit else 1) * PLACES[letter]
            digit = 0
        else:
            digit = DIGITS[letter]
    return total + digit


def test_the_first_twenty_and_the_tens_are_what_they_are_called() -> None:
    assert [english_numbers.cardinal(str(value)) for value in (0, 7, 13, 20, 45, 99)] == [
        "zero",
        "seven",
        "thirteen",
        "twenty",
        "forty-five",
        "ninety-nine",
    ]


@given(st.integers(0, 10**15 - 1) | st.integers(0, 10**5))
def test_english_words_are_the_number(value: int) -> None:
    assert english_value(english_numbers.cardinal(str(value))) == value


@given(st.integers(0, 10**16 - 1) | st.integers(0, 10**6))
def test_chinese_words_are_the_number(value: int) -> None:
    words = chinese_numbers.cardinal(str(value))
    assert chinese_value(words) == value
    assert "零零" not in words
    assert not (value and words.endswith("零"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("10", "十"),
        ("12", "十二"),
        ("110", "一百一十"),
        ("205", "二百零五"),
        ("2000", "两千"),
        ("2002", "两千零二"),
        ("10010", "一万零一十"),
        ("20000", "两万"),
        ("100010001", "一亿零一万零一"),
        ("1002000", "一百万两千"),
        ("1000000000000", "一万亿"),
        ("1200000000000", "一万两千亿"),
        ("00", "零零"),
        ("1" * 17, "一" * 17),
    ],
)
def test_chinese_numbers_as_they_are_said(value: str, words: str) -> None:
    assert chinese_numbers.cardinal(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("1", "first"),
        ("12", "twelfth"),
        ("20", "twentieth"),
        ("22", "twenty-second"),
        ("100", "one hundredth"),
        ("1003", "one thousand third"),
    ],
)
def test_english_ordinals(value: str, words: str) -> None:
    assert english_numbers.ordinal(value) == words


def test_years_decades_decimals_and_codes() -> None:
    assert [english_numbers.year(value) for value in ("1969", "2000", "2005", "2026", "1905", "1800")] == [
        "nineteen sixty-nine",
        "two thousand",
        "two thousand five",
        "twenty twenty-six",
        "nineteen oh five",
        "eighteen hundred",
    ]
    assert english_numbers.decade("1990") == "nineteen nineties"
    assert english_numbers.decimal("12.50") == "twelve point five zero"
    assert english_numbers.cardinal("007") == "zero zero seven"
    assert english_numbers.cardinal("1" * 16) == " ".join(["one"] * 16)
    assert chinese_numbers.decimal("3.14") == "三点一四"
