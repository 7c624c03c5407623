"""Which conversation is meant."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketseek.apps.conversation_choice import choose_conversation, newest_conversation
from pocketseek.apps.conversations import ConversationStore
from pocketseek.errors import NotFoundError, UsageError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConversationStore]:
    store = ConversationStore(tmp_path / "conversations.db")
    yield store
    store.close()


def test_an_id_its_beginning_or_a_part_of_the_title_will_do(store: ConversationStore) -> None:
    wanted = store.create("tiny", "About 首都 and Trees").info
    store.create("tiny", "Other")
    for text in (wanted.id, wanted.id[:8], wanted.id.upper(), "trees", "首都", " about 首都 "):
        assert choose_conversation(store, text).id == wanted.id


def test_the_whole_title_goes_before_a_part_of_another(store: ConversationStore) -> None:
    wanted = store.create("tiny", "trees").info
    store.create("tiny", "more trees")
    assert choose_conversation(store, "Trees").id == wanted.id


def test_several_are_named_and_none_is_taken(store: ConversationStore) -> None:
    ids = [store.create("tiny", f"trees {number}").info.id for number in range(2)]
    with pytest.raises(UsageError) as refused:
        choose_conversation(store, "trees")
    assert all(name in str(refused.value) for name in ids)


@pytest.mark.parametrize("text", ["absent", "", " "])
def test_none_is_not_found(store: ConversationStore, text: str) -> None:
    store.create("tiny", "trees")
    with pytest.raises(NotFoundError):
        choose_conversation(store, text)


def test_the_newest_is_the_last_one_changed(store: ConversationStore) -> None:
    with pytest.raises(NotFoundError):
        newest_conversation(store)
    first = store.create("tiny", "a").info
    store.create("tiny", "b")
    store.rename(first.id, "c")
    assert newest_conversation(store).id == first.id
