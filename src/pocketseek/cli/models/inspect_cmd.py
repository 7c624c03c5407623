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
from pocketseek.cli.guard import seal_messages, trust_messages
from pocketseek.cli.guard.seal_view import is_sealed, sealed_facts, sealed_line
from pocketseek.cli.guard.trust_view import describe, look_safely, moment, trust_facts
from pocketseek.cli.messages import Words
from pocketseek.cli.models import models_messages, pull_messages
from pocketseek.cli.models.models_cmd import tensor_formats
from pocketseek.cli.models.parts_view import manifest_facts, part_rows
from pocketseek.cli.models.previous_view import previous_facts, previous_rows
from pocketseek.cli.models.quality_view import quality_lines
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.apps.repository.state import PackageState
    from pocketseek.package.manifest import Manifest
    from pocketseek.package.trust.judge import TrustState


def inspect(
    model: options.ModelName,
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor instead.")] = False,
    json: options.Json = False,
) -> None:
    """Show a model's shape, formats, quality report and origin; of a speech part what it is for and what runs it."""
    from pocketseek.apps.repository.state import package_state
    from pocketseek.cli.models.onnx_view import find_onnx_path, inspect_onnx
    from pocketseek.package.manifest import parse_manifest_of, read_manifest_bytes
    from pocketseek.package.store import ModelStore
    from pocketseek.package.trust.gatekeeper import Gatekeeper

    settings = read_settings()
    words = Words(settings.language)
    store = ModelStore(settings.models_dir)
    if (export := find_onnx_path(store, model)) is not None:
        inspect_onnx(export, words, json=json)
        return
    path = store.resolve(model)
    data = read_manifest_bytes(path)
    manifest = parse_manifest_of(path, data)
    trust = look_safely(Gatekeeper.of(settings), path, data, manifest)
    state = package_state(path, manifest)
    if json:
        print_json({**_facts(path, manifest, trust), **_state_facts(state)})
    elif tensors:
        columns = (models_messages.COLUMN_TENSOR, models_messages.COLUMN_SHAPE, models_messages.COLUMN_FORMAT)
        print_table(
            [words(column) for column in columns],
            [(tensor.name, "x".join(map(str, tensor.shape)), tensor.format) for tensor in manifest.tensors],
        )
    else:
        print_table(("", ""), _rows(path, manifest, state, trust, words))
        for line in quality_lines(manifest.quality, words) if manifest.part is None else ():
            print_text(line if sys.stdout.isatty() else f"quality\t{line}")


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
        "previous": previous_facts(path),
        "num_chunks": len(manifest.unique_chunks()),
        "files": sorted(manifest.files),
        **(manifest_facts(manifest) if manifest.part is not None else _model_facts(manifest)),
    }


def _model_facts(manifest: Manifest) -> dict[str, object]:
    return {
        "num_weights": manifest.num_parameters,
        "num_active_weights": manifest.num_active_parameters,
        "formats": tensor_formats(manifest),
        "model": dataclasses.asdict(manifest.model),
        "recipe": dict(manifest.recipe),
        "quality": dict(manifest.quality),
        "provenance": dict(manifest.provenance),
        "tensors": [
            {"name": tensor.name, "shape": list(tensor.shape), "format": tensor.format, "stage": tensor.stage}
            for tensor in manifest.tensors
        ],
    }


def _state_facts(state: PackageState) -> dict[str, object]:
    return {
        "origin": None if state.origin is None else dataclasses.asdict(state.origin),
        "checked": {"num_chunks": state.num_checked, "since_s": state.checked_since_s},
        "damaged": list(state.damaged),
    }


def _state_rows(path: Path, manifest: Manifest, state: PackageState, words: Words) -> list[tuple[str, str]]:
    if state.checked_since_s is None:
        checked = words(pull_messages.CHECKED_NEVER)
    else:
        since = moment(state.checked_since_s)
        checked = words(pull_messages.CHECKED_ALL, since=since)
        if state.num_checked < state.num_chunks:
            checked = words(pull_messages.CHECKED_SOME, checked=state.num_checked, chunks=state.num_chunks, since=since)
    rows = [(words(pull_messages.VERIFIED), _verified(path, manifest, words)), (words(pull_messages.CHECKED), checked)]
    if state.origin is not None:
        origin = dataclasses.asdict(state.origin)
        rows.append((words(pull_messages.ORIGIN), words(pull_messages.ORIGIN_VALUE, **origin)))
    if state.damaged:
        value = words(pull_messages.DAMAGED_CHUNKS, chunks=len(state.damaged), name=path.name)
        rows.append((words(pull_messages.DAMAGED), value))
    if is_sealed(path):
        return rows
    size = format_bytes(manifest.num_bytes)
    return [*rows, (words(pull_messages.PUBLISH), words(pull_messages.PUBLISH_VALUE, size=size))]


def _verified(path: Path, manifest: Manifest, words: Words) -> str:
    from pocketseek.package.marker import marked_s

    if is_sealed(path):
        return words(seal_messages.CHECKED)
    time_s = marked_s(path, manifest)
    return words(pull_messages.NOT_VERIFIED) if time_s is None else moment(time_s)


def _rows(
    path: Path, manifest: Manifest, state: PackageState, trust: TrustState | str, words: Words
) -> list[tuple[str, str]]:
    """All but the quality report, which is told in sentences."""
    signature = words(trust_messages.UNCHECKED, reason=trust) if isinstance(trust, str) else describe(trust, words)
    rows = [
        (words(messages.COLUMN_NAME), manifest.name),
        (words(models_messages.COLUMN_PATH), str(path)),
        (words(messages.COLUMN_SIZE), format_bytes(manifest.num_bytes)),
        (words(seal_messages.STATE), sealed_line(path, manifest, words)),
        *_made_of(manifest, words),
        (words(trust_messages.COLUMN_VERSION), str(manifest.version) if manifest.version else "-"),
        (words(trust_messages.COLUMN_SIGNATURE), signature),
        *previous_rows(path, words),
        *_state_rows(path, manifest, state, words),
    ]
    model = {} if manifest.config is None else dataclasses.asdict(manifest.config)
    for title, values in (("model", model), ("recipe", manifest.recipe), ("provenance", manifest.provenance)):
        rows += _flat(title, values)
    return rows


def _made_of(manifest: Manifest, words: Words) -> list[tuple[str, str]]:
    if manifest.part is not None:
        return part_rows(manifest.part, words)
    return [
        (words(models_messages.COLUMN_WEIGHTS), f"{manifest.num_parameters / 1e6:.1f} M"),
        *_active(manifest, words),
        (words(models_messages.COLUMN_FORMATS), " ".join(tensor_formats(manifest))),
    ]


def _active(manifest: Manifest, words: Words) -> list[tuple[str, str]]:
    """Of a model with experts, what a token uses of it."""
    if (moe := manifest.model.moe) is None:
        return []
    weights = manifest.num_active_parameters / 1e6
    value = words(models_messages.ACTIVE_VALUE, weights=weights, chosen=moe.experts_per_token, experts=moe.num_experts)
    return [(words(models_messages.ACTIVE), value)]


def _flat(title: str, value: object) -> list[tuple[str, str]]:
    """Nested values as rows of dotted names; nothing of what a model does not have."""
    if isinstance(value, Mapping):
        if value.get("kind") == "none":  # of rope scaling: the other numbers mean nothing then
            value = {"kind": "none"}
        return [row for key, item in value.items() for row in _flat(f"{title}.{key}", item)]
    if value is None:
        return []
    if isinstance(value, list | tuple) and all(isinstance(item, Mapping) for item in value):
        return [(title, ", ".join(map(_in_one_line, value)))] if value else []
    return [(title, f"{value:.6g}" if isinstance(value, float) else str(value))]


def _in_one_line(facts: Mapping[str, object]) -> str:
    """Of a file: its name and size. Of anything else: all there is."""
    if set(facts) == {"name", "bytes"} and isinstance(num_bytes := facts["bytes"], int):
        return f"{facts['name']} ({format_bytes(num_bytes)})"
    return " ".join(f"{key}={value}" for key, value in facts.items())
