"""`pocketseek keygen`: a key to sign models with."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from pocketseek.cli import options
from pocketseek.cli.console import is_interactive, note, print_exact, print_json
from pocketseek.cli.guard import trust_messages as messages
from pocketseek.cli.messages import Words
from pocketseek.settings import Settings, read_settings

Name = Annotated[str, typer.Option("--name", metavar="NAME", help="What others will see as the signer.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Where the private key goes.", show_default="keys/NAME.key"),
]
Trust = Annotated[bool, typer.Option("--trust/--no-trust", help="Trust it on this device.")]


def keygen(name: Name = "owner", out: Out = None, trust: Trust = True, json: options.Json = False) -> None:
    """Make a key pair for signing models. The passphrase is asked for, or comes from POCKETSEEK_PASSPHRASE."""
    from pocketseek.package.trust.audit import AuditLog
    from pocketseek.package.trust.sign import make_key, write_key
    from pocketseek.package.trust.trust_store import TrustedKey, TrustStore, with_key

    settings = read_settings()
    words = Words(settings.language)
    key = make_key(name)
    path = (out if out is not None else settings.keys_dir / f"{name}.key").expanduser()
    passphrase = _new_passphrase(settings, words, path)
    write_key(path, key, passphrase)
    if trust:
        trusted = TrustedKey(key.public, int(time.time()))
        TrustStore(settings.trust_path).change(lambda now: with_key(now, trusted))
    AuditLog(settings.audit_path).write("key-made", key=key.public.fingerprint, name=name, trusted=trust)
    if json:
        facts = {"public_key": key.public.line, "fingerprint": key.public.fingerprint, "path": str(path)}
        print_json({**facts, "encrypted": passphrase is not None, "trusted": trust})
        return
    note(words(messages.KEY_MADE, path=path))
    for message in (*([] if passphrase else [messages.KEY_OPEN]), *([messages.KEY_TRUSTED] if trust else [])):
        note(words(message))
    note(words(messages.KEY_FINGERPRINT, fingerprint=key.public.fingerprint))
    note(words(messages.KEY_TO_PUBLISH))
    print_exact(key.public.line)


def _new_passphrase(settings: Settings, words: Words, path: Path) -> str | None:
    """None: the file stays open to whoever can read it. Not asked for where the file cannot be made anyway."""
    if settings.passphrase is not None or path.exists() or not is_interactive():
        return settings.passphrase
    question = words(messages.ASK_NEW_PASSPHRASE)
    given: str = typer.prompt(
        question, default="", hide_input=True, confirmation_prompt=True, show_default=False, err=True
    )
    return given or None
