"""Keeps a chat in the store as it goes: the recorder of a `Chat`.

A conversation is made with its first question, so that looking around leaves nothing behind. Keeping must not disturb
talking: when it fails (disk full, file damaged, somebody deleted the conversation) that is told once, through
`on_failure`, and the rest of the chat is not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pocketseek.apps.answer_keeper import AnswerKeeper
from pocketseek.apps.conversation import Conversation, ConversationInfo
from pocketseek.apps.conversations import ConversationStore, new_id
from pocketseek.errors import BusyError, FormatError, NotFoundError, PocketseekError, StorageError, UsageError
from pocketseek.types import Message, TextEvent

_FAILURES = (BusyError, FormatError, NotFoundError, StorageError, UsageError)


class ChatHistory:
    """One chat after the other, into one store. Not for use from several threads."""

    def __init__(self, store: ConversationStore, model: str, on_failure: Callable[[PocketseekError], None]) -> None:
        self.store = store
        self.model = model
        self._on_failure = on_failure
        self._is_keeping = True
        self._id: str | None = None
        self._next_id = new_id()  # of the conversation that its first question makes
        self._question_index: int | None = None
        self._keeper: AnswerKeeper | None = None

    @property
    def current(self) -> ConversationInfo | None:
        """The conversation that is kept; None before the first question, and when keeping has failed."""
        return self.store.info(self._id) if self._id is not None and self._is_keeping else None

    @property
    def kept_for(self) -> str:
        return (self._id or self._next_id) if self._is_keeping else ""

    def open(self, conversation: Conversation) -> None:
        """Go on in a conversation that is kept already."""
        self._id = conversation.info.id
        self._is_keeping = True

    def use_model(self, name: str) -> None:
        """Who answers the next questions."""
        self.model = name

    def restart(self) -> None:
        self._id = None
        self._is_keeping = True

    def begin(self, question: str, system: str) -> None:
        if not self._is_keeping:
            return
        with self._failing_once():
            if self._id is None:
                made = self.store.create(self.model, system=system, conversation_id=self._next_id)
                self._id, self._next_id = made.info.id, new_id()
            elif self.store.info(self._id).model != self.model:
                self.store.set_model(self._id, self.model)
            self._question_index, self._keeper = AnswerKeeper.ask(self.store, self._id, question, self.model)

    def see(self, event: TextEvent) -> None:
        if self._keeper is not None:
            with self._failing_once():
                self._keeper.see(event)

    def end(self, finish_reason: str) -> None:
        if self._keeper is not None:
            with self._failing_once():
                self._keeper.finish(finish_reason)
        self._question_index = self._keeper = None

    def drop(self) -> None:
        if self._id is not None and self._question_index is not None:
            with self._failing_once():
                self._drop_from(self._id, self._question_index)
        self._question_index = self._keeper = None

    def undo(self, question: str) -> None:
        if self._id is None or not self._is_keeping:
            return
        with self._failing_once():
            turns = self.store.get(self._id).turns
            asked = [index for index, turn in enumerate(turns) if (turn.role, turn.content) == ("user", question)]
            if asked:
                self._drop_from(self._id, asked[-1])

    def _drop_from(self, conversation_id: str, index: int) -> None:
        self.store.replace_from(conversation_id, index)
        if index == 0:
            self.store.delete(conversation_id)
            self._id = None

    @contextmanager
    def _failing_once(self) -> Iterator[None]:
        try:
            yield
        except _FAILURES as error:
            self._is_keeping = False
            self._question_index = self._keeper = None
            self._on_failure(error)


def said_messages(conversation: Conversation) -> list[Message]:
    """The turns as a model may be told them: a question that has no answer, or one without text, is left out."""
    messages: list[Message] = []
    question: Message | None = None
    for turn in conversation.turns:
        if turn.role == "user":
            question = Message("user", turn.content)
        else:
            if question is not None and turn.content:
                messages += [question, Message("assistant", turn.content)]
            question = None
    return messages
