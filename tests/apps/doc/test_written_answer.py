"""An answer ends where it should, and what it is worth is told."""

import pytest

from pocketseek.apps.doc.written_answer import Note, WrittenAnswer, is_refusal, loop_start, without_half_sentence
from pocketseek.types import FinishReason, TextEvent


def written(text: str, finish_reason: FinishReason = "stop", max_tokens: int = 1000) -> Note:
    """What comes of a text whose every character is a token."""
    answer = WrittenAnswer(max_tokens)
    for number, letter in enumerate(text, 1):
        if not answer.add(TextEvent(letter, "", number)):
            return answer.note()
    assert not answer.add(TextEvent(num_tokens=len(text), finish_reason=finish_reason))
    return answer.note()


def test_an_answer_that_ends_by_itself_is_complete() -> None:
    assert written("A fact. Another") == Note("A fact. Another", "complete", 15)


def test_an_answer_that_is_cut_loses_its_half_sentence() -> None:
    assert written("A fact. Another", "length") == Note("A fact.", "cut", 15)
    assert written("A fact. Another fact.", max_tokens=12).text == "A fact."


def test_reasoning_does_not_count() -> None:
    answer = WrittenAnswer(5)
    assert answer.add(TextEvent("", "long thoughts", 500, num_reasoning_tokens=500))
    assert answer.add(TextEvent("Yes.", "", 504, num_reasoning_tokens=500))
    assert not answer.add(TextEvent("", "", 504, "stop", num_reasoning_tokens=500))
    assert answer.note().text == "Yes."


def test_nothing_but_reasoning_is_empty() -> None:
    answer = WrittenAnswer(5)
    assert not answer.add(TextEvent("", "thoughts", 9, "length", num_reasoning_tokens=9))
    assert answer.note().outcome == "empty"


def test_an_answer_in_circles_is_cut_after_the_first_round() -> None:
    note = written("It begins well. " + "And so on and on. " * 60)
    assert note.outcome == "cut"
    assert note.text == "It begins well. And so on and on."
    assert note.num_tokens < 300


@pytest.mark.parametrize("text", ["", "short", "one two three four. " * 3, "a | b | c\n" * 4 + "the end of it all"])
def test_what_is_said_a_few_times_is_no_circle(text: str) -> None:
    assert loop_start(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot assist with this.",
        "抱歉,我无法回答这个问题。",
        "我不能提供帮助。",
    ],
)
def test_a_refusal_is_one(text: str) -> None:
    assert is_refusal(text)
    assert written(text).outcome == "refused"


@pytest.mark.parametrize("text", ["I cannot say enough good of it.", "Sorry states of affairs follow.", "对不起的故事"])
def test_other_sentences_are_none(text: str) -> None:
    assert not is_refusal(text)


def test_a_first_sentence_that_was_cut_stays() -> None:
    assert without_half_sentence("A fact that is cu") == "A fact that is cu"
