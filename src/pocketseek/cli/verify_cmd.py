"""`pocketseek verify MODEL`: is every byte of a package, or of an export, what its manifest says?"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from pocketseek.cli import messages, options, pull_messages
from pocketseek.cli.console import format_bytes, print_json, print_text, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.cli.metered import check_metered
from pocketseek.errors import IntegrityError
from pocketseek.settings import Settings, read_network_settings, read_settings


def verify(
    model: options.ModelName,
    full: Annotated[bool, typer.Option("--full/--quick", help="Hash every byte, or look at sizes and header.")] = True,
    repair: Annotated[
        bool, typer.Option("--repair", help="Replace what is damaged, from where the model came from.")
    ] = False,
    allow_metered: options.AllowMetered = False,
    json: options.Json = False,
) -> None:
    """Check a model against its manifest, or an export against its model.json. Exit code 6: it is damaged; 4: the
    manifest itself cannot be read."""
    from pocketseek.cli.onnx_view import find_onnx_path, verify_onnx
    from pocketseek.package.store import ModelStore
    from pocketseek.package.verify import verify_package

    settings = read_settings()
    words = Words(settings.language)
    store = ModelStore(settings.models_dir)
    if (export := find_onnx_path(store, model)) is not None:
        verify_onnx(export, words, full=full, json=json)
        return
    path = store.resolve(model)
    if repair:
        _repair(path, model, settings, words, allow_metered=allow_metered, json=json)
        return
    with progress_bar() as show:
        label = words(messages.VERIFYING)
        try:
            report = verify_package(path, full=full, progress=lambda done, total: show(label, done, total))
        except IntegrityError as error:
            if not json:
                raise
            print_json({"ok": False, "path": str(path), "error": str(error)})
            raise typer.Exit(IntegrityError.exit_code) from error
    if json:
        print_json({"ok": True, "path": str(path), **dataclasses.asdict(report)})
        return
    message = messages.VERIFIED_FULL if full else messages.VERIFIED_QUICK
    values = {
        "path": path,
        "chunks": report.num_chunks,
        "files": report.num_files,
        "size": format_bytes(report.num_bytes),
        "seconds": report.duration_s,
    }
    print_text(words(message, **values))


def _repair(path: Path, name: str, settings: Settings, words: Words, *, allow_metered: bool, json: bool) -> None:
    from pocketseek.apps.repository.open_source import Link
    from pocketseek.apps.repository.repair import examine, repair

    with progress_bar() as show:
        label = words(messages.VERIFYING)
        damaged = examine(path, lambda done, total: show(label, done, total))
    with progress_bar("transfer") as show:
        label = words(pull_messages.REPAIRING)
        repaired = repair(
            path,
            damaged,
            Link(read_network_settings()),
            models_dir=settings.models_dir,
            progress=lambda done, total: show(label, done, total),
            allow=lambda num_bytes: check_metered(words, num_bytes, allowed=allow_metered),
        )
    if json:
        print_json({"ok": True, "path": str(path), **dataclasses.asdict(repaired)})
    elif not damaged:
        print_text(words(pull_messages.NOTHING_DAMAGED, name=name))
    else:
        print_text(
            words(
                pull_messages.REPAIRED,
                name=name,
                chunks=repaired.num_chunks,
                files=repaired.num_files,
                address=repaired.address or words(pull_messages.THIS_MACHINE),
                fetched=format_bytes(repaired.fetched_bytes),
            )
        )
