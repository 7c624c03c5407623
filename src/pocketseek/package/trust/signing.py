"""Signing a package where it lies: its manifest gets a signature, and the publisher's version if one is given.

The version is set here and nowhere else: it counts releases, and a release is what somebody signs; converting the same
checkpoint twice makes no new one. Setting it changes the manifest, hence its hash, hence what other files here know the
package by (learnt costs, prefix cache, ONNX exports): they are made anew.

A crash at any point leaves a package that is signed as before or as wanted. Where the manifest changes, manifest.sig
holds the signatures of both manifests until the new one is in place. What others signed stays, as long as the manifest
does.
"""

from __future__ import annotations

import math
import os
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from pocketseek.errors import UsageError
from pocketseek.package.entries import Manifest
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import MAX_VERSION, parse_manifest, read_manifest_bytes, render_manifest
from pocketseek.package.paths import MANIFEST_NAME, SIGNATURE_NAME, SIGNING_TEMP_PREFIX
from pocketseek.package.settle import settle
from pocketseek.package.storage import storage_errors, sync_dir, write_all
from pocketseek.package.trust.sign import SigningKey, is_genuine, sign_manifest
from pocketseek.package.trust.signature import (
    MAX_SIGNERS,
    Signature,
    join_signatures,
    parse_signatures,
    read_signature_bytes,
    render_signatures,
)

_SEAL_NAME = "sealed.json"


@dataclass(frozen=True)
class Signed:
    """What was done. version: of the manifest that was signed."""

    signature: Signature
    manifest: Manifest


def sign_package(
    package_dir: Path, key: SigningKey, *, created_s: int, expires_s: int | None = None, version: int | None = None
) -> Signed:
    """Sign the manifest, after giving it this version. Raises UsageError, BusyError, StorageError and what reading the
    manifest raises."""
    if version is not None and not 0 <= version <= MAX_VERSION:
        raise UsageError(f"{version} is no version; give a whole number from 0 to {MAX_VERSION}")
    package_dir = Path(os.path.realpath(package_dir))  # as every other writer, so that their locks are the same
    with destination_lock(package_dir):
        with storage_errors(package_dir):
            settle(package_dir)  # an update that was cut short would put the signature before over the new one
        old_bytes = read_manifest_bytes(package_dir)
        manifest = parse_manifest(old_bytes)
        new_bytes = old_bytes
        if version is not None and version != manifest.version:
            _refuse_sealed(package_dir)
            manifest = replace(manifest, version=version)
            new_bytes = render_manifest(manifest)
        signature = sign_manifest(key, new_bytes, created_s=created_s, expires_s=expires_s)
        there = _signatures(package_dir)
        kept = [one for one in there if one.is_for(new_bytes) and one.key.hex != key.public.hex]
        if len(kept) == MAX_SIGNERS:
            raise UsageError(f"a package has at most {MAX_SIGNERS} signatures; this one has them all")
        old = render_signatures(matching) if (matching := [one for one in there if one.is_for(old_bytes)]) else None
        _put(package_dir, old_bytes, old, new_bytes, render_signatures([*kept, signature]))
    return Signed(signature, manifest)


def renewed_signature(here: bytes | None, offered: bytes | None, manifest_bytes: bytes) -> bytes | None:
    """What manifest.sig becomes when signatures of the very manifest that is here are offered: of each key the one made
    last (of the same second: the one that ends first), others stay. None: it stays as it is. Raises UnsupportedError
    without the library, if there is something new.

    Only genuine ones count; whose they are is for others to judge.
    """
    present = {one.value: one for one in _of(here, manifest_bytes)}
    new = [one for one in _of(offered, manifest_bytes) if one.value not in present]
    if not new:
        return None
    latest: dict[str, Signature] = {}
    for one in (*present.values(), *new):
        known = latest.get(one.key.hex)
        if (known is None or _order(one) > _order(known)) and is_genuine(one, manifest_bytes):
            latest[one.key.hex] = one
    kept = tuple(latest.values())[:MAX_SIGNERS]
    return render_signatures(kept) if {one.value for one in kept} - present.keys() else None


def _order(signature: Signature) -> tuple[int, float]:
    return signature.created_s, -(math.inf if signature.expires_s is None else signature.expires_s)


def _of(data: bytes | None, manifest_bytes: bytes) -> list[Signature]:
    """What cannot be read vouches for nothing."""
    joined = join_signatures(data)
    return [one for one in parse_signatures(joined) if one.is_for(manifest_bytes)] if joined is not None else []


def _refuse_sealed(package_dir: Path) -> None:
    """A seal is bound to the manifest, so another manifest would break it. Raises UsageError."""
    if os.path.lexists(package_dir / _SEAL_NAME):
        raise UsageError(
            f"{package_dir} is sealed, which holds its manifest as it is; unseal it to give it a version, "
            "or sign it without --version"
        )


def _put(
    package_dir: Path, old_bytes: bytes, old_signature: bytes | None, new_bytes: bytes, new_signature: bytes
) -> None:
    """At every moment one of both manifests is there, signed as it was. (A new manifest after an unsigned one is
    unsigned for a moment: a signature of what is not there yet would be a wrong one.)"""
    if new_bytes != old_bytes:
        if old_signature is not None:
            _replace(package_dir, SIGNATURE_NAME, join_signatures(new_signature, old_signature) or new_signature)
        _replace(package_dir, MANIFEST_NAME, new_bytes)
    _replace(package_dir, SIGNATURE_NAME, new_signature)


def _signatures(package_dir: Path) -> list[Signature]:
    """Of a file that cannot be read nothing is kept: it vouches for nothing."""
    joined = join_signatures(read_signature_bytes(package_dir))
    return list(parse_signatures(joined)) if joined is not None else []


def _replace(package_dir: Path, name: str, data: bytes) -> None:
    path = package_dir / name
    temporary = package_dir / f"{SIGNING_TEMP_PREFIX}{secrets.token_hex(8)}"
    with storage_errors(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
            os.replace(temporary, path)
        except BaseException:  # nothing half-written stays, and it is raised again
            os.unlink(temporary)
            raise
        finally:
            os.close(descriptor)
        sync_dir(package_dir)
