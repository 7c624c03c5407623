"""Who may be used on this device: asked by whoever opens a package, remembers who signed it, and takes the user's word.

`Package.open(admit=...)` asks with the bytes of the manifest that it read and that it then uses, so that nothing can be
exchanged between checking and using. The trust store is read anew for every question: what another process revokes
counts at once, for whatever is opened from then on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from pocketseek.errors import (
    BusyError,
    FormatError,
    IntegrityError,
    NotFoundError,
    StorageError,
    TrustError,
    UnsupportedError,
)
from pocketseek.package.entries import Manifest
from pocketseek.package.manifest import parse_manifest_of, read_manifest_bytes
from pocketseek.package.settle import is_settled
from pocketseek.package.storage import storage_errors
from pocketseek.package.switch import read_signature
from pocketseek.package.trust.audit import AuditLog
from pocketseek.package.trust.judge import TrustState, check_allowed, is_allowed, judge, needs_consent
from pocketseek.package.trust.public_key import PublicKey
from pocketseek.package.trust.signature import read_signature_bytes
from pocketseek.package.trust.trust_store import Pin, TrustedKey, TrustList, TrustStore, with_key, with_pins
from pocketseek.settings import Settings


class Gatekeeper:
    """Cheap to make. audit: where refusals are written down.

    What is remembered of an installed model is so by its name there and by the name in its manifest, which an attacker
    chooses: if either was signed before, it has to be. A package elsewhere is remembered by its path.
    """

    def __init__(
        self,
        store: TrustStore,
        models_dir: Path,
        clock: Callable[[], float] = time.time,
        *,
        audit: AuditLog | None = None,
    ) -> None:
        self.store = store
        self._models_dir = models_dir
        self._clock = clock
        self._audit = audit

    @classmethod
    def of(cls, settings: Settings) -> Gatekeeper:
        """That of the data directory. Refusals are written to its audit log."""
        return cls(TrustStore(settings.trust_path), settings.models_dir, audit=AuditLog(settings.audit_path))

    def look(self, package_dir: Path, manifest_bytes: bytes, manifest: Manifest) -> TrustState:
        """What is known, without deciding. Raises FormatError (the trust store), StorageError, UnsupportedError."""
        return self._judge(package_dir, manifest_bytes, manifest, self.store.load())

    def admit(self, package_dir: Path, manifest_bytes: bytes, manifest: Manifest) -> TrustState:
        """As `look`, and remembers who signed it. Raises TrustError, too."""
        trust = self.store.load()
        state = self._judge(package_dir, manifest_bytes, manifest, trust)
        with self._refusals(package_dir.name):
            check_allowed(state, trust, self._what(package_dir, state))
        self.record(state, trust)
        return state

    def look_at(self, package_dir: Path) -> TrustState:
        """As `look`, of what lies there now. Raises what reading a manifest raises, too."""
        data = read_manifest_bytes(package_dir)
        return self.look(package_dir, data, parse_manifest_of(package_dir, data))

    def is_allowed(self, package_dir: Path) -> bool:
        """Whether it could be used now: whoever uses it asks again (`admit`)."""
        try:
            return is_allowed(self.look_at(package_dir), self.store.load())
        except (FormatError, NotFoundError, StorageError, UnsupportedError):
            return False

    def check(self, package_dir: Path) -> None:
        """As `admit`, of what lies there now, for those who do not open it themselves. Remembers nothing."""
        state = self.look_at(package_dir)
        with self._refusals(package_dir.name):
            check_allowed(state, self.store.load(), self._what(package_dir, state))

    def admit_unsigned(self, name: str) -> None:
        """For what cannot be signed, such as an ONNX model. Raises TrustError if only signed models may run."""
        state = TrustState("unsigned", name, 0)
        with self._refusals(name):
            check_allowed(state, self.store.load(), name)

    @contextmanager
    def _refusals(self, name: str) -> Iterator[None]:
        try:
            yield
        except TrustError as error:
            if self._audit is not None:
                self._audit.note_rarely("model-refused", model=name, reason=str(error))
            raise

    def _what(self, package_dir: Path, state: TrustState) -> str:
        """As the user would call it."""
        return package_dir.name if self._is_installed(package_dir) else str(package_dir)

    def _is_installed(self, package_dir: Path) -> bool:
        return _is_same_dir(package_dir.parent, self._models_dir)

    def _is_kept_here(self, package_dir: Path) -> bool:
        """Not what a link among the models leads to."""
        return _is_same_dir(Path(os.path.realpath(package_dir)).parent, self._models_dir)

    def record(self, state: TrustState, trust: TrustList) -> None:
        """Remember signer and version of what is used. Where the data directory cannot be written, what was remembered
        before still protects."""
        if state.status != "trusted" or state.key is None or not _pins_of(state, trust, int(self._clock())):
            return
        with suppress(StorageError, BusyError):
            self.store.change(lambda now: with_pins(now, _pins_of(state, now, int(self._clock()))))

    def accept(
        self, package_dir: Path, state: TrustState, *, all_models: bool = False, allow_older: bool = False
    ) -> TrustList:
        """The user's word that this is meant to be: trust its key (for this model), forget who signed it before.

        Raises TrustError for what no word helps with, or if it is older and that was not said; UsageError if the key
        was revoked.
        """
        now_s, what = int(self._clock()), self._what(package_dir, state)

        def edit(trust: TrustList) -> TrustList:
            if state.key is None:
                after = with_pins(trust, dict.fromkeys(state.places))
                check_allowed(replace(state, pinned=None, highest_version=0), after, what)
                return after
            accepted = replace(state, status="trusted" if needs_consent(state) else state.status, pinned=None)
            check_allowed(accepted, trust, what, allow_older=allow_older)
            key = _key_trusted_for(state, state.key, trust, all_models=all_models, now_s=now_s)
            pin = Pin(state.key.fingerprint, state.version, now_s)
            return with_pins(with_key(trust, key), dict.fromkeys(state.places, pin))

        return self.store.change(edit)

    def _judge(self, package_dir: Path, manifest_bytes: bytes, manifest: Manifest, trust: TrustList) -> TrustState:
        names = dict.fromkeys((manifest.name, package_dir.name))
        places = tuple(names) if self._is_installed(package_dir) else (os.path.realpath(package_dir),)
        signature = _signature_of(package_dir)
        state = judge(manifest_bytes, signature, trust, manifest=manifest, places=places, now_s=int(self._clock()))
        return replace(state, marker_counts=state.key is None or self._is_kept_here(package_dir))


def check_signature(package_dir: Path) -> None:
    """Whether what signatures there are belong to the manifest beside them, whoever made them.

    Raises IntegrityError, UnsupportedError (there is one and nothing to check it with), and what reading raises.
    """
    while True:
        found = data, signature = read_manifest_bytes(package_dir), _signature_of(package_dir)
        manifest = parse_manifest_of(package_dir, data)
        state = judge(data, signature, TrustList(), manifest=manifest, places=(), now_s=int(time.time()))
        if state.status != "wrong":
            return
        if found == (read_manifest_bytes(package_dir), _signature_of(package_dir)):  # nobody is replacing it
            raise IntegrityError(
                f"{package_dir}: {state.problem}; it was changed after it was signed: install or sign it again"
            )


def _signature_of(package_dir: Path) -> bytes | None:
    """Of the manifest that is there, also where an update or a rollback was cut short."""
    with storage_errors(package_dir):
        if is_settled(package_dir):
            return read_signature_bytes(package_dir)
        return read_signature(package_dir)


def _pins_of(state: TrustState, trust: TrustList, now_s: int) -> dict[str, Pin]:
    """Those that are new or of a higher version."""
    assert state.key is not None
    fingerprint = state.key.fingerprint
    wanted: dict[str, Pin] = {}
    for place in state.places:
        pin = trust.pins.get(place)
        if pin is None or (pin.fingerprint == fingerprint and pin.version < state.version):
            wanted[place] = Pin(fingerprint, state.version, now_s if pin is None else pin.since_s)
    return wanted


def _key_trusted_for(
    state: TrustState, key: PublicKey, trust: TrustList, *, all_models: bool, now_s: int
) -> TrustedKey:
    """What is trusted of it already, and this model."""
    before = trust.find(key.hex) or TrustedKey(key, now_s, (state.model,))
    if all_models:
        return replace(before, models=())
    return before if before.covers(state.model) else replace(before, models=(*before.models, state.model))


def _is_same_dir(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # the data directory need not exist
        return False
