"""What is said about all commands in one place: the groups of `pocketseek --help`, the examples below each --help."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

from typer import Typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command
from typer.models import CommandInfo

from pocketseek.cli.examples import EXAMPLES
from pocketseek.errors import UsageError

# Commands by what a person wants to do; one that is not named here is among the last.
PANELS: dict[str, tuple[str, ...]] = {
    "Talk and ask": ("chat", "generate", "doc", "voice", "serve", "token"),
    "Models": ("pull", "convert", "models", "inspect", "verify", "remove", "update", "rollback", "diff", "export"),
    "Teach them": ("adapt",),
    "Guard them": ("seal", "unseal", "passwd", "keygen", "sign", "trust", "audit"),
    "This device": ("device", "doctor", "bench", "eval", "completion"),
}
_REST = "More"
_GROUP_EXAMPLES = 3

program = cache(get_command)
"""Of an app after `dress`: what parses words. Made once, since making it takes a noticeable part of a start."""


class Commands(TyperGroup):
    """In the order of the panels, which is that of the pages about them; of its own Typer puts groups last."""

    def list_commands(self, ctx: Any) -> list[str]:  # click's or Typer's own context, by version
        places = {name: place for place, name in enumerate(name for names in PANELS.values() for name in names)}
        return sorted(super().list_commands(ctx), key=lambda name: places.get(name, len(places)))


class Command(TyperCommand):
    """Numbers are finite: nan is neither below a least value nor above a largest one, so `min=` lets it pass."""

    def invoke(self, ctx: Any) -> Any:
        """Raises UsageError."""
        for parameter in self.params:
            value = ctx.params.get(parameter.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"{parameter.opts[0]} is {value}, which is no number to work with; give a finite one")
        return super().invoke(ctx)


def dress(app: Typer) -> None:
    """Add panels, examples and the check of numbers to every command that was registered; once, after all of them."""
    app.info.epilog = _with_examples("", "")
    for command in app.registered_commands:
        command.rich_help_panel = _panel(command.name)
    for group in app.registered_groups:
        group.rich_help_panel = _panel(group.name)
    _dress_all(app, "")


def _dress_all(app: Typer, before: str) -> None:
    """before: the words after the program's name that lead to the group."""
    for command in app.registered_commands:
        _dress_command(command, f"{before}{command.name}")
    for group in app.registered_groups:
        name = f"{before}{group.name}"
        if group.typer_instance is not None:
            _dress_all(group.typer_instance, f"{name} ")
        group.epilog = _paragraphs(EXAMPLES.get(name) or _of_its_commands(name))


def commands(root: TyperGroup) -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
    """(words after the program's name, command) of every command that a person sees, groups too; the program is ""."""
    yield "", root
    yield from _inner_commands(root, "")


def _inner_commands(group: TyperGroup, before: str) -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
    for name, command in group.commands.items():
        if command.hidden or not isinstance(command, TyperCommand | TyperGroup):
            continue
        yield f"{before}{name}", command
        if isinstance(command, TyperGroup):
            yield from _inner_commands(command, f"{before}{name} ")


def _panel(name: str | None) -> str:
    return next((panel for panel, names in PANELS.items() if name in names), _REST)


def _dress_command(command: CommandInfo, name: str) -> None:
    """In lists of commands, the first sentence is enough."""
    command.cls = Command
    command.epilog = _with_examples(name, command.epilog or "")
    text = " ".join(((command.callback and command.callback.__doc__) or "").split())
    command.short_help = text.partition(". ")[0].rstrip(".") + "."


def _of_its_commands(group: str) -> tuple[str, ...]:
    """For a group that does nothing itself: an example of each of its first commands."""
    inner = [examples[0] for name, examples in EXAMPLES.items() if name.startswith(f"{group} ")]
    return tuple(inner[:_GROUP_EXAMPLES])


def _with_examples(name: str, epilog: str) -> str:
    return _paragraphs(EXAMPLES.get(name, ()), epilog)


def _paragraphs(examples: tuple[str, ...], epilog: str = "") -> str:
    """Which is what keeps lines apart in help."""
    heading = "Example:" if len(examples) == 1 else "Examples:"
    shown = [heading, *(f"$ {example}" for example in examples)] if examples else []
    return "\n\n".join([*shown, *([epilog] if epilog else [])])
