"""A kept conversation that is spoken: what the voice session asks the model, and what stays of it.

An answer changes nothing in the store until the session says what was heard of it (`keep`); then question and answer
are turns like typed ones. Each answer is made from what the store has at that moment, so that what was typed, here or
elsewhere, counts. Used by the threads of one session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace

from pocketseek.apps.conversation import Conversation, Turn
from pocketseek.apps.conversations import ConversationStore
from pocketseek.apps.model_pool import ModelPool
from pocketseek.apps.serve.access import Caller
from pocketseek.apps.serve.conversation_bodies import SettingsBody
from pocketseek.apps.voice.contract import IsWanted, SpeechShape, always
from pocketseek.apps.voice.engine_chat import EngineChat
from pocketseek.errors import NotFoundError, VoiceError
from pocketseek.runtime.engine import Engine
from pocketseek.types import SamplingParams, TextEvent


@dataclass(frozen=True)
class VoiceOrder:
    """What a voice session is about. conversation_id: "": a new one, made when the first answer is kept.

    language: of speech, None: as the recogniser finds out. system: of a new conversation. push_to_talk: turns begin and
    end with a button.
    """

    caller: Caller
    store: ConversationStore
    model: str
    conversation_id: str = ""
    system: str = ""
    language: str | None = None
    push_to_talk: bool = False
    settings: SettingsBody = field(default_factory=SettingsBody)


@dataclass(frozen=True)
class SpokenManner:
    """system(own, language): the system message of a spoken conversation. max_tokens: of an answer. shape: how answers
    are cut and read out."""

    system: Callable[[str, str | None], str]
    max_tokens: int
    shape: SpeechShape


@dataclass(frozen=True)
class Kept:
    """Two turns that are in the store now, from `index` on: what the session's `turn` was about."""

    conversation: Conversation
    index: int
    turn: int


class SpokenConversation:
    """A VoiceChat.

    admit(is_new): called before each answer, in the session's thread; raises what refuses it. An answer that is tried
    again before one was kept is not new. on_kept: told what was kept.
    """

    def __init__(
        self,
        order: VoiceOrder,
        models: ModelPool,
        style: SpokenManner,
        *,
        admit: Callable[[bool], None],
        on_kept: Callable[[Kept], None],
    ) -> None:
        self.conversation_id = order.conversation_id
        self._order = order
        self._models = models
        self._style = style
        self._admit = admit
        self._on_kept = on_kept
        self._chat: EngineChat | None = None
        self._made_of: tuple[int, int] | None = None
        self._is_admitted = False
        self._last = Turn("assistant", "")

    def warm(self, text_so_far: str, is_wanted: IsWanted = always) -> int:
        with self._models.using(self._order.model) as engine:
            return self._chat_on(engine).warm(text_so_far, is_wanted)

    def stop_unwanted(self) -> None:
        if (chat := self._chat) is not None:  # one that takes its place meanwhile asks before it begins
            chat.stop_unwanted()

    def answer(self, text: str, is_wanted: IsWanted = always) -> Iterator[TextEvent]:
        self._admit(not self._is_admitted)
        self._is_admitted = True
        self._last = Turn("assistant", "", model=self._order.model, finish_reason="cancelled")
        with (
            self._models.using(self._order.model) as engine,
            closing(self._chat_on(engine).answer(text, is_wanted)) as events,
        ):
            for event in events:
                self._see(event)
                yield event

    def keep(self, question: str, answer: str, turn: int = 0) -> None:
        self._is_admitted = False
        with suppress(NotFoundError):  # it was deleted meanwhile, and is wanted no more
            self._keep(question, answer, turn)

    def _keep(self, question: str, answer: str, turn: int) -> None:
        store, spoken = self._order.store, self._last
        if answer.strip() != spoken.content.strip():  # it was not heard to its end
            spoken = replace(spoken, reasoning="", finish_reason="cancelled")
        if not self.conversation_id:
            self.conversation_id = store.create(self._order.model, "", self._order.system).info.id
        store.set_model(self.conversation_id, self._order.model)
        index = store.info(self.conversation_id).num_turns
        store.append(self.conversation_id, Turn("user", question.strip()))
        store.append(self.conversation_id, replace(spoken, content=answer.strip()))
        self._on_kept(Kept(store.get(self.conversation_id), index, turn))

    def _see(self, event: TextEvent) -> None:
        last = self._last
        self._last = replace(
            last,
            content=last.content + event.text,
            reasoning=last.reasoning + event.reasoning,
            num_tokens=max(last.num_tokens, event.num_tokens),
            finish_reason=event.finish_reason or last.finish_reason,
        )

    def _chat_on(self, engine: Engine) -> EngineChat:
        """With what the store has; the one of before, which knows what was computed, if nothing has changed."""
        kept = self._kept()
        made_of = id(engine), 0 if kept is None else kept.info.revision
        if self._chat is None or made_of != self._made_of:
            self._chat, self._made_of = self._new_chat(engine, kept), made_of
        return self._chat

    def _new_chat(self, engine: Engine, kept: Conversation | None) -> EngineChat:
        order, settings = self._order, self._order.settings
        system, turns = (order.system, ()) if kept is None else (kept.system, kept.turns)
        answered = _answered(turns)
        return EngineChat(
            engine,
            system=self._style.system(system, order.language),
            max_tokens=settings.max_tokens or self._style.max_tokens,
            sampling=self._sampling(engine.recommended_sampling),
            turns=answered,
            unanswered="\n".join(turn.content for turn in turns[len(answered) :] if turn.role == "user"),
        )

    def _kept(self) -> Conversation | None:
        if not self.conversation_id:
            return None
        try:
            return self._order.store.get(self.conversation_id)
        except NotFoundError as error:
            raise VoiceError("this conversation was deleted; begin a new one to go on talking") from error

    def _sampling(self, recommended: SamplingParams) -> SamplingParams:
        settings = self._order.settings
        chosen = recommended if settings.temperature is None else replace(recommended, temperature=settings.temperature)
        return chosen if settings.seed is None else replace(chosen, seed=settings.seed)


def _answered(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Without the questions at the end of which nothing was answered: they belong to what is said next."""
    num_kept = len(turns)
    while num_kept and not (turns[num_kept - 1].role == "assistant" and turns[num_kept - 1].content):
        num_kept -= 1
    return tuple(turns[:num_kept])
