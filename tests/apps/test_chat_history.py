"""A chat is kept as it goes, and goes on when it cannot be kept."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_chat_engine import FakeEngine

from pocketseek.apps.chat import Chat
from pocketseek.apps.chat_history import ChatHistory, said_messages
from pocketseek.apps.conversation import Conversation, Turn
from pocketseek.apps.conversations import ConversationStore
from pocketseek.errors import ContextLengthError, PocketseekError, StorageError
from pocketseek.types import Message, SamplingParams


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConversationStore]:
    store = ConversationStore(tmp_path / "conversations.db")
    yield store
    store.close()


class Talk:
    """A chat with a history, and the failures it told."""

    def __init__(self, store: ConversationStore, **options: object) -> None:
        self.failures: list[PocketseekError] = []
        self.history = ChatHistory(store, "tiny", self.failures.append)
        self.engine = FakeEngine(**options)
        self.chat = Chat(self.engine, system="be brief", recorder=self.history)

    def say(self, text: str) -> str:
        return "".join(event.text for event in self.chat.ask(text))


def kept(store: ConversationStore) -> list[tuple[str, list[str]]]:
    return [
        (conversation.system, [turn.content for turn in conversation.turns])
        for conversation in (store.get(info.id) for info in store.list())
    ]


def test_nothing_is_kept_before_the_first_question(store: ConversationStore) -> None:
    talk = Talk(store)
    talk.chat.reset("other")
    assert store.list() == []
    assert talk.history.current is None


def test_questions_and_answers_are_kept_as_they_are_said(store: ConversationStore) -> None:
    talk = Talk(store)
    talk.say("one")
    talk.say("two")
    assert kept(store) == [("be brief", ["one", "yes", "two", "yes"])]
    answer = store.get(store.list()[0].id).turns[1]
    assert (answer.model, answer.finish_reason, answer.num_tokens) == ("tiny", "stop", 3)


def test_a_reset_begins_another_conversation(store: ConversationStore) -> None:
    talk = Talk(store)
    talk.say("one")
    talk.chat.reset("be long")
    talk.say("two")
    assert kept(store) == [("be long", ["two", "yes"]), ("be brief", ["one", "yes"])]


def test_a_question_is_kept_while_its_answer_is_written(store: ConversationStore) -> None:
    talk = Talk(store)
    events = talk.chat.ask("one")
    next(events)
    assert kept(store) == [("be brief", ["one", ""])]
    events.close()
    assert kept(store) == [("be brief", ["one", "y"])]
    assert store.get(store.list()[0].id).turns[1].finish_reason == "cancelled"


def test_a_question_without_an_answer_is_forgotten(store: ConversationStore) -> None:
    answers: Callable[[str], str] = lambda prompt: "" if "silence" in prompt else "yes"  # noqa: E731 - a line is enough
    talk = Talk(store, answer=answers)
    talk.say("silence")
    assert kept(store) == []
    talk = Talk(store, answer=answers)
    talk.say("one")
    talk.say("silence")
    assert kept(store) == [("be brief", ["one", "yes"])]


def test_what_is_taken_back_is_kept_no_more(store: ConversationStore) -> None:
    talk = Talk(store)
    for question in ("one", "two", "two"):
        talk.say(question)
    assert talk.chat.undo()
    assert kept(store)[0][1][::2] == ["one", "two"]
    assert [message.content for message in talk.chat.messages][1::2] == ["one", "two"]
    assert talk.chat.undo()
    assert talk.chat.undo()
    assert not talk.chat.undo()
    assert kept(store) == []
    talk.say("anew")
    assert [texts[0] for _, texts in kept(store)] == ["anew"]


def test_a_question_that_is_refused_is_not_kept(store: ConversationStore) -> None:
    talk = Talk(store, context_length=60)
    with pytest.raises(ContextLengthError):
        talk.say("x" * 100)
    assert kept(store) == []
    talk.say("one")
    assert kept(store) == [("be brief", ["one", "yes"])]


def test_another_model_is_noted_with_its_first_answer(store: ConversationStore) -> None:
    talk = Talk(store)
    talk.say("one")
    talk.history.use_model("other")
    talk.chat.use(FakeEngine(answer=lambda prompt: "no"), SamplingParams())
    assert store.list()[0].model == "tiny"
    talk.say("two")
    conversation = store.get(store.list()[0].id)
    assert conversation.info.model == "other"
    assert [turn.model for turn in conversation.turns] == ["", "tiny", "", "other"]
    assert conversation.turns[3].content == "no"


def test_a_loaded_conversation_goes_on_where_it_was(store: ConversationStore) -> None:
    Talk(store).say("one")
    conversation = store.get(store.list()[0].id)
    later = Talk(store)
    later.chat.resume(conversation.system, said_messages(conversation))
    later.history.open(conversation)
    later.say("two")
    assert later.engine.prompts == ["s:be brief;u:one;a:yes;u:two;"]
    assert kept(store) == [("be brief", ["one", "yes", "two", "yes"])]


def test_a_failure_is_told_once_and_the_talk_goes_on(store: ConversationStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StorageError("the disk is full; free some space")

    talk = Talk(store)
    talk.say("one")
    monkeypatch.setattr(store, "append", fail)
    assert talk.say("two") == talk.say("three") == "yes"
    assert [str(failure) for failure in talk.failures] == ["the disk is full; free some space"]
    assert talk.history.current is None


def test_a_conversation_that_somebody_deletes_meanwhile_is_not_kept(store: ConversationStore) -> None:
    talk = Talk(store)
    talk.say("one")
    store.delete(store.list()[0].id)
    assert talk.say("two") == "yes"
    assert len(talk.failures) == 1
    talk.chat.reset()
    talk.say("three")
    assert kept(store) == [("be brief", ["three", "yes"])]


def test_a_model_is_told_no_question_without_an_answer() -> None:
    turns = (
        Turn("user", "crashed"),
        Turn("user", "one"),
        Turn("assistant", "yes"),
        Turn("user", "silence"),
        Turn("assistant", "", "only thoughts"),
        Turn("assistant", "alone"),
        Turn("user", "last"),
    )
    said = said_messages(Conversation(None, "", turns))  # type: ignore[arg-type]  # not looked at
    assert said == [Message("user", "one"), Message("assistant", "yes")]
