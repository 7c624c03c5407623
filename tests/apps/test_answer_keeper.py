"""An answer is on the disk once a second while it is written, and whole at the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketseek.apps.answer_keeper import AnswerKeeper
from pocketseek.apps.conversation import Turn
from pocketseek.apps.conversations import ConversationStore
from pocketseek.types import TextEvent


class Seconds:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConversationStore]:
    store = ConversationStore(tmp_path / "conversations.db")
    yield store
    store.close()


def last(store: ConversationStore, conversation_id: str) -> Turn:
    return store.get(conversation_id).turns[-1]


def test_pieces_are_kept_once_a_second_and_all_at_the_end(store: ConversationStore) -> None:
    clock = Seconds()
    name = store.create("tiny").info.id
    keeper = AnswerKeeper(store, name, "tiny", clock=clock)
    seen = []
    for number in range(1, 6):
        clock.now_s += 0.6
        keeper.see(TextEvent(f"{number}", "", number))
        seen.append(last(store, name).content)
    assert seen == ["", "12", "12", "1234", "1234"]
    assert last(store, name).finish_reason == ""
    keeper.finish("stop")
    kept = last(store, name)
    assert (kept.content, kept.model, kept.finish_reason, kept.num_tokens) == ("12345", "tiny", "stop", 5)


def test_reasoning_is_kept_beside_the_answer(store: ConversationStore) -> None:
    name = store.create("tiny").info.id
    keeper = AnswerKeeper(store, name, "tiny")
    keeper.see(TextEvent("", "\nhm", 1))
    keeper.see(TextEvent("\n\nyes", "", 2))
    keeper.finish("stop")
    assert (last(store, name).reasoning, last(store, name).content) == ("hm", "yes")


def test_a_question_can_be_kept_with_its_answer(store: ConversationStore) -> None:
    name = store.create("tiny").info.id
    assert AnswerKeeper.ask(store, name, "one?", "tiny")[0] == 0
    index, keeper = AnswerKeeper.ask(store, name, "two?", "tiny")
    keeper.finish("cancelled")
    assert index == 2
    assert [turn.role for turn in store.get(name).turns] == ["user", "assistant"] * 2
