"""What of a conversation goes into the prompt."""

from pocketseek.apps.conversation import Turn
from pocketseek.apps.prompt_fit import fitting_prompt
from pocketseek.types import Message


class Counting:
    """A token for each character."""

    def __init__(self, context_length: int) -> None:
        self.context_length = context_length

    def encode_prompt(self, prompt: list[Message], /) -> tuple[int, ...]:
        return tuple(range(sum(len(message.content) for message in prompt)))


def turns(num_questions: int) -> list[Turn]:
    said = [(Turn("user", f"question {n:02}"), Turn("assistant", f"answer {n:04}")) for n in range(num_questions)]
    return [turn for pair in said for turn in pair][:-1]


def test_all_of_it_if_it_fits() -> None:
    prompt = fitting_prompt(Counting(1000), "system", turns(3), 100)
    assert [message.role for message in prompt] == ["system", "user", "assistant", "user", "assistant", "user"]


def test_the_oldest_go_and_the_system_message_and_a_question_first_stay() -> None:
    prompt = fitting_prompt(Counting(100), "sys", turns(9), 20)
    assert prompt[0] == Message("system", "sys")
    assert prompt[1].role == "user"
    assert prompt[-1].content == "question 08"
    assert sum(len(message.content) for message in prompt) <= 80


def test_more_goes_than_must_so_that_the_next_question_finds_the_same_beginning() -> None:
    first = fitting_prompt(Counting(200), "", turns(9), 50)
    second = fitting_prompt(Counting(200), "", turns(10), 50)
    assert second[: len(first)] != first or first[0] == second[0]
    assert len(first) < 13


def test_the_last_question_stays_even_if_it_is_too_long() -> None:
    assert [m.content for m in fitting_prompt(Counting(10), "", [Turn("user", "x" * 50)], 5)] == ["x" * 50]


def test_a_question_that_was_never_answered_goes_with_its_empty_answer() -> None:
    kept = [Turn("user", "a"), Turn("assistant", ""), Turn("user", "b")]
    assert [message.content for message in fitting_prompt(Counting(100), "", kept, 5)] == ["b"]
