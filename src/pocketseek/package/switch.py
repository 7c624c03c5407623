"""Two versions of a package in one directory: changing to a new one, going back, and letting go of the old one.

    manifest.json, manifest.sig    the version in use
    previous.json, previous.sig    the version before, as long as one can go back to it; prune leaves its chunks
    previous.origin                where it was pulled from, if the version in use came from elsewhere; may be empty
    previous.keep                  it stays until the next update, whatever is answered
    previous.answered              SHA-256 of the manifest of a version that has answered since there is a previous one;
                                   empty: none has
    previous.back                  going back has begun; holds "signed" or "unsigned", which the version before is
    .<name>.pocketseek-update/     what arrived of the next version: manifest.json and manifest.sig, chunks/, files/,
                                   deltas/; `unsigned` if it has no signature; origin.json if it is from elsewhere;
                                   `switching`: SHA-256 of its manifest, once changing to it has begun

Every move has one rename that decides. `settle` (settle.py) brings whatever a kill or a power cut left to one side of
it, and all moves are made of the steps before that rename and `settle` after it:

    new version    chunks and files are moved in; previous.sig, .origin, .json become copies of the present ones;
                   `switching`; manifest.sig the new signature; manifest.json THE NEW MANIFEST, moved out of it;
                   settle: without a new signature manifest.sig goes; origin.json is moved in; prune; the update
                   directory goes
    going back     previous.back; manifest.json THE PREVIOUS MANIFEST, moved from previous.json;
                   settle: previous.sig becomes manifest.sig, or manifest.sig goes; previous.origin becomes
                   origin.json; prune; previous.back goes
    letting go     an empty previous.answered, where nothing else would tell of it; previous.json REMOVED;
                   settle: previous.sig, previous.keep; prune; previous.answered

What settle sees, in this order: previous.back with previous.json (nothing happened yet: it goes) or without (finish);
an update directory without a manifest (finish, if its `switching` is of manifest.json; otherwise it was being made or
removed, and all of it goes); previous.json equal to manifest.json (the new version was not reached:
manifest.sig is made a copy of previous.sig, or goes, then previous.json); names of a previous version without
previous.json (finish letting go). Each is safe to run again when cut short itself.

A reader needs none of this: manifest.json is always whole, and the chunks and files that it names are there. Only for a
signature it asks `read_signature`: between two renames the one that belongs to the manifest may be previous.sig. The
caller holds the destination's lock for everything but the questions, and turns OSErrors into StorageError.

Of a sealed package sealed.json holds both versions before one takes the place of the other (sealing/seal_hold.py), so
none of this needs the key.
"""

from __future__ import annotations

import os
from pathlib import Path

from pocketseek.errors import IntegrityError, NotFoundError
from pocketseek.package.install import PREVIOUS_NAMES
from pocketseek.package.manifest import MAX_MANIFEST_BYTES, Manifest, parse_manifest, version_id
from pocketseek.package.origin import Origin, render_origin
from pocketseek.package.paths import (
    ANSWERED_NAME,
    CHUNKS_NAME,
    FILES_NAME,
    GOING_BACK_NAME,
    KEEP_NAME,
    MANIFEST_NAME,
    ORIGIN_NAME,
    PREVIOUS_NAME,
    PREVIOUS_ORIGIN_NAME,
    PREVIOUS_SIGNATURE_NAME,
    SEALED_SUFFIX,
    SHA256_PATTERN,
    SIGNATURE_NAME,
    update_path,
)
from pocketseek.package.sealing.seal_record import PackageFile, read_record
from pocketseek.package.settle import (
    MAX_ORIGIN_BYTES,
    MAX_SIGNATURE_BYTES,
    SWITCHING_NAME,
    UNSIGNED,
    UNSIGNED_NAME,
    finish_letting_go,
    is_unreached,
    is_unsigned_update,
    put,
    read_small,
    settle,
    was_switched,
)
from pocketseek.package.storage import read_plain, sync_dir, write_file
from pocketseek.package.verify import check_chunks, read_checked_file

_SIGNED = b"signed"


def previous_manifest(package_dir: Path) -> Manifest | None:
    """Of the version that one could go back to. Raises FormatError if it is damaged, OSError."""
    data = previous_manifest_bytes(package_dir)
    return parse_manifest(data) if data is not None else None


def previous_manifest_bytes(package_dir: Path) -> bytes | None:
    """None without a version before, or where it is the one in use (an update was cut short)."""
    data = read_small(package_dir / PREVIOUS_NAME, MAX_MANIFEST_BYTES)
    return data if data != read_small(package_dir / MANIFEST_NAME, MAX_MANIFEST_BYTES) else None


def read_signature(package_dir: Path) -> bytes | None:
    """That of manifest.json, also where a move was cut short; None if it is not signed. Raises OSError.

    Not one step with reading the manifest: who finds that they do not fit reads both again, in case of a move between.
    """
    back = read_small(package_dir / GOING_BACK_NAME, len(UNSIGNED))
    has_gone_back = back is not None and not (package_dir / PREVIOUS_NAME).exists()
    if (has_gone_back and back == UNSIGNED) or (was_switched(package_dir) and is_unsigned_update(package_dir)):
        return None
    if is_unreached(package_dir) or has_gone_back:
        signature = read_small(package_dir / PREVIOUS_SIGNATURE_NAME, MAX_SIGNATURE_BYTES)
        if signature is not None or not has_gone_back:
            return signature
    return read_small(package_dir / SIGNATURE_NAME, MAX_SIGNATURE_BYTES)


def switch_to_update(package_dir: Path, *, keep_previous: bool) -> None:
    """Make the version in the update directory, whose chunks and files are all there or in the package, synced and
    checked, the one in use."""
    settle(package_dir)
    drop_previous(package_dir)
    update = update_path(package_dir)
    _move_in(update, package_dir)
    signature = read_small(package_dir / SIGNATURE_NAME, MAX_SIGNATURE_BYTES)
    if keep_previous:
        write_file(package_dir / KEEP_NAME, b"")
    if signature is not None:
        put(package_dir / PREVIOUS_SIGNATURE_NAME, signature)
    if (update / ORIGIN_NAME).exists():
        put(package_dir / PREVIOUS_ORIGIN_NAME, read_small(package_dir / ORIGIN_NAME, MAX_ORIGIN_BYTES) or b"")
    put(package_dir / PREVIOUS_NAME, (package_dir / MANIFEST_NAME).read_bytes())
    new_signature = read_small(update / SIGNATURE_NAME, MAX_SIGNATURE_BYTES)
    if new_signature is None:
        write_file(update / UNSIGNED_NAME, b"")
    write_file(update / SWITCHING_NAME, version_id((update / MANIFEST_NAME).read_bytes()).encode("ascii"))
    sync_dir(update)
    if new_signature is not None:
        put(package_dir / SIGNATURE_NAME, new_signature)
    os.replace(update / MANIFEST_NAME, package_dir / MANIFEST_NAME)
    sync_dir(package_dir)
    sync_dir(update)
    settle(package_dir)


def replace_signature(package_dir: Path, signature: bytes) -> None:
    """Of the version in use. The caller has settled what was cut short."""
    put(package_dir / SIGNATURE_NAME, signature)


def replace_origin(package_dir: Path, origin: Origin) -> None:
    """Where the version in use can be fetched again. The caller has settled what was cut short."""
    put(package_dir / ORIGIN_NAME, render_origin(origin))


def go_back(package_dir: Path) -> Manifest:
    """Make the version before the one in use; the present one goes. Returns its manifest.

    Raises NotFoundError (there is none), FormatError, IntegrityError (it is damaged), and changes nothing then.
    """
    settle(package_dir)
    manifest = previous_manifest(package_dir)
    if manifest is None:
        raise NotFoundError(
            f"{package_dir.name} has no version to go back to; one is kept from an update until the new version has "
            "answered, or the model is sealed or unsealed"
        )
    _check_previous(package_dir, manifest)
    is_signed = (package_dir / PREVIOUS_SIGNATURE_NAME).exists()
    put(package_dir / GOING_BACK_NAME, _SIGNED if is_signed else UNSIGNED)
    os.replace(package_dir / PREVIOUS_NAME, package_dir / MANIFEST_NAME)
    sync_dir(package_dir)
    settle(package_dir)
    return manifest


def _check_previous(package_dir: Path, manifest: Manifest) -> None:
    """Raises IntegrityError, FormatError. Files and what is sealed are hashed: no marker vouches for them."""
    record = read_record(package_dir)
    if record is not None and not record.is_of(read_plain(package_dir / PREVIOUS_NAME, MAX_MANIFEST_BYTES)):
        raise IntegrityError(f"{package_dir}: {PREVIOUS_NAME} is not the one that was sealed; pull the model again")
    check_chunks(package_dir, manifest, mode="auto" if record is None else "full")
    for name, entry in manifest.files.items():
        if record is None or not record.has(PackageFile(FILES_NAME, entry.sha256, entry.num_bytes)):
            read_checked_file(package_dir, name, entry)


def drop_previous(package_dir: Path) -> int:
    """Let go of the version before. Returns the bytes freed."""
    if not (package_dir / PREVIOUS_NAME).exists():
        return 0
    if not any((package_dir / name).exists() for name in PREVIOUS_NAMES if name != PREVIOUS_NAME):
        put(package_dir / ANSWERED_NAME, b"")  # so that something tells of chunks to prune, also after a crash
    (package_dir / PREVIOUS_NAME).unlink()
    sync_dir(package_dir)
    return finish_letting_go(package_dir)


def has_answered(package_dir: Path) -> bool:
    """Whether the version in use has answered since it came, and the one before may go."""
    if not (package_dir / PREVIOUS_NAME).exists() or (package_dir / KEEP_NAME).exists():
        return False
    answered = read_small(package_dir / ANSWERED_NAME, 64)
    manifest = read_small(package_dir / MANIFEST_NAME, MAX_MANIFEST_BYTES)
    return answered is not None and manifest is not None and answered.decode("ascii", "replace") == version_id(manifest)


def note_answered(package_dir: Path, version: str) -> None:
    """That version has answered. Without a version before there is nothing to note."""
    if SHA256_PATTERN.fullmatch(version) and (package_dir / PREVIOUS_NAME).exists():
        put(package_dir / ANSWERED_NAME, version.encode("ascii"))


def _move_in(update: Path, package_dir: Path) -> None:
    """Names are hashes, so nothing is disturbed."""
    for folder in (CHUNKS_NAME, FILES_NAME):
        for path in sorted((update / folder).iterdir()):
            if SHA256_PATTERN.fullmatch(path.name.removesuffix(SEALED_SUFFIX)):
                os.replace(path, package_dir / folder / path.name)
        sync_dir(package_dir / folder)
