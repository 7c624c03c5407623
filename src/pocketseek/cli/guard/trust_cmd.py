"""`pocketseek trust ...`: whose signatures count on this device, and what is accepted without."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pocketseek.cli import messages as common
from pocketseek.cli import options
from pocketseek.cli.console import confirm, is_interactive, print_json, print_table, print_text
from pocketseek.cli.guard import trust_messages as messages
from pocketseek.cli.guard.expiry import parse_expiry
from pocketseek.cli.guard.trust_choice import settle_trust, write_acceptance
from pocketseek.cli.guard.trust_view import day, describe, trust_facts
from pocketseek.cli.messages import Words
from pocketseek.errors import FormatError, UsageError
from pocketseek.settings import Settings, read_settings

if TYPE_CHECKING:
    from pocketseek.package.trust.public_key import PublicKey
    from pocketseek.package.trust.trust_store import TrustedKey, TrustList, TrustStore

app = typer.Typer(
    help="Trusted keys: list, add, remove, revoke; accept a model; require signatures.", no_args_is_help=True
)

_MOST_KEY_FILE_BYTES = 4096

Key = Annotated[str, typer.Argument(metavar="KEY", help="Name or fingerprint of a key.", show_default=False)]
NewKey = Annotated[
    str, typer.Argument(metavar="KEY", help="The line that keygen printed, or a file with it.", show_default=False)
]


@app.command("list")
def list_keys(json: options.Json = False) -> None:
    """Show whom this device trusts, who was revoked, and whether signatures are required."""
    _, words, store = _begin()
    trust = store.load()
    if json:
        print_json(_facts(trust))
        return
    rows = [_row(one, words) for one in trust.keys]
    revoked = words(messages.KEY_STATE_REVOKED)
    rows += [(one.name, revoked, one.fingerprint, "", day(one.since_s), "") for one in trust.revoked]
    columns = (
        common.COLUMN_NAME,
        messages.COLUMN_STATE,
        messages.COLUMN_FINGERPRINT,
        messages.COLUMN_FOR,
        messages.COLUMN_SINCE,
        messages.COLUMN_UNTIL,
    )
    if rows:
        print_table([words(column) for column in columns], rows, essential=(0, 1, 2))
    else:
        print_text(words(messages.NO_KEYS))
    print_text(words(messages.POLICY_ON if trust.require_signed else messages.POLICY_OFF))


@app.command("add")
def add(
    key: NewKey,
    name: Annotated[str | None, typer.Option("--name", help="What you call it.", show_default="as it says")] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", metavar="MODEL", help="Only for this model; may be repeated.")
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="DAY", help="Until when: 2027-12-31, or 90d.", show_default="ever"),
    ] = None,
    json: options.Json = False,
) -> None:
    """Trust a key. Compare the fingerprint that is shown with the one that its owner tells you."""
    from pocketseek.package.paths import check_model_name
    from pocketseek.package.trust.public_key import check_key_name
    from pocketseek.package.trust.trust_store import TrustedKey, with_key

    settings, words, store = _begin()
    public = _public_key(key)
    if name is not None:
        public = replace(public, name=check_key_name(name))
    now_s = int(time.time())
    models = tuple(check_model_name(one) for one in model or ())
    trusted = TrustedKey(public, now_s, models, parse_expiry(expires, now_s) if expires is not None else None)
    store.change(lambda now: with_key(now, trusted))
    _write_down(settings, "key-trusted", public.fingerprint, public.name)
    if json:
        print_json(_key_facts(trusted))
    else:
        print_text(words(messages.KEY_ADDED, name=public.name, fingerprint=public.fingerprint))


@app.command("remove")
def remove(key: Key, json: options.Json = False) -> None:
    """Trust a key no longer. Unlike a revoked one it may be trusted again."""
    from pocketseek.package.trust.trust_store import without_key

    settings, words, store = _begin()
    gone = store.load().find_by(key)
    store.change(lambda now: without_key(now, gone.key.fingerprint))
    _write_down(settings, "key-removed", gone.key.fingerprint, gone.key.name)
    if json:
        print_json({"removed": gone.key.name, "fingerprint": gone.key.fingerprint})
    else:
        print_text(words(messages.KEY_REMOVED, name=gone.key.name))


@app.command("revoke")
def revoke(key: Key, yes: options.Yes = False, json: options.Json = False) -> None:
    """Refuse for ever what a key signed, also what is installed: it was lost or stolen."""
    from pocketseek.package.trust.trust_store import RevokedKey, with_revoked

    settings, words, store = _begin()
    fingerprint, name = _named(store.load(), key)
    if not yes:
        if not is_interactive():
            raise UsageError(f"revoking {name} cannot be taken back and needs a confirmation; add --yes")
        if not confirm(words(messages.ASK_REVOKE, name=name, fingerprint=fingerprint)):
            print_text(words(messages.NOT_CHANGED))
            return
    store.change(lambda now: with_revoked(now, RevokedKey(fingerprint, name, int(time.time()))))
    _write_down(settings, "key-revoked", fingerprint, name)
    if json:
        print_json({"revoked": name, "fingerprint": fingerprint})
    else:
        print_text(words(messages.KEY_REVOKED, name=name))


@app.command("require-signed")
def require_signed(
    switch: Annotated[Literal["on", "off"], typer.Argument(metavar="on|off", show_default=False)],
    json: options.Json = False,
) -> None:
    """Whether only models that are signed by a trusted key may run."""
    from pocketseek.package.trust.audit import AuditLog

    settings, words, store = _begin()
    wanted = switch == "on"
    store.change(lambda now: replace(now, require_signed=wanted))
    AuditLog(settings.audit_path).write("policy-changed", require_signed=wanted)
    if json:
        print_json({"require_signed": wanted})
    else:
        print_text(words(messages.POLICY_ON if wanted else messages.POLICY_OFF))


@app.command("accept")
def accept(
    model: options.ModelName,
    trust: options.Trust = None,
    all_models: Annotated[bool, typer.Option("--all-models", help="Trust its key for every model.")] = False,
    allow_older: Annotated[bool, typer.Option("--allow-older", help="An older version than was here before.")] = False,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Accept a model as it is now: a new key, another signer than before, no signature any more, an older version."""
    from pocketseek.package.store import ModelStore
    from pocketseek.package.trust.gatekeeper import Gatekeeper
    from pocketseek.package.trust.judge import check_allowed, needs_consent

    settings, words, store = _begin()
    path = ModelStore(settings.models_dir).resolve(model)
    gate = Gatekeeper.of(settings)
    state = gate.look_at(path)
    if trust is not None and not state.signer_changed and not all_models:
        settle_trust(settings, path, trust)
        state = gate.look_at(path)
    if needs_consent(state) or (all_models and state.status == "trusted"):
        question = words(messages.ASK_ACCEPT, model=model, state=describe(state, words))
        is_known = state.key is None or (state.status == "trusted" and not state.signer_changed)
        if not _agrees(state.key, trust, question, is_known=is_known, yes=yes):
            print_text(words(messages.NOT_CHANGED))
            return
        gate.accept(path, state, all_models=all_models, allow_older=allow_older)
        write_acceptance(settings, path, state.key.fingerprint if state.key is not None else None)
        state = gate.look_at(path)
        message = messages.ACCEPTED
    else:
        message = messages.NOTHING_TO_ACCEPT
    check_allowed(state, store.load(), model)
    if json:
        print_json({"model": model, "path": str(path), "trust": trust_facts(state)})
    else:
        print_text(words(message, model=model, state=describe(state, words)))


def _agrees(key: PublicKey | None, trust: str | None, question: str, *, is_known: bool, yes: bool) -> bool:
    """A key wants its fingerprint or an answer at the terminal; where there is none, or it is_known and the version
    older, --yes is enough, too.

    Raises UsageError where nobody can be asked.
    """
    from pocketseek.package.trust.public_key import parse_fingerprint

    if trust is not None:
        if key is None or parse_fingerprint(trust) != key.fingerprint:
            found = "it is not signed" if key is None else f"it is signed by {key.fingerprint}"
            raise UsageError(f"that is not the fingerprint of its key: {found}; compare with what the publisher shows")
        return True
    if yes and is_known:
        return True
    if not is_interactive():
        how = "--yes" if key is None or is_known else f"--trust {key.fingerprint}, if that is what the publisher shows"
        raise UsageError(f"accepting needs your word; add {how}")
    return confirm(question)


def _begin() -> tuple[Settings, Words, TrustStore]:
    from pocketseek.package.trust.trust_store import TrustStore

    settings = read_settings()
    return settings, Words(settings.language), TrustStore(settings.trust_path)


def _public_key(text: str) -> PublicKey:
    """From the line itself or from a file. Raises FormatError."""
    from pocketseek.package.trust.public_key import KEY_KIND, parse_public_key

    path = Path(text).expanduser()
    if text.startswith(KEY_KIND) or not path.is_file():
        return parse_public_key(text)
    with path.open("rb") as file:
        content = file.read(_MOST_KEY_FILE_BYTES + 1)
    if len(content) > _MOST_KEY_FILE_BYTES:
        raise FormatError(f"{path} is too large for a public key; give the line that keygen printed")
    return parse_public_key(content.decode("utf-8", "replace"))


def _named(trust: TrustList, key: str) -> tuple[str, str]:
    """(fingerprint, name), also of a key that is not trusted but was read of elsewhere. Raises NotFoundError."""
    from pocketseek.package.trust.public_key import parse_fingerprint

    try:
        fingerprint = parse_fingerprint(key)
    except UsageError:
        found = trust.find_by(key)
        return found.key.fingerprint, found.key.name
    known = next((one.key.name for one in trust.keys if one.key.fingerprint == fingerprint), "unnamed")
    return fingerprint, known


def _write_down(settings: Settings, event: str, fingerprint: str, name: str) -> None:
    from pocketseek.package.trust.audit import AuditLog

    AuditLog(settings.audit_path).write(event, key=fingerprint, name=name)


def _row(one: TrustedKey, words: Words) -> tuple[str, ...]:
    is_over = one.expires_s is not None and one.expires_s <= time.time()
    state = words(messages.KEY_STATE_EXPIRED if is_over else messages.KEY_STATE_TRUSTED)
    models = ", ".join(one.models) or words(messages.ALL_MODELS)
    until = day(one.expires_s) if one.expires_s is not None else ""
    return one.key.name, state, one.key.fingerprint, models, day(one.since_s), until


def _facts(trust: TrustList) -> dict[str, object]:
    return {
        "require_signed": trust.require_signed,
        "keys": [_key_facts(one) for one in trust.keys],
        "revoked": [{"fingerprint": one.fingerprint, "name": one.name, "since": one.since_s} for one in trust.revoked],
        "models": {
            name: {"signed_by": pin.fingerprint, "highest_version": pin.version, "since": pin.since_s}
            for name, pin in sorted(trust.pins.items())
        },
    }


def _key_facts(one: TrustedKey) -> dict[str, object]:
    return {
        "name": one.key.name,
        "fingerprint": one.key.fingerprint,
        "public_key": one.key.line,
        "since": one.since_s,
        "models": list(one.models),
        "expires": one.expires_s,
    }
