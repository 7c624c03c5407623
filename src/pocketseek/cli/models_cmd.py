"""`pocketseek models`: what is installed."""

from __future__ import annotations

import sys
from math import prod
from typing import TYPE_CHECKING

from pocketseek.cli import convert_messages, messages, options, pull_messages
from pocketseek.cli.console import format_bytes, note, print_json, print_table, print_text
from pocketseek.cli.messages import Words
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.package.manifest import Manifest
    from pocketseek.package.store import BrokenModel, InstalledModel


def models(json: options.Json = False) -> None:
    """List the installed models."""
    from pocketseek.package.store import ModelStore

    settings = read_settings()
    store = ModelStore(settings.models_dir)
    installed, broken, unfinished = store.list(), store.list_broken(), store.list_unfinished()
    if json:
        print_json(
            {
                "models": [_facts(model) for model in installed],
                "broken": [{"name": m.name, "path": str(m.path), "reason": m.reason} for m in broken],
                "unfinished": [
                    {"name": m.name, "num_bytes": m.num_bytes, "download": m.is_download} for m in unfinished
                ],
            }
        )
        return
    words = Words(settings.language)
    for one in unfinished:
        message = pull_messages.UNFINISHED_DOWNLOAD if one.is_download else convert_messages.UNFINISHED
        note(words(message, name=one.name, size=format_bytes(one.num_bytes)))
    if not installed and not broken:
        print_text(words(messages.NO_MODELS))
        return
    columns = (
        messages.COLUMN_NAME,
        messages.COLUMN_FAMILY,
        messages.COLUMN_WEIGHTS,
        messages.COLUMN_SIZE,
        messages.COLUMN_CONTEXT,
        messages.COLUMN_FORMATS,
    )
    rows = [_row(model) for model in installed]
    # A script finds the reason in the row; a person below the table, where it is not squeezed into a column.
    for model in broken:
        in_row = ("", "", words(messages.BROKEN)) if sys.stdout.isatty() else (f"broken: {model.reason}", "", "")
        rows.append((model.name, *in_row, "", ""))
    print_table([words(column) for column in columns], rows, essential=(0, 3))
    for model in broken:
        note(describe_broken(model, words))


def describe_broken(model: BrokenModel, words: Words) -> str:
    """One line: what is wrong with it (without the remedy that the error came with) and what to do."""
    return words(messages.BROKEN_REMEDY, name=model.name, reason=model.reason.rpartition("; ")[0] or model.reason)


def tensor_formats(manifest: Manifest) -> list[str]:
    """Formats of the matrices, the most used (by weights) first."""
    sizes: dict[str, int] = {}
    for tensor in manifest.tensors:
        if len(tensor.shape) > 1:
            sizes[tensor.format] = sizes.get(tensor.format, 0) + prod(tensor.shape)
    return sorted(sizes, key=lambda name: -sizes[name])


def _facts(model: InstalledModel) -> dict[str, object]:
    return {
        "name": model.name,
        "path": str(model.path),
        "num_bytes": model.num_bytes,
        "family": model.manifest.model.family,
        "num_weights": model.manifest.num_parameters,
        "context_length": model.manifest.model.context_length,
        "formats": tensor_formats(model.manifest),
    }


def _row(model: InstalledModel) -> tuple[str, ...]:
    return (
        model.name,
        model.manifest.model.family,
        f"{model.manifest.num_parameters / 1e6:.0f} M",
        format_bytes(model.num_bytes),
        str(model.manifest.model.context_length),
        " ".join(tensor_formats(model.manifest)),
    )
