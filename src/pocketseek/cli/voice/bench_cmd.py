"""`pocketseek voice bench`: recorded speech through the whole assistant, and how well requests are understood."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import options
from pocketseek.cli.bench.report_run import check_page
from pocketseek.cli.console import note, print_json, print_table, progress_bar
from pocketseek.cli.guard.key_options import KeptSecrets, KeyCommand, KeyFile, KeyOptions
from pocketseek.cli.messages import Words
from pocketseek.cli.run.model_choice import choose_model, open_engine, opened_sampling
from pocketseek.cli.voice import bench_messages, bench_view
from pocketseek.errors import UsageError
from pocketseek.settings import Settings, read_settings

if TYPE_CHECKING:
    from pocketseek.apps.voice.bench.files import SpokenFile
    from pocketseek.apps.voice.bench.intents import IntentSet, Understanding
    from pocketseek.apps.voice.bench.report import VoiceReport
    from pocketseek.apps.voice.bench.run import Player
    from pocketseek.apps.voice.bench.turns import PlayedFile
    from pocketseek.apps.voice.contract import VoiceChat
    from pocketseek.runtime.engine import Engine


@dataclass(frozen=True)
class _Wishes:
    """What is measured, and how."""

    wav: Path | None
    transcripts: Path | None
    understanding: bool
    intents: Path | None
    language: str | None
    fast: bool
    recognise_only: bool
    partial_prefill: bool
    early_answers: bool
    whole_answer_tts: bool
    recogniser: str | None
    voice: str | None
    max_tokens: int
    seed: int

    def settings(self) -> dict[str, bool]:
        return {
            "fast": self.fast,
            "recognise_only": self.recognise_only,
            "partial_prefill": self.partial_prefill,
            "early_answers": self.early_answers,
            "whole_answer_tts": self.whole_answer_tts,
        }


def bench(
    model: options.OptionalModelName = None,
    wav: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="WAV files to play; FILE.txt beside FILE.wav says what is said in it."),
    ] = None,
    transcripts: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the .txt files are, if elsewhere.", show_default=False)
    ] = None,
    understanding: Annotated[
        bool, typer.Option("--understanding", help="Also sort the built-in set of typed requests by what they want.")
    ] = False,
    intents: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Another set of requests (JSON).", show_default=False)
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="What is spoken: en, zh ...", show_default="as the texts say")
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Do not wait for real time; no times after the end of speech then.")
    ] = False,
    recognise_only: Annotated[
        bool, typer.Option("--recognise-only", help="Answer nothing: error rates, and understanding of labels.")
    ] = False,
    partial_prefill: Annotated[
        bool, typer.Option("--partial-prefill/--no-partial-prefill", help="Compute prompts while they are spoken.")
    ] = True,
    early_answers: Annotated[
        bool, typer.Option("--early-answers/--no-early-answers", help="Try an answer as soon as silence begins.")
    ] = True,
    whole_answer_tts: Annotated[
        bool, typer.Option("--whole-answer-tts", help="Speak when all is written, not clause by clause.")
    ] = False,
    recogniser: Annotated[str | None, typer.Option(help="Which one listens, by name.", show_default=False)] = None,
    voice: Annotated[str | None, typer.Option(help="Which one speaks, by name.", show_default=False)] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 160,
    seed: Annotated[int, typer.Option(help="Of the answers, so that they are the same each time.")] = 1,
    report: Annotated[
        Path | None,
        typer.Option(metavar="F.html", help="Write a page with the timeline of one turn.", show_default=False),
    ] = None,
    memory: options.Memory = None,
    key_file: KeyFile = None,
    key_command: KeyCommand = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Measure the voice assistant on recordings: times after the end of speech, error rates, understanding."""
    wishes = _Wishes(
        wav,
        transcripts,
        understanding or intents is not None,
        intents,
        language,
        fast,
        recognise_only,
        partial_prefill,
        early_answers,
        whole_answer_tts,
        recogniser,
        voice,
        max_tokens,
        seed,
    )
    _check(wishes, report)
    settings = read_settings()
    run = _Run(settings, wishes, KeyOptions(key_file, key_command), memory)
    found, played = run.run(model, yes=yes)
    _tell(found, played, Words(settings.language), report, as_json=json)


def _check(wishes: _Wishes, page: Path | None) -> None:
    if wishes.wav is None and not wishes.understanding:
        raise UsageError("there is nothing to measure; give recordings with --wav DIR, or --understanding")
    if wishes.wav is None and (wishes.transcripts is not None or wishes.fast or wishes.recognise_only):
        raise UsageError("--transcripts, --fast and --recognise-only are about recordings; give --wav DIR, too")
    if page is not None:
        check_page(page)


class _Run:
    def __init__(self, settings: Settings, wishes: _Wishes, key: KeyOptions, memory_bytes: int | None) -> None:
        from pocketseek.apps.voice.bench.files import find_files
        from pocketseek.apps.voice.bench.intents import BUILT_IN, read_intents
        from pocketseek.apps.voice.shared_room import SharedRoom

        self._settings = settings
        self._wishes = wishes
        self._key = key
        self._memory_bytes = memory_bytes
        self._words = Words(settings.language)
        self._files: list[SpokenFile] = [] if wishes.wav is None else find_files(wishes.wav, wishes.transcripts)
        self._intents: IntentSet = read_intents(wishes.intents or BUILT_IN)
        self._parts: dict[str, str] = {}
        self._engines: list[Engine] = []
        self._room = SharedRoom(lambda: [engine.guests for engine in self._engines])

    @property
    def _needs_model(self) -> bool:
        w = self._wishes
        return w.understanding or not w.recognise_only or any(file.intent for file in self._files)

    def run(self, model: str | None, *, yes: bool) -> tuple[VoiceReport, list[PlayedFile]]:
        from pocketseek.apps.voice.bench.report import VoiceReport, figures_of

        name = ""
        with ExitStack() as stack:
            player = self._player(stack) if self._files else None  # a missing part is told before a model is loaded
            engine = None
            if self._needs_model:
                name, path = choose_model(self._settings, model, yes=yes)
                engine = stack.enter_context(closing(self._opened(path)))
                self._engines.append(engine)
            played = [] if player is None else self._play(player, engine)
            understood = {} if engine is None else self._understanding(engine, played)
        figures = figures_of(played, fast=self._wishes.fast) if self._files else None
        return VoiceReport(name, self._parts, self._wishes.settings(), figures, understood), played

    def _opened(self, path: Path) -> Engine:
        """It gives way to speech, as in `voice listen`."""
        from pocketseek.apps.voice.priorities import LANGUAGE_MODEL, made_giving_way

        def open_it() -> Engine:
            return open_engine(
                self._settings,
                path,
                memory_bytes=self._memory_bytes,
                prefix_on_disk=False,
                key=self._key,
                quiet=True,
            )

        return made_giving_way(open_it, LANGUAGE_MODEL)

    def _player(self, stack: ExitStack) -> Callable[[Engine | None], Player]:
        from pocketseek.apps.voice.bench.run import Player
        from pocketseek.apps.voice.engines.choose import choose_detector, choose_recogniser, choose_synthesiser
        from pocketseek.apps.voice.session import VoiceSettings

        w = self._wishes
        languages = {w.language or file.language for file in self._files}
        common = languages.pop() if len(languages) == 1 else None
        keys = KeptSecrets(self._settings, self._key)
        stack.callback(keys.close)
        listening = choose_recogniser(self._settings, common, name=w.recogniser, secret_of=keys, room=self._room)
        speaking = choose_synthesiser(self._settings, common or "en", name=w.voice, secret_of=keys, room=self._room)
        noticing = choose_detector(self._settings, secret_of=keys)
        self._parts = {"recogniser": listening.name, "voice": speaking.name, "detector": noticing.name}
        recogniser = stack.enter_context(closing(listening.open()))
        synthesiser = stack.enter_context(closing(speaking.open()))
        voice_settings = VoiceSettings(
            warm=w.partial_prefill, try_early=w.early_answers and not w.fast, clause_wise=not w.whole_answer_tts
        )

        def player(engine: Engine | None) -> Player:
            chats = None if engine is None or w.recognise_only else self._chats(engine)
            return Player(recogniser, synthesiser, noticing.open(), chats, w.language, w.fast, voice_settings)

        return player

    def _chats(self, engine: Engine) -> Callable[[str], VoiceChat]:
        from pocketseek.apps.voice.engine_chat import EngineChat
        from pocketseek.apps.voice.style import spoken_style

        sampling = opened_sampling(engine, seed=self._wishes.seed)

        def chat(language: str) -> VoiceChat:
            style = spoken_style(language, max_tokens=self._wishes.max_tokens)
            return EngineChat(engine, system=style.system, max_tokens=style.max_tokens, sampling=sampling)

        return chat

    def _play(self, player: Callable[[Engine | None], Player], engine: Engine | None) -> list[PlayedFile]:
        with progress_bar(unit="files") as show:
            total = len(self._files)

            def tell(number: int, file: SpokenFile) -> None:
                show(self._words(bench_messages.PLAYING, name=file.name), number, total)

            return player(engine).play(self._files, tell)

    def _understanding(self, engine: Engine, played: list[PlayedFile]) -> dict[str, Understanding]:
        from pocketseek.apps.voice.bench.intents import evaluate_understanding
        from pocketseek.apps.voice.bench.run import understanding_of

        with progress_bar(unit="requests") as show:
            label = self._words(bench_messages.SORTING)

            def tell(done: int, total: int) -> None:
                show(label, done, total)

            found = understanding_of(engine, played, self._intents.labels, tell)
            if self._wishes.understanding and "text" not in found:
                found["text"] = evaluate_understanding(engine, self._intents, progress=tell)
        return found


def _tell(found: VoiceReport, played: list[PlayedFile], words: Words, page: Path | None, *, as_json: bool) -> None:
    from pocketseek.apps.report.write_pair import write_page

    try:  # the page first: standard output may be full or gone
        if page is not None:
            write_page(page, bench_view.page(found, played, words))
            note(words(bench_messages.PAGE, path=page))
    finally:
        if as_json:
            print_json({**asdict(found), "turns": [turn for one in played for turn in _turn_facts(one)]})
        else:
            print_table(bench_view.headings(words), bench_view.rows(found, words), essential=(0, 1))
            if found.settings["fast"]:
                note(words(bench_messages.FAST_NOTE))


def _turn_facts(one: PlayedFile) -> list[dict[str, object]]:
    return [
        {
            "file": one.file.name,
            "reference": one.file.reference,
            "transcript": turn.transcript,
            "answer": turn.answer,
            "clauses": turn.clauses,
            "speech_end_s": turn.speech_end_s,
            "timings": asdict(turn.timings),
            "failure": turn.failure,
        }
        for turn in one.turns
    ]
