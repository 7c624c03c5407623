"""`pocketseek chat [MODEL]`: a conversation in the terminal."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from pocketseek.cli import options
from pocketseek.cli.messages import Words
from pocketseek.cli.min_speed import choose_for_speed
from pocketseek.cli.model_choice import choose_model, open_engine, sampling_params
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.runtime.speed_plan import SpeedNeed


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
    prefix_cache: options.PrefixCache = True,
    speculation: options.Speculation = True,
    yes: options.Yes = False,
) -> None:
    """Talk to a model. /help shows what can be typed; Ctrl-C stops an answer, Ctrl-D leaves."""
    from pocketseek.apps.chat import Chat
    from pocketseek.cli.conversation import Conversation

    settings = read_settings()
    name, path = choose_model(settings, model, yes=yes)
    chosen = choose_for_speed(
        settings, name, path, min_speed=min_speed, kv=kv, memory_bytes=memory, need=lambda _: _need(system or "")
    )
    sampling = sampling_params(
        chosen.path,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty,
        seed=seed,
    )
    with closing(
        open_engine(
            settings,
            chosen.path,
            kv=chosen.kv,
            kv_bytes=chosen.kv_bytes,
            memory_bytes=memory,
            prefix_cache=prefix_cache,
            speculation=speculation,
        )
    ) as engine:
        conversation = Chat(engine, system=system or "", max_tokens=max_tokens, sampling=sampling)
        Conversation(conversation, Words(settings.language), chosen.name, floor=chosen.floor).run()


def _need(system: str) -> SpeedNeed:
    """How long a conversation becomes is not known. A byte is a token at the most."""
    from pocketseek.govern.ladder import LEAST_CONTEXT_TOKENS
    from pocketseek.runtime.speed_plan import SpeedNeed

    return SpeedNeed(least_tokens=LEAST_CONTEXT_TOKENS + len(system.encode()))
