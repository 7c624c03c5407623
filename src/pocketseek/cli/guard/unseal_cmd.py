"""`pocketseek unseal MODEL`: make a sealed model plain again."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from pocketseek.cli import options
from pocketseek.cli.console import print_json, print_text, progress_bar
from pocketseek.cli.guard import seal_messages
from pocketseek.cli.guard.key_options import KeyOptions, PresentKeyCommand, PresentKeyFile, needed_secret
from pocketseek.cli.guard.seal_cmd import seal_facts
from pocketseek.cli.messages import Words
from pocketseek.errors import UsageError
from pocketseek.settings import read_settings


def unseal(
    model: options.SealedName = None,
    data: options.DataInstead = False,
    key_file: PresentKeyFile = None,
    key_command: PresentKeyCommand = None,
    json: options.Json = False,
) -> None:
    """Decrypt a sealed model in place, or (--data) your conversations and documents. It may be interrupted at any
    moment: the same command goes on. The passphrase is asked for, or comes from POCKETSEEK_PASSPHRASE; of the data,
    POCKETSEEK_DATA_KEY may name the key file. The version before an update is removed, so `rollback` cannot bring it
    back."""
    from pocketseek.cli.guard.seal_data import check_subject, unseal_data_here

    model = check_subject(model, data=data)
    if model is None:
        return unseal_data_here(KeyOptions(key_file, key_command), json=json)
    from pocketseek.apps.repository.versions import has_previous
    from pocketseek.apps.sealing import unseal_model
    from pocketseek.package.sealing.seal_record import read_record
    from pocketseek.package.store import ModelStore
    from pocketseek.package.trust.audit import AuditLog

    settings = read_settings()
    words = Words(settings.language)
    path: Path = ModelStore(settings.models_dir).resolve(model)
    if read_record(path) is None:
        raise UsageError(f"{model} is not sealed; there is nothing to unseal")
    with closing(needed_secret(path, settings, KeyOptions(key_file, key_command))) as secret:
        start_s, had_previous = time.perf_counter(), has_previous(path)
        with progress_bar() as show:
            label = words(seal_messages.UNSEALING)
            report = unseal_model(path, secret, settings, lambda done, total: show(label, done, total))
    AuditLog(settings.audit_path).note("model-unsealed", model=path.name)
    if json:
        print_json(seal_facts(path, report, time.perf_counter() - start_s))
    else:
        print_text(words(seal_messages.UNSEALED, name=path.name))
        if had_previous and not has_previous(path):
            print_text(words(seal_messages.PREVIOUS_GONE))
