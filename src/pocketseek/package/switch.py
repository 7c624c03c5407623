"""Two versions of a package in one directory: changing to a new one, going back, and letting go of the old one.

    manifest.json, manifest.sig    the version in use
    previous.json, previous.sig    the version before, as long as one can go back to it; prune leaves its chunks
    previous.keep                  it stays until the next update, whatever is answered
    previous.answered              SHA-256 of the manifest of a version that has answered since there is a previous one
    previous.back                  going back has begun; holds "signed" or "unsigned", which the version before is
    .<name>.pocketseek-update/     what arrived of the next version: manifest.json and manifest.sig, chunks/, files/,
                                   deltas/; `unsigned` if it has no signature

Every move has one rename that decides. `settle` brings whatever a kill or a power cut left to one side of it, and all
moves are made of the steps before that rename and `settle` after it:

    new version    chunks and files are moved in; previous.sig, previous.json become copies of the present ones;
                   manifest.sig the new signature; manifest.json THE NEW MANIFEST, moved out of the update directory;
                   settle: without a new signature manifest.sig goes; prune; the update directory goes
    going back     previous.back; manifest.json THE PREVIOUS MANIFEST, moved from previous.json;
                   settle: previous.sig becomes manifest.sig, or manifest.sig goes; prune; previous.back goes
    letting go     previous.json REMOVED; settle: previous.sig, previous.keep; prune; previous.answered

What settle sees, in this order: previous.back with previous.json (nothing happened yet: it goes) or without (finish);
an update directory without a manifest (finish); previous.json equal to manifest.json (the new version was not reached:
manifest.sig is made a copy of previous.sig, or goes, then previous.json); names of a previous version without
previous.json (finish letting go). Each is safe to run again when cut short itself.

A reader needs none of this: manifest.json is always whole, and the chunks and files that it names are there. Only for a
signature it asks `read_signature`: between two renames the one that belongs to the manifest may be previous.sig. The
caller holds the destination's lock for everything but the questions, and turns OSErrors into StorageError.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from pocketseek.errors import NotFoundError
from pocketseek.package.install import PREVIOUS_NAMES, prune, remove_tree
from pocketseek.package.manifest import MAX_MANIFEST_BYTES, Manifest, parse_manifest
from pocketseek.package.paths import (
    ANSWERED_NAME,
    CHUNKS_NAME,
    FILES_NAME,
    GOING_BACK_NAME,
    KEEP_NAME,
    MANIFEST_NAME,
    MARKER_TEMP_PREFIX,
    PREVIOUS_NAME,
    PREVIOUS_SIGNATURE_NAME,
    SHA256_PATTERN,
    SIGNATURE_NAME,
    update_path,
)
from pocketseek.package.storage import sync_dir, write_file
from pocketseek.package.verify import check_chunks

UNSIGNED_NAME = "unsigned"
_SIGNED, _UNSIGNED = b"signed", b"unsigned"
_MAX_SIGNATURE_BYTES = 64 * 1024


def is_updating(package_dir: Path) -> bool:
    """Whether something arrived of a next version that an update can go on with."""
    return package_dir.is_dir() and (update_path(package_dir) / MANIFEST_NAME).is_file()


def is_settled(package_dir: Path) -> bool:
    """Whether `settle` would have nothing to do, as far as names tell."""
    if (package_dir / GOING_BACK_NAME).exists() or _was_switched(package_dir):
        return False
    if (package_dir / PREVIOUS_NAME).exists():
        return not _is_unreached(package_dir)
    return not any((package_dir / name).exists() for name in PREVIOUS_NAMES)


def previous_manifest(package_dir: Path) -> Manifest | None:
    """Of the version that one could go back to. Raises FormatError if it is damaged, OSError."""
    data = previous_manifest_bytes(package_dir)
    return parse_manifest(data) if data is not None else None


def previous_manifest_bytes(package_dir: Path) -> bytes | None:
    """None without a version before, or where it is the one in use (an update was cut short)."""
    data = _read(package_dir / PREVIOUS_NAME, MAX_MANIFEST_BYTES)
    return data if data != _read(package_dir / MANIFEST_NAME, MAX_MANIFEST_BYTES) else None


def read_signature(package_dir: Path) -> bytes | None:
    """That of manifest.json, also where a move was cut short; None if it is not signed. Raises OSError.

    Not one step with reading the manifest: who finds that they do not fit reads both again, in case of a move between.
    """
    back = _read(package_dir / GOING_BACK_NAME, len(_UNSIGNED))
    has_gone_back = back is not None and not (package_dir / PREVIOUS_NAME).exists()
    if (has_gone_back and back == _UNSIGNED) or (_was_switched(package_dir) and _is_unsigned_update(package_dir)):
        return None
    if _is_unreached(package_dir) or has_gone_back:
        signature = _read(package_dir / PREVIOUS_SIGNATURE_NAME, _MAX_SIGNATURE_BYTES)
        if signature is not None or not has_gone_back:
            return signature
    return _read(package_dir / SIGNATURE_NAME, _MAX_SIGNATURE_BYTES)


def version_id(manifest_bytes: bytes) -> str:
    """What tells versions of a package apart."""
    return hashlib.sha256(manifest_bytes).hexdigest()


def switch_to_update(package_dir: Path, *, keep_previous: bool) -> None:
    """Make the version in the update directory, whose chunks and files are all there or in the package, synced and
    checked, the one in use."""
    settle(package_dir)
    drop_previous(package_dir)
    update = update_path(package_dir)
    _move_in(update, package_dir)
    signature = _read(package_dir / SIGNATURE_NAME, _MAX_SIGNATURE_BYTES)
    if keep_previous:
        write_file(package_dir / KEEP_NAME, b"")
    if signature is not None:
        _put(package_dir / PREVIOUS_SIGNATURE_NAME, signature)
    _put(package_dir / PREVIOUS_NAME, (package_dir / MANIFEST_NAME).read_bytes())
    new_signature = _read(update / SIGNATURE_NAME, _MAX_SIGNATURE_BYTES)
    if new_signature is not None:
        _put(package_dir / SIGNATURE_NAME, new_signature)
    else:
        write_file(update / UNSIGNED_NAME, b"")
        sync_dir(update)
    os.replace(update / MANIFEST_NAME, package_dir / MANIFEST_NAME)
    sync_dir(package_dir)
    sync_dir(update)
    settle(package_dir)


def go_back(package_dir: Path) -> Manifest:
    """Make the version before the one in use; the present one goes. Returns its manifest.

    Raises NotFoundError (there is none), FormatError, IntegrityError (it is damaged), and changes nothing then.
    """
    settle(package_dir)
    manifest = previous_manifest(package_dir)
    if manifest is None:
        raise NotFoundError(
            f"{package_dir} has no version to go back to; one is kept from an update until the new version has answered"
        )
    check_chunks(package_dir, manifest, mode="auto")
    is_signed = (package_dir / PREVIOUS_SIGNATURE_NAME).exists()
    _put(package_dir / GOING_BACK_NAME, _SIGNED if is_signed else _UNSIGNED)
    os.replace(package_dir / PREVIOUS_NAME, package_dir / MANIFEST_NAME)
    sync_dir(package_dir)
    settle(package_dir)
    return manifest


def drop_previous(package_dir: Path) -> int:
    """Let go of the version before. Returns the bytes freed."""
    if not (package_dir / PREVIOUS_NAME).exists():
        return 0
    (package_dir / PREVIOUS_NAME).unlink()
    sync_dir(package_dir)
    return _finish_letting_go(package_dir)


def has_answered(package_dir: Path) -> bool:
    """Whether the version in use has answered since it came, and the one before may go."""
    if not (package_dir / PREVIOUS_NAME).exists() or (package_dir / KEEP_NAME).exists():
        return False
    answered = _read(package_dir / ANSWERED_NAME, 64)
    manifest = _read(package_dir / MANIFEST_NAME, MAX_MANIFEST_BYTES)
    return answered is not None and manifest is not None and answered.decode("ascii", "replace") == version_id(manifest)


def note_answered(package_dir: Path, version: str) -> None:
    """That version has answered. Without a version before there is nothing to note."""
    if SHA256_PATTERN.fullmatch(version) and (package_dir / PREVIOUS_NAME).exists():
        _put(package_dir / ANSWERED_NAME, version.encode("ascii"))


def settle(package_dir: Path) -> int:
    """Finish, or undo, what was cut short. Returns the bytes freed."""
    freed_bytes = 0
    if (package_dir / GOING_BACK_NAME).exists():
        freed_bytes += _settle_going_back(package_dir)
    if _was_switched(package_dir):
        freed_bytes += _finish_switching(package_dir)
    if _is_unreached(package_dir):
        _undo_switching(package_dir)
    if not (package_dir / PREVIOUS_NAME).exists():
        freed_bytes += _finish_letting_go(package_dir)
    return freed_bytes


def _settle_going_back(package_dir: Path) -> int:
    freed_bytes = 0
    if not (package_dir / PREVIOUS_NAME).exists():
        if _read(package_dir / GOING_BACK_NAME, len(_UNSIGNED)) == _UNSIGNED:
            (package_dir / SIGNATURE_NAME).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            os.replace(package_dir / PREVIOUS_SIGNATURE_NAME, package_dir / SIGNATURE_NAME)
        sync_dir(package_dir)
        freed_bytes = prune(package_dir)
    (package_dir / GOING_BACK_NAME).unlink()
    sync_dir(package_dir)
    return freed_bytes


def _was_switched(package_dir: Path) -> bool:
    return update_path(package_dir).is_dir() and not is_updating(package_dir)


def _finish_switching(package_dir: Path) -> int:
    update = update_path(package_dir)
    if _is_unsigned_update(package_dir):
        (package_dir / SIGNATURE_NAME).unlink(missing_ok=True)
        sync_dir(package_dir)
    freed_bytes = prune(package_dir)
    remove_tree(update)
    return freed_bytes


def _is_unsigned_update(package_dir: Path) -> bool:
    return (update_path(package_dir) / UNSIGNED_NAME).exists()


def _is_unreached(package_dir: Path) -> bool:
    previous = _read(package_dir / PREVIOUS_NAME, MAX_MANIFEST_BYTES)
    return previous is not None and previous == _read(package_dir / MANIFEST_NAME, MAX_MANIFEST_BYTES)


def _undo_switching(package_dir: Path) -> None:
    signature = _read(package_dir / PREVIOUS_SIGNATURE_NAME, _MAX_SIGNATURE_BYTES)
    if signature is not None:
        _put(package_dir / SIGNATURE_NAME, signature)
    else:
        (package_dir / SIGNATURE_NAME).unlink(missing_ok=True)
    (package_dir / PREVIOUS_NAME).unlink()
    sync_dir(package_dir)


def _finish_letting_go(package_dir: Path) -> int:
    names = [name for name in PREVIOUS_NAMES if (package_dir / name).exists()]
    if not names:
        return 0
    freed_bytes = 0
    for name in names:
        if name == ANSWERED_NAME or name == names[-1]:  # the last sign that there may be chunks to prune
            freed_bytes += prune(package_dir)
        (package_dir / name).unlink()
    sync_dir(package_dir)
    return freed_bytes


def _move_in(update: Path, package_dir: Path) -> None:
    """Names are hashes, so nothing is disturbed."""
    for folder in (CHUNKS_NAME, FILES_NAME):
        for path in sorted((update / folder).iterdir()):
            if SHA256_PATTERN.fullmatch(path.name):
                os.replace(path, package_dir / folder / path.name)
        sync_dir(package_dir / folder)


def _put(path: Path, data: bytes) -> None:
    """Replace a file in one step that lasts."""
    new = path.with_name(MARKER_TEMP_PREFIX + path.name)  # which `ModelStore.clean` knows
    write_file(new, data)
    os.replace(new, path)
    sync_dir(path.parent)


def _read(path: Path, max_bytes: int) -> bytes | None:
    """None if there is no such file. What is longer is cut, and then equals nothing."""
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except FileNotFoundError:
        return None
