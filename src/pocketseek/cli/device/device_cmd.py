"""`pocketseek device`: the plain facts of this machine, and the kernels that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.console import print_facts, print_json
from pocketseek.cli.device import device_messages
from pocketseek.cli.device.device_json import device_object
from pocketseek.cli.device.device_view import short_rows, source_rows
from pocketseek.cli.device.models_verdict import show_verdict
from pocketseek.cli.device.sensors_view import show_sensors
from pocketseek.cli.messages import Words
from pocketseek.device.probe import check_device
from pocketseek.errors import NativeCoreError, UsageError
from pocketseek.settings import Settings, read_settings

Sources = Annotated[bool, typer.Option("--sources", help="List every fact with the place it was read.")]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Look at another root directory instead, such as a mounted phone image.",
        show_default=False,
    ),
]


def device(
    sources: Sources = False,
    root: Root = None,
    sensors: Annotated[bool, typer.Option("--sensors", help="Show temperatures, battery and frequencies now.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show them again every second until Ctrl-C.")] = False,
    models: Annotated[bool, typer.Option("--models", help="Show which models fit here, and how fast.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure memory, arithmetic and storage first (some seconds); kept.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Show what this machine is: chip, cores, memory, storage, system."""
    settings = read_settings()
    if root is not None and (sensors or watch or models or measure):
        raise UsageError("--root shows facts alone; leave out --sensors, --watch, --models and --measure")
    if sources + (sensors or watch) + (models or measure) > 1:
        raise UsageError("--sources, --sensors and --models are three screens; ask for one of them at a time")
    if sensors or watch:
        show_sensors(settings.language, json=json, watch=watch)
        return
    if models or measure:
        show_verdict(settings, measure=measure, as_json=json)
        return
    words = Words(settings.language)
    root = None if root is None or root.resolve() == Path("/") else root.resolve()
    facts = check_device(data_dir=settings.home) if root is None else check_device(root)
    if json:
        kernels, reason = kernels_here(settings) if root is None else (None, None)
        print_json(device_object(facts) | {"kernels": kernels, "kernels_reason": reason})
        return
    if sources:
        print_facts(source_rows(facts, words))
        return
    rows = short_rows(facts, words)
    if root is None:
        rows.append((words(device_messages.KERNELS), kernels_row(settings, words)))
    print_facts(rows)


def kernels_row(settings: Settings, words: Words) -> str:
    """Which kernels a model would run on, and why; or why on none."""
    kernels, reason = kernels_here(settings)
    if kernels is None:
        return f"{words(messages.NONE)}: {reason}"
    return words(device_messages.KERNELS_ASKED_FOR if settings.kernels else device_messages.KERNELS_BEST, name=kernels)


def kernels_here(settings: Settings) -> tuple[str | None, str]:
    """Which kernels a model would run on, and why; (None, what is wrong) if on none."""
    from pocketseek.kernels.choose import choose_kernels

    try:
        choice = choose_kernels(settings.kernels)
    except (NativeCoreError, UsageError) as error:  # a finding here, not the end of the command
        return None, str(error)
    return choice.name, choice.reason
