"""`pocketseek` alone: what is here, and what to do next."""

from __future__ import annotations

from pocketseek import __version__
from pocketseek.cli import messages
from pocketseek.cli.console import format_bytes, print_text
from pocketseek.cli.messages import Words
from pocketseek.cli.models_cmd import describe_broken
from pocketseek.device.probe import DeviceFacts, check_device
from pocketseek.settings import read_settings


def start() -> None:
    from pocketseek.package.store import ModelStore

    settings = read_settings()
    words = Words(settings.language)
    store = ModelStore(settings.models_dir)
    names = [model.name for model in store.list()]
    print_text(words(messages.START_TITLE, version=__version__) + "\n")
    print_text(words(messages.START_DEVICE, device=_summary(check_device(data_dir=settings.home), words)))
    print_text(words(messages.START_MODELS, models=", ".join(names) or words(messages.NONE)))
    for model in store.list_broken():
        print_text(describe_broken(model, words))
    print_text("")
    print_text(words(messages.START_NEXT))
    for command, message in _next_steps(names):
        print_text(f"  {command:<42} {words(message)}")


def _summary(facts: DeviceFacts, words: Words) -> str:
    memory = words(
        messages.DEVICE_MEMORY_VALUE,
        available=format_bytes(facts.memory_available_bytes),
        total=format_bytes(facts.memory_total_bytes),
    )
    name = facts.phone_model or facts.cpu_model or facts.architecture or words(messages.UNKNOWN)
    return f"{name}; {memory}"


def _next_steps(names: list[str]) -> list[tuple[str, messages.Message]]:
    if not names:
        steps = [("pocketseek chat demo", messages.START_TRY_DEMO)]
    else:
        steps = [
            (f"pocketseek chat {names[0]}", messages.START_CHAT),
            (f'pocketseek generate {names[0]} "..."', messages.START_GENERATE),
        ]
    return [
        *steps,
        ("pocketseek convert FILE.gguf", messages.START_CONVERT),
        ("pocketseek --help", messages.START_HELP),
    ]
