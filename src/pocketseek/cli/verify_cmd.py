"""`pocketseek verify MODEL`: is every byte of a package, or of an export, what its manifest says?"""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.console import format_bytes, print_json, print_text, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.errors import IntegrityError
from pocketseek.settings import read_settings


def verify(
    model: options.ModelName,
    full: Annotated[bool, typer.Option("--full/--quick", help="Hash every byte, or look at sizes and header.")] = True,
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
