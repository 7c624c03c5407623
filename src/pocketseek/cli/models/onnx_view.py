"""`inspect` and `verify` of ONNX models: exports of ours, and models of other tools."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import typer

from pocketseek.cli import messages
from pocketseek.cli.console import format_bytes, print_json, print_table, print_text, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.cli.models import models_messages
from pocketseek.cli.run import onnx_messages
from pocketseek.errors import IntegrityError
from pocketseek.package.store import ModelStore
from pocketseek.runtime.onnx.export_description import read_about
from pocketseek.runtime.onnx.file_hashes import FilesReport, verify_export
from pocketseek.runtime.onnx.model_files import OnnxModel, is_onnx_model, read_model

Rows = list[tuple[str, str]]


def find_onnx_path(store: ModelStore, model: str) -> Path | None:
    """The ONNX model that is meant; None: a package. An installed name wins over a path, as everywhere."""
    path = Path(model).expanduser()
    return path if model and not store.is_installed(model) and is_onnx_model(path) else None


def inspect_onnx(path: Path, words: Words, *, json: bool) -> None:
    """Raises what `read_model` raises."""
    model = read_model(path)
    if json:
        print_json(onnx_facts(model))
        return
    rows = [
        (words(messages.COLUMN_NAME), model.name),
        (words(models_messages.COLUMN_PATH), str(model.folder)),
        (words(messages.COLUMN_SIZE), format_bytes(model.num_bytes)),
        (words(onnx_messages.MADE_BY), model.maker),
        (words(onnx_messages.STAGES), " ".join(stage.path.name for stage in model.stages)),
    ]
    described = {"model": dataclasses.asdict(model.config), **_about(model)}
    print_table(("", ""), rows + [row for title, value in described.items() for row in _flat(title, value)])


def onnx_facts(model: OnnxModel) -> dict[str, object]:
    return {
        "name": model.name,
        "path": str(model.folder),
        "maker": model.maker,
        "num_bytes": model.num_bytes,
        "stages": [stage.path.name for stage in model.stages],
        "files": sorted(path.name for path in model.sha256 or model.weight_files),
        "model": dataclasses.asdict(model.config),
        **_about(model),
    }


def verify_onnx(path: Path, words: Words, *, full: bool, json: bool) -> None:
    """Raises IntegrityError, and what `read_model` raises."""
    try:
        report = _report(path, words, full=full)
    except IntegrityError as error:
        if not json:
            raise
        print_json({"ok": False, "path": str(path), "error": str(error)})
        raise typer.Exit(IntegrityError.exit_code) from error
    if json:
        print_json({"ok": True, "path": str(path), **dataclasses.asdict(report)})
        return
    size = format_bytes(report.num_bytes)
    message = onnx_messages.VERIFIED_FULL if full else onnx_messages.VERIFIED_QUICK
    print_text(words(message, path=path, files=report.num_files, size=size, seconds=report.duration_s))


def _report(path: Path, words: Words, *, full: bool) -> FilesReport:
    model = read_model(path)
    label = words(messages.VERIFYING)
    with progress_bar() as show:
        return verify_export(model, lambda done, total: show(label, done, total), full=full)


def _about(model: OnnxModel) -> dict[str, object]:
    return dict(read_about(model.folder)) if model.maker == "pocketseek" else {}


def _flat(title: str, value: object) -> Rows:
    """Nested values as rows of dotted names; lists in one row."""
    if isinstance(value, dict):
        return [row for key, item in value.items() for row in _flat(f"{title}.{key}", item)]
    return [(title, str(value))]
