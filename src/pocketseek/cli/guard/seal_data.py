"""`seal`, `unseal` and `passwd` with --data: conversations, documents and what was read of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli.console import print_json, print_text, progress_bar
from pocketseek.cli.guard import seal_messages
from pocketseek.cli.guard.key_options import NEW_KEY_OPTIONS, KeyOptions, new_key, new_passphrase, tell_key_file
from pocketseek.cli.guard.state_key import data_secret
from pocketseek.cli.messages import Message, Words
from pocketseek.errors import UsageError
from pocketseek.package.sealing.data_seal import read_data_seal
from pocketseek.package.trust.audit import AuditLog
from pocketseek.settings import Settings, read_settings

if TYPE_CHECKING:
    from pocketseek.package.sealing.key_slots import Secret


def check_subject(model: str | None, *, data: bool) -> str | None:
    """The model that is meant; None: the data. Raises UsageError."""
    if data == (model is not None):
        raise UsageError("name a model, or give --data for your conversations and documents (one of the two)")
    return model


def seal_data_here(key: KeyOptions, new_key_file: Path | None, *, json: bool) -> None:
    from pocketseek.apps.data_sealing import seal_data

    settings = read_settings()
    words = Words(settings.language)
    found = read_data_seal(settings.home)
    get_secret: Callable[[], Secret]
    if found is None:
        get_secret = new_key(key.key_file, new_key_file, key.key_command) or _typed(settings, settings.passphrase)
    elif new_key_file is not None:
        raise UsageError("the data directory is sealed already, in part at least; give the key that it was sealed with")
    else:
        get_secret = partial(data_secret, settings, found, key)
    with ExitStack() as secrets, progress_bar() as show:
        label = words(seal_messages.SEALING)
        report = seal_data(
            settings,
            lambda: secrets.enter_context(closing(get_secret())),
            lambda done, total: show(label, done, total),
        )
    tell_key_file(new_key_file, words)
    _tell(settings, seal_messages.DATA_SEALED, "data-sealed", "sealed", report.num_databases, json=json)


def unseal_data_here(key: KeyOptions, *, json: bool) -> None:
    from pocketseek.apps.data_sealing import unseal_data

    settings = read_settings()
    words = Words(settings.language)
    found = read_data_seal(settings.home)
    if found is None:
        raise UsageError("the data directory is not sealed; there is nothing to unseal")
    with closing(data_secret(settings, found, key)) as secret, progress_bar() as show:
        label = words(seal_messages.UNSEALING)
        report = unseal_data(settings, secret, lambda done, total: show(label, done, total))
    _tell(settings, seal_messages.DATA_UNSEALED, "data-unsealed", "plain", report.num_databases, json=json)


def change_data_here(
    key: KeyOptions, get_new: Callable[[], Secret] | None, new_key_file: Path | None, *, json: bool
) -> None:
    """get_new: None: a passphrase."""
    from pocketseek.package.sealing.data_seal import change_data_secret

    settings = read_settings()
    found = read_data_seal(settings.home)
    if found is None:
        raise UsageError("the data directory is not sealed; seal it first (`pocketseek seal --data`)")
    chosen = get_new or _typed(settings, settings.new_passphrase, "POCKETSEEK_NEW_PASSPHRASE", NEW_KEY_OPTIONS)
    with ExitStack() as secrets:
        secret = secrets.enter_context(closing(data_secret(settings, found, key)))
        change_data_secret(settings.home, secret, lambda: secrets.enter_context(closing(chosen())))
    tell_key_file(new_key_file, Words(settings.language))
    _tell(settings, seal_messages.DATA_CHANGED, "data-secret-changed", "sealed", 0, json=json)


def _typed(
    settings: Settings,
    known: str | None,
    variable: str = "POCKETSEEK_PASSPHRASE",
    options: str = "--key-file or --new-key-file",
) -> Callable[[], Secret]:
    name = Words(settings.language)(seal_messages.YOUR_DATA)
    return partial(new_passphrase, name, settings, known, variable, options)


def _tell(settings: Settings, said: Message, event: str, state: str, num_databases: int, *, json: bool) -> None:
    AuditLog(settings.audit_path).note(event)
    if json:
        print_json({"path": str(settings.home), "state": state, "num_databases": num_databases})
        return
    words = Words(settings.language)
    found = read_data_seal(settings.home)
    kinds = {slot.kind for slot in found.slots} if found else set()
    what = seal_messages.WHAT_PASSPHRASE if "passphrase" in kinds else seal_messages.WHAT_KEY
    print_text(words(said, what=words(what)))
