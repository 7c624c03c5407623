"""What opens a sealed model, from the command line, the environment or a person at the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from getpass import getpass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli.console import is_interactive, note
from pocketseek.cli.guard import seal_messages
from pocketseek.cli.messages import Words
from pocketseek.errors import UsageError
from pocketseek.settings import Settings

if TYPE_CHECKING:
    from pocketseek.package.sealing.key_slots import Secret

# at the end of the help of commands that open models
HOW_MODELS_OPEN = (
    "The passphrase of a sealed model comes from POCKETSEEK_PASSPHRASE or, where one is needed, from a person at the "
    "terminal."
)

KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="FILE", help="Of a sealed model: the file with its key.", show_default=False),
]
KeyCommand = Annotated[
    str | None,
    typer.Option(
        "--key-command",
        metavar="COMMAND",
        help="Of a sealed model: a program that prints its key.",
        show_default=False,
    ),
]
PresentKeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="FILE", help="The file with the key, if it opens with one.", show_default=False),
]
PresentKeyCommand = Annotated[
    str | None,
    typer.Option(
        "--key-command",
        metavar="COMMAND",
        help="A program that prints the key, if it opens with one.",
        show_default=False,
    ),
]


NEW_KEY_OPTIONS = "--to-key-file or --new-key-file"  # of `passwd`


@dataclass(frozen=True)
class KeyOptions:
    """As given on the command line."""

    key_file: Path | None = None
    key_command: str | None = None


NO_KEY = KeyOptions()


def given_secret(options: KeyOptions) -> Secret | None:
    """Of the options alone. Raises UsageError, NotFoundError, SealError, StorageError."""
    from pocketseek.apps.sealing import run_key_command
    from pocketseek.package.sealing.key_slots import read_key_file

    if options.key_file is not None and options.key_command is not None:
        raise UsageError("--key-file and --key-command are two keys; leave one out")
    if options.key_file is not None:
        return read_key_file(options.key_file)
    return run_key_command(options.key_command) if options.key_command is not None else None


def secret_at_hand(path: Path, settings: Settings, options: KeyOptions) -> Secret | None:
    """Of the options, or a passphrase in the environment if the model at path has one; nobody is asked. None also if it
    is not sealed."""
    from pocketseek.package.sealing.key_slots import passphrase_secret
    from pocketseek.package.sealing.seal_record import read_record

    record = read_record(path)
    if record is None:
        return None
    if (secret := given_secret(options)) is not None:
        return secret
    has_passphrase = any(slot.kind == "passphrase" for slot in record.slots)
    return passphrase_secret(settings.passphrase) if settings.passphrase and has_passphrase else None


def secret_for(path: Path, settings: Settings, options: KeyOptions = NO_KEY) -> Secret | None:
    """What opens the model at path: of the options, else of the environment, else what a person types. None if it is
    not sealed, or if nobody can be asked."""
    from pocketseek.package.sealing.key_slots import passphrase_secret
    from pocketseek.package.sealing.seal_record import read_record

    record = read_record(path)
    if record is None:
        return None
    if (secret := given_secret(options)) is not None:
        return secret
    if settings.passphrase:
        return passphrase_secret(settings.passphrase)
    if is_interactive() and any(slot.kind == "passphrase" for slot in record.slots):
        asked = Words(settings.language)(seal_messages.ASK_PASSPHRASE, name=path.name)
        return passphrase_secret(ask_passphrase(asked))
    return None


class KeptSecrets:
    """Of what is opened more than once, in threads that cannot ask: each is asked for once, and kept until `close`."""

    def __init__(self, settings: Settings, options: KeyOptions = NO_KEY) -> None:
        self._settings = settings
        self._options = options
        self._secrets: dict[Path, Secret | None] = {}
        self._lock = Lock()

    def __call__(self, path: Path) -> AbstractContextManager[Secret | None]:
        """May ask a person, the first time. Raises as `secret_for`."""
        with self._lock:
            if self._secrets.get(path) is None:  # or it was sealed meanwhile
                self._secrets[path] = secret_for(path, self._settings, self._options)
            return nullcontext(self._secrets[path])

    def known(self, path: Path) -> Secret | None:
        """Nobody is asked."""
        with self._lock:
            return self._secrets.get(path)

    def at_hand(self, path: Path) -> Secret | None:
        """Of what came or was sealed meanwhile, too, if options or environment have it; nobody is asked."""
        with self._lock:
            if self._secrets.get(path) is None:
                self._secrets[path] = secret_at_hand(path, self._settings, self._options)
            return self._secrets[path]

    def close(self) -> None:
        with self._lock:
            for secret in self._secrets.values():
                if secret is not None:
                    secret.close()
            self._secrets.clear()


@contextmanager
def unlocked(path: Path, settings: Settings, options: KeyOptions = NO_KEY) -> Iterator[Secret | None]:
    """The same, wiped afterwards."""
    secret = secret_for(path, settings, options)
    try:
        yield secret
    finally:
        if secret is not None:
            secret.close()


def needed_secret(path: Path, settings: Settings, options: KeyOptions) -> Secret:
    """The same of a model that is sealed. Raises SealError if there is none."""
    from pocketseek.package.sealing.opened_seal import no_secret

    secret = secret_for(path, settings, options)
    if secret is None:
        raise no_secret(path)
    return secret


def new_passphrase(
    name: str,
    settings: Settings,
    known: str | None,
    variable: str,
    options: str = "--key-file or --new-key-file",
) -> Secret:
    """What a model shall open with from now on: known from the environment, or typed twice. options: what else the
    command takes. Raises UsageError."""
    from pocketseek.package.sealing.key_slots import passphrase_secret

    if known:
        return passphrase_secret(known)
    if not is_interactive():
        raise UsageError(f"there is nobody to ask for a passphrase; set {variable}, or give {options}")
    words = Words(settings.language)
    passphrase = ask_passphrase(words(seal_messages.ASK_NEW_PASSPHRASE, name=name))
    if passphrase != ask_passphrase(words(seal_messages.ASK_AGAIN)):
        raise UsageError("the two passphrases are not the same; nothing was changed, try again")
    return passphrase_secret(passphrase)


def new_key(key_file: Path | None, new_key_file: Path | None, key_command: str | None) -> Callable[[], Secret] | None:
    """A key that a model shall open with, made or read when it is needed. None: a passphrase instead."""
    from pocketseek.apps.sealing import run_key_command
    from pocketseek.package.sealing.key_slots import new_key_file as make
    from pocketseek.package.sealing.key_slots import read_key_file

    if sum(given is not None for given in (key_file, new_key_file, key_command)) > 1:
        raise UsageError("that is more than one key; give one key file or one key command")
    if new_key_file is not None:
        return partial(make, new_key_file)
    if key_file is not None:
        return partial(read_key_file, key_file)
    return partial(run_key_command, key_command) if key_command is not None else None


def tell_key_file(new_key_file: Path | None, words: Words) -> None:
    if new_key_file is not None:
        note(words(seal_messages.KEY_WRITTEN, path=new_key_file))


def ask_passphrase(text: str) -> str:
    return getpass(f"{text}: ")
