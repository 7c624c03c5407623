"""`pocketseek inspect MODEL`: what a package, or an ONNX model, says about itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import messages, options, seal_messages, trust_messages
from pocketseek.cli.console import format_bytes, print_json, print_table, print_text
from pocketseek.cli.messages import Words
from pocketseek.cli.models_cmd import tensor_formats
from pocketseek.cli.quality_view import held_out_lines
from pocketseek.cli.seal_view import sealed_facts, sealed_line
from pocketseek.cli.trust_view import describe, look_safely, moment, trust_facts
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.package.manifest import Manifest
    from pocketseek.package.trust import TrustState


def inspect(
    model: options.ModelName,
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor instead.")] = False,
    json: options.Json = False,
) -> None:
    """Show a model's shape, formats, quality report and origin."""
    from pocketseek.cli.onnx_view import find_onnx_path, inspect_onnx
    from pocketseek.package.gatekeeper import Gatekeeper
    from pocketseek.package.manifest import parse_manifest_of, read_manifest_bytes
    from pocketseek.package.store import ModelStore

    settings = read_settings()
    words = Words(settings.language)
    store = ModelStore(settings.models_dir)
    if (export := find_onnx_path(store, model)) is not None:
        inspect_onnx(export, words, json=json)
        return
    path = store.resolve(model)
    data = read_manifest_bytes(path)
    manifest = parse_manifest_of(path, data)
    state = look_safely(Gatekeeper.of(settings), path, data, manifest)
    if json:
        print_json(_facts(path, manifest, state))
    elif tensors:
        columns = (messages.COLUMN_TENSOR, messages.COLUMN_SHAPE, messages.COLUMN_FORMAT)
        print_table(
            [words(column) for column in columns],
            [(tensor.name, "x".join(map(str, tensor.shape)), tensor.format) for tensor in manifest.tensors],
        )
    else:
        print_table(("", ""), _rows(path, manifest, state, words))
        for line in held_out_lines(manifest.quality, words):
            print_text(line)


def _facts(path: Path, manifest: Manifest, state: TrustState | str) -> dict[str, object]:
    from pocketseek.package.marker import marked_s

    return {
        "name": manifest.name,
        "path": str(path),
        "version": manifest.version,
        "trust": {"status": "unchecked", "problem": state} if isinstance(state, str) else trust_facts(state),
        "verified": marked_s(path, manifest),
        "num_bytes": manifest.num_bytes,
        "sealed": sealed_facts(path, manifest),
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


def _rows(path: Path, manifest: Manifest, state: TrustState | str, words: Words) -> list[tuple[str, str]]:
    from pocketseek.package.marker import marked_s

    verified_s = marked_s(path, manifest)
    signature = words(trust_messages.UNCHECKED, reason=state) if isinstance(state, str) else describe(state, words)
    verified = words(trust_messages.NOT_VERIFIED) if verified_s is None else moment(verified_s)
    rows = [
        (words(messages.COLUMN_NAME), manifest.name),
        (words(messages.COLUMN_PATH), str(path)),
        (words(messages.COLUMN_SIZE), format_bytes(manifest.num_bytes)),
        (words(seal_messages.STATE), sealed_line(path, manifest, words)),
        (words(messages.COLUMN_WEIGHTS), f"{manifest.num_parameters / 1e6:.1f} M"),
        (words(messages.COLUMN_FORMATS), " ".join(tensor_formats(manifest))),
        (words(trust_messages.COLUMN_VERSION), str(manifest.version) if manifest.version else "-"),
        (words(trust_messages.COLUMN_SIGNATURE), signature),
        (words(trust_messages.COLUMN_VERIFIED), verified),
    ]
    for title, values in (
        ("model", dataclasses.asdict(manifest.model)),
        ("recipe", manifest.recipe),
        ("quality", {key: value for key, value in manifest.quality.items() if key != "held_out"}),
        ("provenance", manifest.provenance),
    ):
        rows += _flat(title, values)
    return rows


def _flat(title: str, value: object) -> list[tuple[str, str]]:
    """Nested values as rows of dotted names."""
    if isinstance(value, Mapping):
        return [row for key, item in value.items() for row in _flat(f"{title}.{key}", item)]
    return [(title, str(value))]
