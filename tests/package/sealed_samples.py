"""Tiny sealed packages; keys that cost nothing to stretch."""

from __future__ import annotations

from pathlib import Path

from package.samples import FILES, TINY, sample_tensors, write_sample

from pocketseek.package.manifest import Manifest, read_manifest, read_manifest_bytes
from pocketseek.package.sealing.ciphers import Cipher
from pocketseek.package.sealing.in_place import seal_package
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.sealing.opened_seal import OpenedSeal
from pocketseek.package.sealing.seal_record import PackageFile, files_of, read_record

FAST_KIB = 8 * 1024  # the least that a slot may ask for
GCM: Cipher = "aes-256-gcm"
CHACHA: Cipher = "chacha20-poly1305"


def key(letter: str = "k") -> Secret:
    return Secret("key", bytearray(letter.encode() * 32))


def write_sealed_sample(
    destination: Path, secret: Secret | None = None, *, seed: int = 1, cipher: Cipher = GCM
) -> Path:
    path = write_sample(destination, seed=seed)
    seal_package(path, lambda: secret or key(), cipher)
    return path


def open_seal(path: Path, secret: Secret | None = None) -> tuple[OpenedSeal, Manifest]:
    record, manifest = read_record(path), read_manifest(path)
    assert record is not None
    return OpenedSeal.open(path, manifest, read_manifest_bytes(path), record, secret or key()), manifest


def files_in(path: Path) -> tuple[PackageFile, ...]:
    return files_of(read_manifest(path))


def read_all(path: Path, secret: Secret | None = None) -> int:
    """Decrypt everything and compare; the seed of the sample."""
    seal, manifest = open_seal(path, secret)
    seed = manifest.recipe["seed"]
    assert isinstance(seed, int)
    chunks = {entry.sha256: seal.file("chunks", entry.sha256) for entry in manifest.unique_chunks()}
    tensors = sample_tensors(TINY, seed, "q8s")
    for tensor in manifest.tensors:
        parts = [
            chunks[manifest.chunks[one.chunk].sha256][one.offset : one.offset + one.num_bytes] for one in tensor.extents
        ]
        assert b"".join(parts) == tensors[tensor.name][2]
    for name, data in FILES.items():
        assert seal.file("files", manifest.files[name].sha256) == data
    seal.close()
    return seed


def plaintext_in(path: Path) -> list[str]:
    """Files of the package that hold what they have as a name: chunks and files that are not sealed."""
    return [file.name for file in files_in(path) if file.plain_path(path).exists()]
