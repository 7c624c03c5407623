"""`pocketseek sign MODEL`: vouch for a model with a key of one's own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import options
from pocketseek.cli.console import is_interactive, note, print_json, print_text
from pocketseek.cli.guard import trust_messages as messages
from pocketseek.cli.guard.expiry import parse_expiry
from pocketseek.cli.guard.trust_view import day
from pocketseek.cli.messages import Words
from pocketseek.errors import TrustError, UsageError
from pocketseek.settings import Settings, read_settings

if TYPE_CHECKING:
    from pocketseek.package.trust.public_key import PublicKey
    from pocketseek.package.trust.sign import SigningKey

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help="The private key: a file, or its name in keys/.",
        show_default="the only one in keys/",
    ),
]
Expires = Annotated[
    str | None,
    typer.Option("--expires", metavar="DAY", help="Until when it holds: 2027-12-31, or 90d.", show_default="for ever"),
]
Version = Annotated[
    int | None,
    typer.Option(
        "--version",
        min=1,
        help="Number of this release; devices refuse to go back to a lower one. Changes the manifest.",
        show_default="as it is",
    ),
]


def sign(
    model: options.ModelName,
    key: KeyFile = None,
    expires: Expires = None,
    version: Version = None,
    json: options.Json = False,
) -> None:
    """Sign a model's manifest, which names every byte of it. Devices that trust the key then run it. The passphrase of
    the key is asked for, or comes from POCKETSEEK_PASSPHRASE."""
    from pocketseek.package.manifest import read_manifest_bytes
    from pocketseek.package.paths import DELTAS_NAME
    from pocketseek.package.store import ModelStore

    settings = read_settings()
    expires_s = parse_expiry(expires, int(time.time())) if expires is not None else None
    path = ModelStore(settings.models_dir).resolve(model)
    _check_version(path, model, version)
    manifest_before = read_manifest_bytes(path)
    facts = sign_installed(settings, path, read_signer(settings, key), expires_s=expires_s, version=version)
    if json:
        print_json(facts.to_json())
    else:
        facts.tell(model, Words(settings.language))
    if read_manifest_bytes(path) != manifest_before and any((path / DELTAS_NAME).glob("*.json")):
        note(Words(settings.language)(messages.DELTAS_LEAD_ELSEWHERE, path=model))


def _check_version(path: Path, model: str, version: int | None) -> None:
    """Raises UsageError for one that devices would refuse."""
    from pocketseek.package.manifest import read_manifest

    present = read_manifest(path).version
    if version is not None and version < present:
        raise UsageError(f"{model} is version {present} already; devices would refuse {version}, give a higher one")


def read_signer(settings: Settings, key: Path | None = None) -> SigningKey:
    """Asks for its passphrase. key: a file, or a name in keys/; None: the only one there. Raises UsageError (none,
    several, revoked here) and what reading it raises."""
    from pocketseek.package.trust.sign import read_key
    from pocketseek.package.trust.trust_store import TrustStore

    words = Words(settings.language)
    key_path = _key_path(settings, key) if key is not None else _only_key(settings)
    signer = read_key(key_path, lambda: _passphrase(settings, words, key_path))
    if TrustStore(settings.trust_path).load().is_revoked(signer.public.fingerprint):
        raise UsageError(
            f"the key {signer.public.fingerprint} was revoked here, so nothing it signs will run; "
            "make another with `pocketseek keygen`, or choose one with --key FILE"
        )
    return signer


@dataclass(frozen=True)
class SignedHere:
    """refusal: why it is not run here, which may be meant."""

    path: Path
    key: PublicKey
    version: int
    expires_s: int | None
    is_trusted: bool
    refusal: str | None

    def to_json(self) -> dict[str, object]:
        return {
            "path": str(self.path),
            "version": self.version,
            "signed_by": self.key.name,
            "fingerprint": self.key.fingerprint,
            "expires": self.expires_s,
            "trusted": self.is_trusted,
        }

    def tell(self, model: str, words: Words) -> None:
        values = {"model": model, "version": self.version, "name": self.key.name, "fingerprint": self.key.fingerprint}
        print_text(words(messages.MODEL_SIGNED if self.version else messages.MODEL_SIGNED_PLAIN, **values))
        if self.expires_s is not None:
            print_text(words(messages.SIGNED_UNTIL, day=day(self.expires_s - 1)))
        if self.refusal is not None:
            note(words(messages.SIGNED_REFUSED_HERE, reason=self.refusal))
        elif not self.is_trusted:
            note(words(messages.SIGNER_NOT_TRUSTED, line=self.key.line))


def sign_installed(
    settings: Settings, path: Path, signer: SigningKey, *, expires_s: int | None = None, version: int | None = None
) -> SignedHere:
    """Raises as `sign_package`."""
    from pocketseek.package.trust.audit import AuditLog
    from pocketseek.package.trust.signing import sign_package

    signed = sign_package(path, signer, created_s=int(time.time()), expires_s=expires_s, version=version)
    number, public = signed.manifest.version, signer.public
    AuditLog(settings.audit_path).write("model-signed", model=path.name, key=public.fingerprint, version=number)
    try:
        is_trusted, refusal = _pin(settings, path, signer), None
    except TrustError as error:  # an older release may be signed, for others; here it stays refused
        is_trusted, refusal = False, str(error)
    return SignedHere(path, public, number, expires_s, is_trusted, refusal)


def _key_path(settings: Settings, key: Path) -> Path:
    """A file, or the name that `keygen` gave it."""
    path, named = key.expanduser(), settings.keys_dir / f"{key.name}.key"
    return named if key.name == str(key) and not path.exists() and named.exists() else path


def _only_key(settings: Settings) -> Path:
    """Raises UsageError."""
    found = sorted(settings.keys_dir.glob("*.key"))
    if not found:
        raise UsageError("there is no key to sign with; make one with `pocketseek keygen`, or give one with --key FILE")
    if len(found) > 1:
        raise UsageError(f"there are several keys ({', '.join(one.stem for one in found)}); choose one with --key NAME")
    return found[0]


def _passphrase(settings: Settings, words: Words, path: Path) -> str | None:
    if settings.passphrase is not None or not is_interactive():
        return settings.passphrase
    given: str = typer.prompt(words(messages.ASK_PASSPHRASE, path=path), hide_input=True, err=True)
    return given


def _pin(settings: Settings, path: Path, signer: SigningKey) -> bool:
    """Whoever signs a model means it to be signed so from now on; whether the key is trusted here."""
    from pocketseek.package.trust.gatekeeper import Gatekeeper

    gate = Gatekeeper.of(settings)
    state = gate.look_at(path)
    if state.status != "trusted" or state.key is None or state.key.hex != signer.public.hex:
        return gate.store.load().find(signer.public.hex) is not None
    gate.accept(path, state)
    return True
