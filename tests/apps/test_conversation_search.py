"""The index is a matter of speed: with it, without it and after builds of SQLite that lack it, the same is found."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketseek.apps.conversation import Turn
from pocketseek.apps.conversations import ConversationStore
from pocketseek.errors import UsageError


@pytest.fixture(params=[True, False], ids=["index", "no index"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ConversationStore]:
    store = ConversationStore(tmp_path / "conversations.db", use_index=request.param)
    yield store
    store.close()


def said(store: ConversationStore, content: str, title: str = "") -> str:
    conversation_id = store.create("tiny", title).info.id
    store.append(conversation_id, Turn("user", content))
    return conversation_id


def found(store: ConversationStore, text: str) -> list[str]:
    return [hit.info.id for hit in store.search(text)]


@pytest.mark.parametrize(
    "text", ["法", "法国", "法国的首都", "capital", "CAPITAL", "pital of", "the", "100%", "_x_", '"q"', "a\\b", "*"]
)
def test_any_part_of_a_text_is_found(store: ConversationStore, text: str) -> None:
    wanted = said(store, '法国的首都在哪里? the capital of 100% _x_ "q" a\\b *')
    said(store, "something else in one hundred words: x q ab")
    assert wanted in found(store, text)


@pytest.mark.parametrize("text", ["%", "_", "absent", "首都的", "a*b", 'NEAR("a" "b")', "content:x", "a OR b"])
def test_signs_that_mean_something_in_a_query_are_only_signs(store: ConversationStore, text: str) -> None:
    said(store, "a b 首都 words x")
    assert found(store, text) == []


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_nothing_is_found_by_nothing(store: ConversationStore, text: str) -> None:
    said(store, "a b")
    assert found(store, text) == []


def test_titles_are_found_and_the_newest_come_first(store: ConversationStore) -> None:
    by_title, by_text = said(store, "x", title="About trees"), said(store, "I like trees")
    hits = store.search("trees")
    assert [(hit.info.id, hit.turn_index) for hit in hits] == [(by_text, 0), (by_title, None)]
    assert [hit.excerpt for hit in hits] == ["I like trees", "About trees"]


def test_the_excerpt_is_what_stands_around_it(store: ConversationStore) -> None:
    said(store, "before " * 40 + "Treasure" + " after" * 40)
    excerpt = store.search("treasure")[0].excerpt
    assert "before Treasure after" in excerpt
    assert excerpt.startswith("…")
    assert excerpt.endswith("…")
    assert len(excerpt) < 100


def test_a_changed_text_is_found_by_its_new_words_only(store: ConversationStore) -> None:
    conversation_id = said(store, "question")
    key = store.append(conversation_id, Turn("assistant", "first words"))
    assert found(store, "first words")
    store.update(key, Turn("assistant", "second words"))
    assert found(store, "first words") == []
    assert found(store, "second words") == [conversation_id]


def test_what_a_build_without_an_index_changed_is_found_by_one_with_it(tmp_path: Path) -> None:
    path = tmp_path / "conversations.db"
    store = ConversationStore(path)
    gone, changed = said(store, "the oldest words"), said(store, "the older words")
    assert found(store, "words") == [changed, gone]
    store.close()

    without = ConversationStore(path, use_index=False)
    without.delete(gone)
    without.replace_from(changed, 0, [Turn("user", "the newer words")])
    without.close()

    store = ConversationStore(path)
    assert found(store, "words") == [changed]
    assert found(store, "older") == []
    assert found(store, "newer") == [changed]
    store.close()


def test_a_query_that_is_a_book_is_refused(store: ConversationStore) -> None:
    with pytest.raises(UsageError):
        store.search("x" * 5000)
