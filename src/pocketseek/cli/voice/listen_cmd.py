"""`pocketseek voice listen [MODEL]`: a spoken conversation, with a microphone or out of a sound file."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import options
from pocketseek.cli.chat.chat_model import ModelOptions, ModelSlot
from pocketseek.cli.console import note, print_json
from pocketseek.cli.guard.key_options import KeptSecrets, KeyCommand, KeyFile, KeyOptions
from pocketseek.cli.messages import Words
from pocketseek.cli.run.engine_choice import EngineOptions
from pocketseek.cli.voice import voice_messages
from pocketseek.cli.voice.languages import voice_language
from pocketseek.device.memory import process_memory
from pocketseek.errors import MemoryLimitError, UsageError
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.apps.voice.contract import Recogniser, SpeechDetector, Synthesiser
    from pocketseek.apps.voice.engines.choose import Chosen
    from pocketseek.apps.voice.session import VoiceSession, VoiceSettings
    from pocketseek.cli.voice.edges import Edge

DEFAULT_MAX_TOKENS = 160


def listen(
    model: options.OptionalModelName = None,
    language: Annotated[
        str | None,
        typer.Option("--language", metavar="CODE", help="What is spoken: en, zh, ...", show_default="that of messages"),
    ] = None,
    wav: Annotated[
        list[Path] | None,
        typer.Option(
            "--wav",
            metavar="FILE",
            help="Listen to a sound file in place of a microphone; may be repeated.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write what is spoken to a WAV file.", show_default=False),
    ] = None,
    push_to_talk: Annotated[
        bool, typer.Option("--push-to-talk", help="Listen between two presses of Enter only.")
    ] = False,
    barge_in: Annotated[
        bool,
        typer.Option(
            "--barge-in/--no-barge-in",
            help="Whether speaking breaks an answer off; not without a headset, where the microphone hears it.",
        ),
    ] = True,
    recogniser: Annotated[
        str | None,
        typer.Option(
            "--recogniser", metavar="NAME", help="Who listens: a folder of `voice setup`.", show_default=False
        ),
    ] = None,
    voice: Annotated[
        str | None,
        typer.Option(
            "--voice",
            metavar="NAME",
            help="Who speaks: a folder of `voice setup`, espeak or android.",
            show_default=False,
        ),
    ] = None,
    microphone: Annotated[
        str | None, typer.Option("--microphone", metavar="DEVICE", help="Which one.", show_default="the system's")
    ] = None,
    loudspeaker: Annotated[
        str | None, typer.Option("--loudspeaker", metavar="DEVICE", help="Which one.", show_default="the system's")
    ] = None,
    max_tokens: options.MaxTokens = DEFAULT_MAX_TOKENS,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    seed: options.Seed = None,
    system: options.System = None,
    kv: options.Kv = None,
    memory: options.Memory = None,
    temperature_limit: options.TemperatureLimit = None,
    engine: options.Engine = None,
    provider: options.Provider = None,
    key_file: KeyFile = None,
    key_command: KeyCommand = None,
    timings: Annotated[bool, typer.Option("--timings", help="Say after every turn how long its stages took.")] = False,
    trust: options.Trust = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Talk with a model. Ctrl-C ends an answer, and the conversation when none is spoken."""
    from pocketseek.apps.voice.engines.asr_termux import NoDetector
    from pocketseek.apps.voice.engines.choose import (
        ANDROID,
        Chosen,
        choose_detector,
        choose_recogniser,
        choose_synthesiser,
    )
    from pocketseek.apps.voice.session import VoiceSettings
    from pocketseek.apps.voice.shared_room import SharedRoom
    from pocketseek.cli.voice.edges import open_edge

    if push_to_talk and wav:
        raise UsageError("--push-to-talk needs somebody at the microphone; leave it out, or --wav")
    settings = read_settings()
    words = Words(settings.language)
    spoken = voice_language(settings, language)
    by_android = recogniser == ANDROID  # which listens by itself
    if by_android and (wav or push_to_talk):
        raise UsageError("Android's own recognition listens by itself; leave out --wav and --push-to-talk")
    keys = KeptSecrets(settings, KeyOptions(key_file, key_command))
    slots: list[ModelSlot] = []
    room = SharedRoom(lambda: [one.current.engine.guests for one in slots])
    engines = _Engines(
        Chosen("", "named", NoDetector) if by_android else choose_detector(settings, secret_of=keys),
        choose_recogniser(settings, spoken, name=recogniser, secret_of=keys, room=room),
        choose_synthesiser(settings, spoken, name=voice, may_play_itself=out is None, secret_of=keys, room=room),
        memory,
    )
    model_options = ModelOptions(
        settings=settings,
        sampling={"temperature": temperature, "top_p": top_p, "seed": seed},
        system=system or "",
        kv=kv,
        memory_bytes=memory,
        min_speed=None,
        prefix_cache=True,
        speculation=True,
        temperature_limit_c=temperature_limit,
        engine=EngineOptions(engine, provider),
        key=KeyOptions(key_file, key_command),
        trust=trust,
        yes=yes,
    )
    with ExitStack() as stack:
        stack.callback(keys.close)
        edge = stack.enter_context(
            open_edge(
                wav or [],
                out,
                microphone=microphone,
                loudspeaker=loudspeaker,
                push_to_talk=push_to_talk,
                by_android=by_android,
                words=words,
            )
        )
        slot = stack.enter_context(closing(_opened_slot(model_options, model)))
        slots.append(slot)
        voice_settings = VoiceSettings(language=spoken, barge_in=barge_in, push_to_talk=push_to_talk)
        session = stack.enter_context(
            closing(engines.session(stack, slot, voice_settings, spoken, system=system or "", max_tokens=max_tokens))
        )
        if not json:
            _say_who(words, engines, edge, push_to_talk=push_to_talk)
        _talk(session, edge, words, timings=timings, json=json)


class _Engines:
    def __init__(
        self,
        detector: Chosen[SpeechDetector],
        recogniser: Chosen[Recogniser],
        voice: Chosen[Synthesiser],
        memory_bytes: int | None,
    ) -> None:
        """memory_bytes: what all of the process may take."""
        self.detector, self.recogniser, self.voice = detector, recogniser, voice
        self.memory_bytes = memory_bytes

    def session(
        self,
        stack: ExitStack,
        slot: ModelSlot,
        voice_settings: VoiceSettings,
        language: str,
        *,
        system: str,
        max_tokens: int,
    ) -> VoiceSession:
        """Opened engines are closed with the stack, after the session."""
        from pocketseek.apps.voice.engine_chat import EngineChat
        from pocketseek.apps.voice.on_demand import prepare, release_idle
        from pocketseek.apps.voice.session import VoiceSession
        from pocketseek.apps.voice.shared_room import heat_share
        from pocketseek.apps.voice.style import ReadAloud, spoken_style

        style = spoken_style(language, system=system, max_tokens=max_tokens)
        chat = EngineChat(
            slot.current.engine, system=style.system, max_tokens=style.max_tokens, sampling=slot.current.sampling
        )
        recogniser = stack.enter_context(closing(self.recogniser.open()))
        voice = stack.enter_context(closing(self.voice.open()))
        prepare(recogniser, voice)
        check_room(self.memory_bytes, process_memory().anonymous_bytes)
        return VoiceSession(
            recogniser,
            voice,
            self.detector.open(),
            chat,
            ReadAloud(),
            voice_settings,
            when_quiet=lambda: release_idle(recogniser, voice),
            heat_share=lambda: heat_share([slot.current.engine]),
        )


def check_room(memory_bytes: int | None, taken_bytes: int | None) -> None:
    """All engines are open; the model's weights may still go, what else is taken cannot. Raises MemoryLimitError."""
    if memory_bytes is not None and taken_bytes is not None and taken_bytes > memory_bytes:
        taken_mb, allowed_mb = -(-taken_bytes // 1_000_000), memory_bytes // 1_000_000
        raise MemoryLimitError(
            f"listening and speaking beside the model take {taken_mb} MB and --memory allows {allowed_mb} MB; "
            "allow more, or use a smaller --recogniser or --voice espeak"
        )


def _opened_slot(model_options: ModelOptions, model: str | None) -> ModelSlot:
    """The language model gives way to hearing, understanding and speaking."""
    from pocketseek.apps.voice.priorities import LANGUAGE_MODEL, made_giving_way

    return made_giving_way(lambda: ModelSlot(model_options, model), LANGUAGE_MODEL)


def _say_who(words: Words, engines: _Engines, edge: Edge, *, push_to_talk: bool) -> None:
    note(
        words(
            voice_messages.LISTENING,
            recogniser=engines.recogniser.name,
            why=words(voice_messages.REASONS[engines.recogniser.reason]),
            voice=engines.voice.name,
            voice_why=words(voice_messages.REASONS[engines.voice.reason]),
        )
    )
    if edge.devices is not None:
        note(words(voice_messages.MICROPHONE, microphone=edge.devices[0], loudspeaker=edge.devices[1]))
    if push_to_talk:
        note(words(voice_messages.PUSH_TO_TALK))


def _talk(session: VoiceSession, edge: Edge, words: Words, *, timings: bool, json: bool) -> None:
    """Until the sound ends, or Ctrl-C while nothing is spoken."""
    from pocketseek.cli.voice.voice_view import JsonView, TurnView

    view = JsonView() if json else TurnView(words, timings=timings)
    edge.begin(session)
    while True:
        try:
            for event in session.events():
                edge.see(event)
                view.see(event)
            break
        except KeyboardInterrupt:
            if not session.interrupt():
                break
    view.end()
    edge.end()
    if isinstance(view, JsonView):
        print_json(view.facts())
