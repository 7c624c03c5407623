"""`pocketseek seal MODEL`: encrypt an installed model where it lies."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import options
from pocketseek.cli.console import format_bytes, note, print_json, print_text, progress_bar
from pocketseek.cli.guard import seal_messages
from pocketseek.cli.guard.key_options import KeyOptions, needed_secret, new_key, new_passphrase, tell_key_file
from pocketseek.cli.guard.seal_view import what_opens
from pocketseek.cli.messages import Words
from pocketseek.errors import UsageError
from pocketseek.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from pocketseek.package.sealing.in_place import SealReport
    from pocketseek.package.sealing.key_slots import Secret

_PASSPHRASE = "POCKETSEEK_PASSPHRASE"


def seal(
    model: options.SealedName = None,
    data: options.DataInstead = False,
    key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A file of at least 32 random bytes, in place of a passphrase.", show_default=False
        ),
    ] = None,
    new_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Make such a file, and use it.", show_default=False),
    ] = None,
    key_command: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND", help="A program that prints such bytes, in place of a passphrase.", show_default=False
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Encrypt a model's weights and files in place, or (--data) your conversations and documents. It may be interrupted
    at any moment: the same command goes on, and about one chunk (100 MB) of free space is enough. The passphrase is
    asked for, or comes from POCKETSEEK_PASSPHRASE. The version before an update is removed, so `rollback` cannot bring
    it back."""
    from pocketseek.cli.guard.seal_data import check_subject, seal_data_here

    model = check_subject(model, data=data)
    if model is None:
        return seal_data_here(KeyOptions(key_file, key_command), new_key_file, json=json)
    from pocketseek.apps.repository.versions import has_previous
    from pocketseek.apps.sealing import seal_model
    from pocketseek.package.manifest import read_manifest
    from pocketseek.package.sealing.checks import plain_beside
    from pocketseek.package.sealing.ciphers import require_ciphers
    from pocketseek.package.sealing.seal_record import read_record
    from pocketseek.package.store import ModelStore
    from pocketseek.package.trust.audit import AuditLog

    settings = read_settings()
    words = Words(settings.language)
    path = ModelStore(settings.models_dir).resolve(model)
    get_secret: Callable[[], Secret]
    if read_record(path) is not None:
        if new_key_file is not None:
            raise UsageError(f"{model} is sealed already, in part at least; give the key that it was sealed with")
        get_secret = partial(needed_secret, path, settings, KeyOptions(key_file, key_command))
    else:
        require_ciphers()  # before anything is asked or a key file made
        get_secret = new_key(key_file, new_key_file, key_command) or _passphrase(path.name, settings)
    start_s, had_previous = time.perf_counter(), has_previous(path)
    with ExitStack() as secrets, progress_bar() as show:
        label = words(seal_messages.SEALING)
        report = seal_model(
            path,
            lambda: secrets.enter_context(closing(get_secret())),
            settings,
            lambda done, total: show(label, done, total),
        )
    AuditLog(settings.audit_path).note("model-sealed", model=path.name)
    tell_key_file(new_key_file, words)
    if json:
        print_json(seal_facts(path, report, time.perf_counter() - start_s))
    else:
        print_text(_told(path, report, words))
        if had_previous and not has_previous(path):
            print_text(words(seal_messages.PREVIOUS_GONE))
        for name, num_bytes in plain_beside(path, read_manifest(path)).items():
            note(words(seal_messages.PLAIN_BESIDE, name=name, size=format_bytes(num_bytes)))


def seal_facts(path: Path, report: SealReport, duration_s: float) -> dict[str, object]:
    """For --json, of `unseal` too."""
    return {
        "name": path.name,
        "path": str(path),
        "state": report.state,
        "cipher": report.cipher,
        "num_files": report.num_files,
        "num_bytes": report.num_bytes,
        "duration_s": duration_s,
    }


def _passphrase(name: str, settings: Settings) -> Callable[[], Secret]:
    """Typed now, before anything is locked."""
    secret = new_passphrase(name, settings, settings.passphrase, _PASSPHRASE)
    return lambda: secret


def _told(path: Path, report: SealReport, words: Words) -> str:
    if not report.num_files:
        return words(seal_messages.ALREADY_SEALED, name=path.name)
    return words(seal_messages.SEALED, name=path.name, cipher=report.cipher, what=words(what_opens(path)))
