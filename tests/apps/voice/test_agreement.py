"""What two readings agree on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.voice.agreement import agreed, likely_to_stay


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("What is the", "What is the capital", "What is the"),
        ("what is a", "What is the capital", "What is"),
        ("Hello.", "Hello, world", "Hello,"),
        ("What is the cap", "What is the capital", "What is the"),
        ("法国的首", "法国的首都", "法国的首"),
        ("法国得", "法国的首都", "法国"),
        ("", "anything", ""),
        ("one", "two", ""),
    ],
)
def test_whole_words_that_stay(before: str, now: str, expected: str) -> None:
    assert agreed(before, now) == expected


@given(st.text(max_size=40), st.text(max_size=40))
def test_it_is_a_beginning_of_the_newer_text(before: str, now: str) -> None:
    assert now.startswith(agreed(before, now))


@given(st.text(max_size=40))
def test_a_text_agrees_with_itself(text: str) -> None:
    assert agreed(text, text) == text.rstrip()


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [("", "What is the", "What is"), ("", "one", ""), ("", "", ""), ("What is", "What is the", "What is")],
)
def test_the_last_word_of_a_first_reading_is_not_worked_ahead_on(before: str, now: str, expected: str) -> None:
    assert likely_to_stay(before, now) == expected
