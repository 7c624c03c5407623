"""The commands of a chat that concern kept conversations: /list, /load, /search, /rename, /delete.

A number means the conversation with that number in the list that was shown last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from pocketseek.apps.chat import Chat
from pocketseek.apps.chat_history import ChatHistory, said_messages
from pocketseek.apps.conversation import Conversation, ConversationInfo
from pocketseek.apps.conversation_choice import choose_conversation
from pocketseek.cli import messages
from pocketseek.cli.chat import chat_messages
from pocketseek.cli.console import note
from pocketseek.errors import NotFoundError, UsageError

NAMES = ("/list", "/load", "/search", "/rename", "/delete")

_NUM_LISTED = 20
_TITLE_CHARS = 60
_ID_CHARS = 8
_DAY_S = 86_400


class Say(Protocol):
    def __call__(self, message: messages.Message, **values: object) -> None: ...


class HistoryCommands:
    """confirm: asks a person; False for anything but yes."""

    def __init__(
        self, chat: Chat, history: ChatHistory, say: Say, confirm: Callable[[messages.Message, ConversationInfo], bool]
    ) -> None:
        self._chat = chat
        self._history = history
        self._store = history.store
        self._say = say
        self._confirm = confirm
        self._shown: list[ConversationInfo] = []
        acts = (lambda _: self._list(), self._load, self._search, self._rename, self._delete)
        self.commands: dict[str, Callable[[str], None]] = dict(zip(NAMES, acts, strict=True))

    def tell_kept(self) -> None:
        """Where the conversation is."""
        info = self._current()
        self._say(chat_messages.KEPT, id=info.id, title=info.title)

    def resume(self, conversation: Conversation, model: str) -> None:
        """Go on with it, and show how it ended. model: who answers."""
        info = conversation.info
        said = said_messages(conversation)
        self._chat.resume(conversation.system, said)
        self._history.open(conversation)
        self._say(chat_messages.LOADED, title=info.title, count=info.num_turns)
        if info.model and info.model != model:
            self._say(chat_messages.OTHER_MODEL, model=info.model)
        if said:
            note(f"> {said[-2].content}\n{said[-1].content}")

    def _list(self) -> None:
        infos = self._store.list(_NUM_LISTED + 1)
        if not infos:
            self._say(chat_messages.NO_CONVERSATIONS)
            return
        self._show(infos[:_NUM_LISTED], [info.title for info in infos])
        if len(infos) > _NUM_LISTED:
            self._say(chat_messages.MORE_CONVERSATIONS)

    def _load(self, which: str) -> None:
        if which:
            self.resume(self._store.get(self._chosen(which).id), self._history.model)
        else:
            self._list()

    def _search(self, text: str) -> None:
        if not text:
            raise UsageError("/search needs a text to look for")
        hits = self._store.search(text, _NUM_LISTED)
        if not hits:
            self._say(chat_messages.NOTHING_FOUND)
            return
        self._show([hit.info for hit in hits], [hit.excerpt for hit in hits])

    def _rename(self, title: str) -> None:
        info = self._current()
        self._store.rename(info.id, title)
        self._say(chat_messages.RENAMED, title=self._store.info(info.id).title)

    def _delete(self, which: str) -> None:
        info = self._chosen(which) if which else self._current()
        if not self._confirm(chat_messages.CONFIRM_DELETE, info):
            self._say(chat_messages.NOT_DELETED)
            return
        current = self._history.current
        self._store.delete(info.id)
        self._say(chat_messages.DELETED, title=info.title)
        if current is not None and current.id == info.id:
            self._chat.reset()
            self._say(chat_messages.RESET)

    def _current(self) -> ConversationInfo:
        current = self._history.current
        if current is None:
            raise UsageError("this conversation is not kept yet; it is with its first question")
        return current

    def _chosen(self, which: str) -> ConversationInfo:
        shown = self._shown or self._store.list(_NUM_LISTED)
        if which.isascii() and which.isdigit() and 0 < int(which[:9]) <= len(shown):
            return self._store.info(shown[int(which[:9]) - 1].id)
        try:
            return choose_conversation(self._store, which)
        except NotFoundError as error:
            raise NotFoundError(
                f"no conversation is called {which!r:.60}; /list shows them, and /model NAME changes the model"
            ) from error

    def _show(self, infos: list[ConversationInfo], texts: Sequence[str]) -> None:
        self._shown = infos
        current = self._history.current
        for number, (info, text) in enumerate(zip(infos, texts, strict=False), 1):
            mark = "*" if current is not None and current.id == info.id else " "
            words = text if len(text) <= _TITLE_CHARS else text[: _TITLE_CHARS - 1] + "…"
            note(f"{mark}{number:>3}  {_when(info.updated_s)}  {info.id[:_ID_CHARS]}  {words}")


def _when(seconds: float) -> str:
    """Local time, eleven characters."""
    is_recent = abs(time.time() - seconds) < 300 * _DAY_S
    return time.strftime("%m-%d %H:%M" if is_recent else "%Y-%m-%d ", time.localtime(seconds))
