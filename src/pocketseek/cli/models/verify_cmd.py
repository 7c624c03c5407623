"""`pocketseek verify MODEL`: is every byte of a package, or of an export, what its manifest says?"""

from __future__ import annotations

import dataclasses
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.console import format_bytes, note, print_json, print_text, progress_bar
from pocketseek.cli.guard import seal_messages, trust_messages
from pocketseek.cli.guard.key_options import KeyCommand, KeyFile, KeyOptions, secret_at_hand, unlocked
from pocketseek.cli.messages import Words
from pocketseek.cli.models import models_messages, pull_messages
from pocketseek.cli.models.metered import check_metered
from pocketseek.errors import IntegrityError, UnsupportedError
from pocketseek.settings import Settings, read_network_settings, read_settings

if TYPE_CHECKING:
    from pocketseek.package.verify import Progress, VerifyReport


def verify(
    model: options.ModelName,
    full: Annotated[bool, typer.Option("--full/--quick", help="Hash every byte, or look at sizes and header.")] = True,
    repair: Annotated[
        bool, typer.Option("--repair", help="Replace what is damaged, from where the model came from.")
    ] = False,
    allow_metered: options.AllowMetered = False,
    key_file: KeyFile = None,
    key_command: KeyCommand = None,
    json: options.Json = False,
) -> None:
    """Check a model against its manifest, and the manifest against its signature, or an export against its model.json.
    A sealed model is checked without its key, or with it, if one is given, by decrypting all of it. Exit code 6: it is
    damaged, or was changed after it was signed; 4: the manifest itself cannot be read."""
    from pocketseek.cli.models.onnx_view import find_onnx_path, verify_onnx
    from pocketseek.package.store import ModelStore

    settings = read_settings()
    words = Words(settings.language)
    store = ModelStore(settings.models_dir)
    if (export := find_onnx_path(store, model)) is not None:
        verify_onnx(export, words, full=full, json=json)
        return
    path = store.resolve(model)
    key = KeyOptions(key_file, key_command)
    try:
        _check_signature(path, words)
        if repair:
            _repair(path, model, settings, key, words, allow_metered=allow_metered, json=json)
            return
        with progress_bar() as show:
            label = words(messages.VERIFYING)
            report = _verified(path, settings, key, lambda done, total: show(label, done, total), full=full)
    except IntegrityError as error:
        if not json:
            raise
        print_json({"ok": False, "path": str(path), "error": str(error)})
        raise typer.Exit(IntegrityError.exit_code) from error
    if json:
        print_json({"ok": True, "path": str(path), **dataclasses.asdict(report)})
        return
    message = models_messages.VERIFIED_FULL if full else models_messages.VERIFIED_QUICK
    if report.with_key:
        message = seal_messages.VERIFIED_WITH_KEY
    values = {
        "path": path,
        "chunks": report.num_chunks,
        "files": report.num_files,
        "size": format_bytes(report.num_bytes),
        "seconds": report.duration_s,
    }
    print_text(words(message, **values))


def _check_signature(path: Path, words: Words) -> None:
    """Who signed it is not asked here: whoever opens a model decides that."""
    from pocketseek.package.trust.gatekeeper import check_signature

    try:
        check_signature(path)
    except UnsupportedError as error:
        note(words(trust_messages.UNCHECKED, reason=error))


def _verified(path: Path, settings: Settings, key: KeyOptions, progress: Progress, *, full: bool) -> VerifyReport:
    """With the key only where one was given: of a sealed model, too, every byte can be checked without."""
    from pocketseek.package.sealing.verify_sealed import verify_with_key
    from pocketseek.package.verify import verify_package

    secret = secret_at_hand(path, settings, key) if full else None
    if secret is None:
        return verify_package(path, full=full, progress=progress)
    with closing(secret):
        return verify_with_key(path, secret, progress)


def _repair(
    path: Path,
    name: str,
    settings: Settings,
    key: KeyOptions,
    words: Words,
    *,
    allow_metered: bool,
    json: bool,
) -> None:
    from pocketseek.apps.repository.open_source import Link
    from pocketseek.apps.repository.repair import examine, repair

    with progress_bar() as show:
        label = words(messages.VERIFYING)
        damaged = examine(path, lambda done, total: show(label, done, total))
    # Asked for before the bar, and only if it is needed.
    with unlocked(path, settings, key) if damaged else nullcontext() as secret, progress_bar("transfer") as show:
        label = words(pull_messages.REPAIRING)
        repaired = repair(
            path,
            damaged,
            Link(read_network_settings()),
            models_dir=settings.models_dir,
            secret=secret,
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
