"""`pocketseek passwd MODEL`: change what opens a sealed model."""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pocketseek.cli import options
from pocketseek.cli.console import print_json, print_text
from pocketseek.cli.guard import seal_messages
from pocketseek.cli.guard.key_options import (
    NEW_KEY_OPTIONS,
    KeyOptions,
    PresentKeyCommand,
    PresentKeyFile,
    needed_secret,
    new_key,
    new_passphrase,
    tell_key_file,
)
from pocketseek.cli.guard.seal_view import what_opens
from pocketseek.cli.messages import Words
from pocketseek.errors import UsageError
from pocketseek.settings import read_settings

_NEW_PASSPHRASE = "POCKETSEEK_NEW_PASSPHRASE"


def passwd(
    model: options.SealedName = None,
    data: options.DataInstead = False,
    key_file: PresentKeyFile = None,
    key_command: PresentKeyCommand = None,
    to_key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Open it with this file from now on.", show_default=False)
    ] = None,
    new_key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Make a key file, and open it with that.", show_default=False)
    ] = None,
    to_key_command: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Open it with what this prints.", show_default=False)
    ] = None,
    json: options.Json = False,
) -> None:
    """Change the passphrase or key of a sealed model, or (--data) of your conversations and documents. Nothing is
    encrypted anew: after a passphrase became known to others, unseal and seal. Passphrases are asked for, or come from
    POCKETSEEK_PASSPHRASE (the present one) and POCKETSEEK_NEW_PASSPHRASE; of the data, POCKETSEEK_DATA_KEY may name the
    present key file."""
    from pocketseek.cli.guard.seal_data import change_data_here, check_subject

    model = check_subject(model, data=data)
    if model is None:
        get_new_key = new_key(to_key_file, new_key_file, to_key_command)
        return change_data_here(KeyOptions(key_file, key_command), get_new_key, new_key_file, json=json)
    from pocketseek.package.sealing.in_place import change_secret
    from pocketseek.package.sealing.seal_record import read_record
    from pocketseek.package.store import ModelStore
    from pocketseek.package.trust.audit import AuditLog

    settings = read_settings()
    words = Words(settings.language)
    path = ModelStore(settings.models_dir).resolve(model)
    if read_record(path) is None:
        raise UsageError(f"{model} is not sealed; seal it first (`pocketseek seal {model}`)")
    get_new = new_key(to_key_file, new_key_file, to_key_command)
    if get_new is None:
        get_new = partial(
            new_passphrase, path.name, settings, settings.new_passphrase, _NEW_PASSPHRASE, NEW_KEY_OPTIONS
        )
    with ExitStack() as secrets:
        secret = secrets.enter_context(closing(needed_secret(path, settings, KeyOptions(key_file, key_command))))
        change_secret(path, secret, lambda: secrets.enter_context(closing(get_new())))
    AuditLog(settings.audit_path).note("model-secret-changed", model=path.name)
    tell_key_file(new_key_file, words)
    if json:
        print_json({"name": path.name, "path": str(path), "state": "sealed"})
    else:
        print_text(words(seal_messages.CHANGED, name=path.name, what=words(what_opens(path))))
