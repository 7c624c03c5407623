"""`pocketseek models`: what is installed."""

from __future__ import annotations

import sys
from math import prod
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.console import format_bytes, note, print_json, print_table, print_text
from pocketseek.cli.guard import seal_messages, trust_messages
from pocketseek.cli.guard.seal_view import is_sealed
from pocketseek.cli.guard.trust_view import day, look_by_path, short, trust_facts
from pocketseek.cli.messages import Words
from pocketseek.cli.models import convert_messages, models_messages, pull_messages, update_messages
from pocketseek.cli.models.parts_view import part_facts, show_parts, tell_of_parts
from pocketseek.cli.models.previous_view import previous_facts
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.package.manifest import Manifest
    from pocketseek.package.store import BrokenModel, InstalledModel
    from pocketseek.package.trust.judge import TrustState


def models(
    parts: Annotated[bool, typer.Option("--parts", help="List the speech parts instead.")] = False,
    json: options.Json = False,
) -> None:
    """List the installed models."""
    from pocketseek.package.store import ModelStore
    from pocketseek.package.trust.gatekeeper import Gatekeeper

    settings = read_settings()
    store, gate = ModelStore(settings.models_dir), Gatekeeper.of(settings)
    installed, broken, unfinished = store.list(), store.list_broken(), store.list_unfinished()
    speech = store.list_parts()
    if json:
        print_json(
            {
                "models": [_facts(model, look_by_path(gate, model.path, model.manifest)) for model in installed],
                "speech_parts": [part_facts(part, gate) for part in speech],
                "broken": [{"name": m.name, "path": str(m.path), "reason": m.reason} for m in broken],
                "unfinished": [
                    {"name": m.name, "num_bytes": m.num_bytes, "download": m.is_download} for m in unfinished
                ],
            }
        )
        return
    words = Words(settings.language)
    if parts:
        show_parts(speech, gate, words)
        return
    for one in unfinished:
        message = pull_messages.UNFINISHED_DOWNLOAD if one.is_download else convert_messages.UNFINISHED
        note(words(message, name=one.name, size=format_bytes(one.num_bytes)))
    if not installed and not broken:
        print_text(words(models_messages.NO_MODELS))
        tell_of_parts(len(speech), words)
        return
    columns = (
        messages.COLUMN_NAME,
        models_messages.COLUMN_FAMILY,
        models_messages.COLUMN_WEIGHTS,
        messages.COLUMN_SIZE,
        models_messages.COLUMN_CONTEXT,
        models_messages.COLUMN_FORMATS,
        trust_messages.COLUMN_SIGNED,
        pull_messages.VERIFIED,
    )
    rows = [_row(model, look_by_path(gate, model.path, model.manifest), words) for model in installed]
    # A script finds the reason in the row; a person below the table, where it is not squeezed into a column.
    for model in broken:
        in_row = ("", "", words(models_messages.BROKEN)) if sys.stdout.isatty() else (f"broken: {model.reason}", "", "")
        rows.append((model.name, *in_row, "", "", "", ""))
    print_table([words(column) for column in columns], rows, essential=(0, 3))
    for kept in installed:
        if previous_facts(kept.path) is not None:
            note(words(update_messages.PREVIOUS_LISTED, name=kept.name))
    tell_of_parts(len(speech), words)
    for model in broken:
        note(describe_broken(model, words))


def describe_broken(model: BrokenModel, words: Words) -> str:
    """One line: what is wrong with it (without the remedy that the error came with) and what to do."""
    from pocketseek.apps.repository.state import can_be_repaired

    message = models_messages.BROKEN_REPAIR if can_be_repaired(model.path) else models_messages.BROKEN_REMEDY
    return words(message, name=model.name, reason=model.reason.rpartition("; ")[0] or model.reason)


def tensor_formats(manifest: Manifest) -> list[str]:
    """Formats of the matrices, the most used (by weights) first."""
    sizes: dict[str, int] = {}
    for tensor in manifest.tensors:
        if len(tensor.shape) > 1:
            sizes[tensor.format] = sizes.get(tensor.format, 0) + prod(tensor.shape)
    return sorted(sizes, key=lambda name: -sizes[name])


def _facts(model: InstalledModel, state: TrustState | str) -> dict[str, object]:
    from pocketseek.package.marker import marked_s

    return {
        "name": model.name,
        "path": str(model.path),
        "num_bytes": model.num_bytes,
        "family": model.manifest.model.family,
        "num_weights": model.manifest.num_parameters,
        "context_length": model.manifest.model.context_length,
        "formats": tensor_formats(model.manifest),
        "sealed": is_sealed(model.path),
        "previous": previous_facts(model.path),
        "version": model.manifest.version,
        "verified": marked_s(model.path, model.manifest),
        "trust": {"status": "unchecked", "problem": state} if isinstance(state, str) else trust_facts(state),
    }


def _row(model: InstalledModel, state: TrustState | str, words: Words) -> tuple[str, ...]:
    sealed = (words(seal_messages.LISTED),) if is_sealed(model.path) else ()
    return (
        model.name,
        model.manifest.model.family,
        f"{model.manifest.num_parameters / 1e6:.0f} M",
        format_bytes(model.num_bytes),
        str(model.manifest.model.context_length),
        " ".join((*tensor_formats(model.manifest), *sealed)),
        "?" if isinstance(state, str) else short(state, words),
        words(seal_messages.CHECKED) if sealed else _checked_day(model),
    )


def _checked_day(model: InstalledModel) -> str:
    """When every byte was found right; empty if that was never, or it was changed since."""
    from pocketseek.package.marker import marked_s

    time_s = marked_s(model.path, model.manifest)
    return "" if time_s is None else day(time_s)
