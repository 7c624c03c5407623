"""`pocketseek chat [MODEL]`: a conversation in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import options
from pocketseek.cli.chat import chat_messages
from pocketseek.cli.chat.chat_model import ModelOptions, ModelSlot
from pocketseek.cli.console import note
from pocketseek.cli.guard.key_options import KeyCommand, KeyFile, KeyOptions
from pocketseek.cli.guard.state_key import state_key
from pocketseek.cli.messages import Words
from pocketseek.cli.run.engine_choice import EngineOptions
from pocketseek.cli.run.upkeep import keeping_up
from pocketseek.errors import BusyError, FormatError, StorageError, UnsupportedError, UsageError
from pocketseek.settings import Settings, read_settings

if TYPE_CHECKING:
    from pocketseek.apps.chat_history import ChatHistory
    from pocketseek.apps.conversation import Conversation as KeptConversation
    from pocketseek.apps.conversations import ConversationStore


def chat(
    model: options.OptionalModelName = None,
    max_tokens: options.MaxTokens = 1024,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    presence_penalty: options.PresencePenalty = 0.0,
    frequency_penalty: options.FrequencyPenalty = 0.0,
    seed: options.Seed = None,
    system: options.System = None,
    kv: options.Kv = None,
    memory: options.Memory = None,
    min_speed: options.MinSpeed = None,
    adapter: options.Adapter = None,
    prefix_cache: options.PrefixCache = True,
    speculation: options.Speculation = True,
    temperature_limit: options.TemperatureLimit = None,
    engine: options.Engine = None,
    provider: options.Provider = None,
    key_file: KeyFile = None,
    key_command: KeyCommand = None,
    verbose: options.Verbose = False,
    trust: options.Trust = None,
    history: Annotated[
        bool | None,
        typer.Option(
            "--history/--no-history",
            help="Keep the conversation in the data directory, where /list and the web page find it.",
            show_default="on a terminal, not from a pipe",
        ),
    ] = None,
    go_on: Annotated[
        bool,
        typer.Option("--continue", help="Go on with the newest conversation, with its model unless told otherwise."),
    ] = False,
    which: Annotated[
        str | None,
        typer.Option(
            "--conversation",
            metavar="WHICH",
            help="Go on with this one: its id or a part of its title.",
            show_default=False,
        ),
    ] = None,
    yes: options.Yes = False,
) -> None:
    """Talk to a model. /help shows what can be typed; Ctrl-C stops an answer, Ctrl-D leaves."""
    from pocketseek.apps.chat import Chat
    from pocketseek.cli.chat.conversation import Conversation

    is_resuming = go_on or which is not None
    if is_resuming and system is not None:
        raise UsageError("--system belongs to a new conversation; leave it out, or --continue and --conversation")
    settings = read_settings()
    words = Words(settings.language)
    with _store(settings, words, history=history, is_needed=is_resuming) as store:
        resumed = _resumed(store, which) if store is not None and is_resuming else None
        model_options = ModelOptions(
            settings=settings,
            sampling={
                "temperature": temperature,
                "top_k": top_k,
                "top_p": top_p,
                "min_p": min_p,
                "repetition_penalty": repetition_penalty,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "seed": seed,
            },
            system=system or "",
            kv=kv,
            memory_bytes=memory,
            min_speed=min_speed,
            adapter=adapter,
            prefix_cache=prefix_cache,
            speculation=speculation,
            temperature_limit_c=temperature_limit,
            engine=EngineOptions(engine, provider, verbose),
            key=KeyOptions(key_file, key_command),
            trust=trust,
            yes=yes,
        )
        said: list[str] = []  # told at the end, not into what is being typed
        with (
            closing(ModelSlot(model_options, model or _model_of(settings, resumed))) as slot,
            keeping_up(settings, lambda: [slot.current.path], is_idle=slot.is_idle, report=said.append),
        ):
            recorder = _recorder(store, slot.current.name, words)
            talk = Chat(
                slot.current.engine,
                system=system or "",
                max_tokens=max_tokens,
                sampling=slot.current.sampling,
                recorder=recorder,
            )
            Conversation(talk, words, slot.current.name, floor=slot.current.floor, history=recorder, slot=slot).run(
                resumed
            )
        for line in said:
            note(line)


@contextmanager
def _store(
    settings: Settings, words: Words, *, history: bool | None, is_needed: bool
) -> Iterator[ConversationStore | None]:
    """None: nothing is to be kept, or nothing can be, which is said unless the user wants to go on with something."""
    if is_needed and history is False:
        raise UsageError("--no-history keeps nothing to go on with; leave it out")
    is_wanted = sys.stdin.isatty() and sys.stdout.isatty() if history is None else history
    if not is_wanted and not is_needed:
        yield None
        return
    from pocketseek.apps.conversations import ConversationStore
    from pocketseek.apps.kept_pages import PageEraser

    try:
        erase = PageEraser(settings.prefix_dir)
        store = ConversationStore(settings.conversations_path, key=state_key(settings), erase=erase)
    except (BusyError, FormatError, StorageError, UnsupportedError) as error:
        if is_needed:
            raise
        note(words(chat_messages.NOT_KEPT, problem=error))
        yield None
        return
    with closing(store):
        yield store


def _resumed(store: ConversationStore, which: str | None) -> KeptConversation:
    from pocketseek.apps.conversation_choice import choose_conversation, newest_conversation

    return store.get((newest_conversation(store) if which is None else choose_conversation(store, which)).id)


def _model_of(settings: Settings, resumed: KeptConversation | None) -> str | None:
    """The model that a conversation was with, if it is still installed."""
    from pocketseek.package.store import ModelStore

    if resumed is None or not resumed.info.model:
        return None
    names = [installed.name for installed in ModelStore(settings.models_dir).list()]
    return resumed.info.model if resumed.info.model in names else None


def _recorder(store: ConversationStore | None, model: str, words: Words) -> ChatHistory | None:
    if store is None:
        return None
    from pocketseek.apps.chat_history import ChatHistory

    return ChatHistory(store, model, lambda problem: note(words(chat_messages.NOT_KEPT, problem=problem)))
