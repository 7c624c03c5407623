"""`pocketseek device`: the plain facts of this machine, and the kernels that follow from them."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.console import format_bytes, print_json, print_table
from pocketseek.cli.messages import Words
from pocketseek.cli.models_verdict import show_verdict
from pocketseek.cli.sensors_view import show_sensors
from pocketseek.device.probe import DeviceFacts, check_device
from pocketseek.errors import NativeCoreError, UsageError
from pocketseek.settings import Settings, read_settings


def device(
    sensors: Annotated[bool, typer.Option("--sensors", help="Show temperatures, battery and frequencies now.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show them again every second until Ctrl-C.")] = False,
    models: Annotated[bool, typer.Option("--models", help="Show which models fit here, and how fast.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure memory, arithmetic and storage first (some seconds); kept.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Show what this machine is: processor, memory, storage, system."""
    settings = read_settings()
    if sensors or watch:
        show_sensors(settings.language, json=json, watch=watch)
        return
    if models or measure:
        show_verdict(settings, measure=measure, as_json=json)
        return
    facts = check_device(data_dir=settings.home)
    kernels, reason = kernels_here(settings)
    if json:
        found = {**dataclasses.asdict(facts), "data_dir": str(facts.data_dir)}
        print_json(found | {"kernels": kernels, "kernels_reason": reason})
        return
    words = Words(settings.language)
    chosen = f"{kernels or words(messages.NONE)}: {reason}"
    print_table(("", ""), [*_rows(facts, words), (words(messages.DEVICE_KERNELS), chosen)])


def kernels_here(settings: Settings) -> tuple[str | None, str]:
    """Which kernels a model would run on, and why; (None, what is wrong) if on none."""
    from pocketseek.kernels.choose import choose_kernels

    try:
        choice = choose_kernels(settings.kernels)
    except (NativeCoreError, UsageError) as error:  # a finding here, not the end of the command
        return None, str(error)
    return choice.name, choice.reason


def _rows(facts: DeviceFacts, words: Words) -> list[tuple[str, str]]:
    unknown = words(messages.UNKNOWN)
    usable, fast = facts.usable_cores, facts.performance_cores
    cores = words(
        messages.DEVICE_CORES_VALUE,
        usable=len(usable) if usable else unknown,
        fast=len(fast) if fast else unknown,
    )
    memory = words(
        messages.DEVICE_MEMORY_VALUE,
        available=format_bytes(facts.memory_available_bytes, unknown),
        total=format_bytes(facts.memory_total_bytes, unknown),
    )
    free = format_bytes(facts.storage_free_bytes, unknown)
    rows = [
        (messages.DEVICE_PHONE, facts.phone_model),
        (messages.DEVICE_CHIP, facts.soc_model),
        (messages.DEVICE_PROCESSOR, f"{facts.cpu_model or unknown} ({facts.architecture})"),
        (messages.DEVICE_CORES, cores),
        (messages.DEVICE_QUOTA, f"{facts.cpu_quota:g}" if facts.cpu_quota else None),
        (messages.DEVICE_SETS, _joined(facts.instruction_sets, words)),
        (messages.DEVICE_MEMORY, memory),
        (messages.DEVICE_LIMIT, format_bytes(facts.memory_limit_bytes) if facts.memory_limit_bytes else None),
        (messages.DEVICE_STORAGE, words(messages.DEVICE_STORAGE_VALUE, free=free, path=facts.data_dir)),
        (messages.DEVICE_SYSTEM, _system(facts) or unknown),
    ]
    return [(words(label), value) for label, value in rows if value is not None]


def _joined(names: tuple[str, ...] | None, words: Words) -> str:
    if names is None:
        return words(messages.UNKNOWN)
    return " ".join(names) or words(messages.NONE)


def _system(facts: DeviceFacts) -> str:
    android = f"Android {facts.android_version}" if facts.android_version else None
    kernel = f"Linux {facts.kernel_release}" if facts.kernel_release else None
    return ", ".join(part for part in (android, "Termux" if facts.termux else None, facts.os_name, kernel) if part)
