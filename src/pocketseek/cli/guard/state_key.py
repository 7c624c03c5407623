"""The keys of a sealed data directory, asked for once in a process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli.console import is_interactive
from pocketseek.cli.guard import seal_messages
from pocketseek.cli.guard.key_options import NO_KEY, KeyOptions, ask_passphrase, given_secret
from pocketseek.cli.messages import Words
from pocketseek.errors import SealError
from pocketseek.settings import Settings

if TYPE_CHECKING:
    from pocketseek.package.sealing.data_seal import DataKeys, DataSeal
    from pocketseek.package.sealing.key_slots import Secret

# at the end of the help of commands that open conversations or documents
HOW_DATA_OPENS = (
    "The passphrase of sealed conversations and documents, and of a sealed model, comes from POCKETSEEK_PASSPHRASE or, "
    "where one is needed, from a person at the terminal. POCKETSEEK_DATA_KEY may name the key file of conversations "
    "and documents."
)


def state_key(settings: Settings) -> bytes | None:
    """Of the databases; None: they are plain. Raises SealError if it is needed and cannot be had."""
    from pocketseek.package.sealing.data_seal import read_data_seal

    seal = read_data_seal(settings.home)
    return None if seal is None else _opened(settings, seal).databases


def cache_key(settings: Settings) -> bytes | None:
    """Of computed pages. Nobody is asked for them alone: None if the key was not needed for anything before."""
    from pocketseek.package.sealing.data_seal import read_data_seal

    seal = read_data_seal(settings.home)
    if seal is None:
        return None
    if settings.passphrase or settings.data_key_file or _keys_of.cache_info().currsize:
        return _opened(settings, seal).pages
    return None


def data_secret(settings: Settings, seal: DataSeal, options: KeyOptions = NO_KEY) -> Secret:
    """What opens the data directory: of the options, else the environment, else what a person types. Raises SealError
    if there is none."""
    from pocketseek.package.sealing.key_slots import passphrase_secret, read_key_file

    if (secret := given_secret(options)) is not None:
        return secret
    if settings.data_key_file is not None:
        return read_key_file(settings.data_key_file)
    if settings.passphrase:
        return passphrase_secret(settings.passphrase)
    if is_interactive() and any(slot.kind == "passphrase" for slot in seal.slots):
        return passphrase_secret(ask_passphrase(Words(settings.language)(seal_messages.ASK_DATA_PASSPHRASE)))
    raise SealError(
        "conversations and documents are sealed; set POCKETSEEK_PASSPHRASE or POCKETSEEK_DATA_KEY, or give the "
        "passphrase on a terminal"
    )


def _opened(settings: Settings, seal: DataSeal) -> DataKeys:
    return _keys_of(settings.home, seal, settings)


@lru_cache(maxsize=1)
def _keys_of(home: Path, seal: DataSeal, settings: Settings) -> DataKeys:
    secret = data_secret(settings, seal)
    try:
        return seal.open(secret, str(home))
    finally:
        secret.close()
