"""`pocketseek inspect MODEL`: what a package, or an ONNX model, says about itself."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.console import format_bytes, print_json, print_table, print_text
from pocketseek.cli.messages import Words
from pocketseek.cli.models_cmd import tensor_formats
from pocketseek.cli.quality_view import quality_lines
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.package.manifest import Manifest


def inspect(
    model: options.ModelName,
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor instead.")] = False,
    json: options.Json = False,
) -> None:
    """Show a model's shape, formats, quality report and origin."""
    from pocketseek.cli.onnx_view import find_onnx_path, inspect_onnx
    from pocketseek.package.manifest import read_manifest
    from pocketseek.package.store import ModelStore

    settings = read_settings()
    words = Words(settings.language)
    store = ModelStore(settings.models_dir)
    if (export := find_onnx_path(store, model)) is not None:
        inspect_onnx(export, words, json=json)
        return
    path = store.resolve(model)
    manifest = read_manifest(path)
    if json:
        print_json(_facts(path, manifest))
    elif tensors:
        columns = (messages.COLUMN_TENSOR, messages.COLUMN_SHAPE, messages.COLUMN_FORMAT)
        print_table(
            [words(column) for column in columns],
            [(tensor.name, "x".join(map(str, tensor.shape)), tensor.format) for tensor in manifest.tensors],
        )
    else:
        print_table(("", ""), _rows(path, manifest, words))
        for line in quality_lines(manifest.quality, words):
            print_text(line if sys.stdout.isatty() else f"quality\t{line}")


def _facts(path: Path, manifest: Manifest) -> dict[str, object]:
    return {
        "name": manifest.name,
        "path": str(path),
        "num_bytes": manifest.num_bytes,
        "num_weights": manifest.num_parameters,
        "formats": tensor_formats(manifest),
        "num_chunks": len(manifest.unique_chunks()),
        "files": sorted(manifest.files),
        "model": dataclasses.asdict(manifest.model),
        "recipe": dict(manifest.recipe),
        "quality": dict(manifest.quality),
        "provenance": dict(manifest.provenance),
        "tensors": [
            {"name": tensor.name, "shape": list(tensor.shape), "format": tensor.format, "stage": tensor.stage}
            for tensor in manifest.tensors
        ],
    }


def _rows(path: Path, manifest: Manifest, words: Words) -> list[tuple[str, str]]:
    """All but the quality report, which is told in sentences."""
    rows = [
        (words(messages.COLUMN_NAME), manifest.name),
        (words(messages.COLUMN_PATH), str(path)),
        (words(messages.COLUMN_SIZE), format_bytes(manifest.num_bytes)),
        (words(messages.COLUMN_WEIGHTS), f"{manifest.num_parameters / 1e6:.1f} M"),
        (words(messages.COLUMN_FORMATS), " ".join(tensor_formats(manifest))),
    ]
    for title, values in (
        ("model", dataclasses.asdict(manifest.model)),
        ("recipe", manifest.recipe),
        ("provenance", manifest.provenance),
    ):
        rows += _flat(title, values)
    return rows


def _flat(title: str, value: object) -> list[tuple[str, str]]:
    """Nested values as rows of dotted names."""
    if isinstance(value, Mapping):
        return [row for key, item in value.items() for row in _flat(f"{title}.{key}", item)]
    return [(title, str(value))]
