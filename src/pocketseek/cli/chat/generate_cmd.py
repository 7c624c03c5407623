"""`pocketseek generate MODEL "text"`: one answer, streamed."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.chat import chat_messages
from pocketseek.cli.console import AnswerPrinter, note, print_json
from pocketseek.cli.guard.key_options import KeyCommand, KeyFile, KeyOptions, secret_for
from pocketseek.cli.messages import Words
from pocketseek.cli.run.engine_choice import EngineOptions, engine_facts, is_onnx, tell_change
from pocketseek.cli.run.heat_note import HeatNote, heat_facts
from pocketseek.cli.run.min_speed import SpeedFloor, choose_for_speed
from pocketseek.cli.run.model_choice import adapter_paths, choose_model, open_engine, opened_sampling, sampling_params
from pocketseek.cli.text_input import is_piped_text_waiting, read_stdin
from pocketseek.errors import UsageError
from pocketseek.settings import Settings, read_settings
from pocketseek.types import Message, SamplingParams, TextEvent

if TYPE_CHECKING:
    from pathlib import Path

    from pocketseek.package.sealing.key_slots import Secret
    from pocketseek.package.verify import Progress
    from pocketseek.runtime.engine import Engine
    from pocketseek.runtime.prompt import Prompt
    from pocketseek.runtime.speed_plan import SpeedNeed

_LEAST_ANSWER_TOKENS = 256


def generate(
    model: options.ModelName,
    text: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT]...",
            help="The prompt; '-' or none: what standard input has, alone or between texts.",
            show_default=False,
        ),
    ] = None,
    max_tokens: options.MaxTokens = 512,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    presence_penalty: options.PresencePenalty = 0.0,
    frequency_penalty: options.FrequencyPenalty = 0.0,
    seed: options.Seed = None,
    system: options.System = None,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the text as it is, without the chat template.")] = False,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", help="End before this text; may be repeated.", show_default=False)
    ] = None,
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
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Answer one prompt. Reasoning is shown dimmed on a terminal and left out of pipes."""
    from pocketseek.apps.library import has_chat_template
    from pocketseek.apps.repository.versions import VersionNotes

    if raw and system is not None:
        raise UsageError("--raw has no place for a system message; leave out --raw or --system")
    prompt_text = _prompt_text(text)
    settings = read_settings()
    engine_options, key = EngineOptions(engine, provider, verbose), KeyOptions(key_file, key_command)
    name, path = choose_model(settings, model, yes=yes, may_be_onnx=True, trust=trust)
    prompt = _prompt(prompt_text, system, raw=raw or not has_chat_template(path))
    chosen = choose_for_speed(
        settings,
        name,
        path,
        min_speed=min_speed,
        kv=kv,
        memory_bytes=memory,
        need=lambda progress: _need(settings, path, prompt, max_tokens, secret_for(path, settings, key), progress),
        key=key,
        quiet=json,
        is_onnx=is_onnx(settings, path, engine_options),
    )
    wished = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty,
        "seed": secrets.randbits(32) if seed is None else seed,  # drawn here so that --json can report it
    }
    sampling_params(chosen.path, **wished)  # a mistake is told before anything is opened
    notes = VersionNotes()
    used = [chosen.path, *adapter_paths(settings, adapter)]
    for one in used:
        notes.opening(one)
    with closing(
        open_engine(
            settings,
            chosen.path,
            kv=chosen.kv,
            kv_bytes=chosen.kv_bytes,
            memory_bytes=memory,
            prefix_cache=prefix_cache,
            speculation=speculation,
            temperature_limit_c=temperature_limit,
            engine=engine_options,
            key=key,
            adapter=adapter,
            quiet=json,
        )
    ) as opened:
        sampling = opened_sampling(opened, **wished)
        heat_note = HeatNote(Words(settings.language))
        if not json:
            heat_note.see(opened.thermal_status())
        with nullcontext() if json else heat_note.watching(opened.thermal_status):
            waiting = "" if json else Words(settings.language)(messages.READING_PROMPT)
            answer = _Answer(
                opened, prompt, max_tokens, sampling, tuple(stop or ()), quiet=json, floor=chosen.floor, waiting=waiting
            )
        for one in used:
            notes.answered(one)
        heat = opened.thermal_status()
        if not json:
            heat_note.see(heat)
        tell_change(opened.provider_choice, Words(settings.language), engine_options, quiet=json)
    if answer.was_cut and not json:
        note(Words(settings.language)(chat_messages.CUT_BY_ROOM if answer.had_no_room else messages.ANSWER_CUT))
    if not json and text and "-" not in text and is_piped_text_waiting():
        note(Words(settings.language)(chat_messages.NOT_READ))
    if json:
        with_adapter = {} if adapter is None else {"adapter": adapter}
        facts = {"model": chosen.name, **with_adapter, **answer.facts(), "seed": sampling.seed}
        print_json({**facts, **engine_facts(opened.provider_choice), **heat_facts(heat), **_speed_facts(chosen.floor)})


class _Answer:
    """Runs the prompt, printing the pieces as they come unless `quiet`, and keeps what --json reports."""

    def __init__(
        self,
        engine: Engine,
        prompt: Prompt,
        max_tokens: int,
        sampling: SamplingParams,
        stop: tuple[str, ...],
        *,
        quiet: bool,
        floor: SpeedFloor | None,
        waiting: str = "",
    ) -> None:
        self._events: list[TextEvent] = []
        self._max_tokens = max_tokens
        self._first_token_s: float | None = None
        printer = AnswerPrinter(waiting)
        start_s = time.perf_counter()
        self._num_prompt_tokens = len(engine.encode_prompt(prompt))
        try:
            for event in engine.stream_text(prompt, max_tokens=max_tokens, sampling=sampling, stop=stop):
                self._first_token_s = self._first_token_s or time.perf_counter() - start_s
                self._events.append(event)
                if floor is not None:
                    floor.see(event.num_tokens, time.perf_counter())
                if not quiet:
                    printer.write(event.text, event.reasoning)
        finally:
            printer.end()
            if floor is not None:
                floor.end()
        self._duration_s = time.perf_counter() - start_s

    @property
    def was_cut(self) -> bool:
        return self._events[-1].finish_reason == "length"

    @property
    def had_no_room(self) -> bool:
        """It was cut before its own limit: by the model's context, or what memory holds of it."""
        return self.was_cut and self._events[-1].num_tokens < self._max_tokens

    def facts(self) -> dict[str, object]:
        last = self._events[-1]
        return {
            "text": "".join(event.text for event in self._events),
            "reasoning": "".join(event.reasoning for event in self._events),
            "finish_reason": last.finish_reason,
            "prompt_tokens": self._num_prompt_tokens,
            "cached_tokens": last.num_cached_prompt_tokens,
            "completion_tokens": last.num_tokens,
            "first_token_s": self._first_token_s,
            "duration_s": self._duration_s,
        }


def _need(
    settings: Settings, path: Path, prompt: Prompt, max_tokens: int, secret: Secret | None, progress: Progress
) -> SpeedNeed:
    """The whole answer; if the context has to be cut, at least the beginning of one."""
    from pocketseek.govern.ladder import LEAST_CONTEXT_TOKENS
    from pocketseek.package.trust.gatekeeper import Gatekeeper
    from pocketseek.runtime.speed_plan import SpeedNeed, count_prompt_tokens

    num_prompt = count_prompt_tokens(path, prompt, progress, secret=secret, admit=Gatekeeper.of(settings).admit)
    least_tokens = max(LEAST_CONTEXT_TOKENS, num_prompt + min(max_tokens, _LEAST_ANSWER_TOKENS))
    return SpeedNeed(max_tokens=num_prompt + max_tokens, least_tokens=least_tokens)


def _speed_facts(floor: SpeedFloor | None) -> dict[str, object]:
    """Only with --min-speed."""
    return {} if floor is None else {"fallback": floor.fallback(), "decode_tokens_per_s": floor.tokens_per_s}


def _prompt_text(texts: Sequence[str] | None) -> str:
    """Texts are parted by a space, what was piped in by an empty line. Raises UsageError, FormatError."""
    if not texts and sys.stdin.isatty():
        raise UsageError('there is no prompt; give one: pocketseek generate MODEL "text", or pipe one in')
    parts = list(texts or ["-"])
    if parts.count("-") > 1:
        raise UsageError("standard input is read once; give - once")
    if "-" not in parts:
        found = " ".join(parts)
    else:
        place, piped = parts.index("-"), read_stdin()
        if not piped.strip():
            raise UsageError("the prompt is empty, standard input had no text; give some text")
        found = "\n\n".join(one for one in (" ".join(parts[:place]), piped, " ".join(parts[place + 1 :])) if one)
    if not found.strip():
        raise UsageError("the prompt is empty; give some text")
    return found


def _prompt(text: str, system: str | None, *, raw: bool) -> Prompt:
    if raw:
        if system is not None:
            raise UsageError(
                "this model has no chat template, so it cannot be given a system message; leave out --system"
            )
        return text
    return [*([Message("system", system)] if system else []), Message("user", text)]
