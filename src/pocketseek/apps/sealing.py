"""Sealing installed models: which cipher this device is fast with, and keys that a program of the user's gives.

A key command is for keys that a system keeps, the Android Keystore through Termux:API say: its standard output, byte
for byte, is the key. It must print the same each time.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from pocketseek.apps.kept_pages import forget_plain_pages, forget_sealed_pages
from pocketseek.apps.onnx_models import sweep_cache
from pocketseek.device.cpu import has_aes
from pocketseek.errors import SealError, UsageError
from pocketseek.package.manifest import read_manifest
from pocketseek.package.part_view import forget_views
from pocketseek.package.sealing.ciphers import Cipher
from pocketseek.package.sealing.in_place import Progress, SealReport, seal_package, unseal_package
from pocketseek.package.sealing.key_slots import Secret, key_secret
from pocketseek.package.sealing.seal_record import read_record
from pocketseek.settings import Settings

_PATIENCE_S = 120.0  # a person may have to put a finger on a sensor


def choose_cipher() -> Cipher:
    """AES where the processor has instructions for it; without them it is several times slower than ChaCha20, and its
    time may tell something about the key."""
    return "aes-256-gcm" if has_aes() else "chacha20-poly1305"


def seal_model(
    path: Path, get_secret: Callable[[], Secret], settings: Settings, progress: Progress | None = None
) -> SealReport:
    """`seal_package`; what was made of it in the data directory's cache, which is in the clear, goes as well: exports
    for ONNX Runtime, computed pages of prompts, and copies of a speech part's files. They go when the sealing is begun,
    so that nothing of them is left once the model counts as sealed, and again in the end: somebody may have had it
    open. Raises as that."""

    def forget() -> None:
        manifest = read_manifest(path)
        if manifest.part is not None:
            forget_views(path.name, settings.views_dir)
            return
        sweep_cache(settings)
        forget_plain_pages(manifest, settings)

    report = seal_package(path, get_secret, choose_cipher(), progress, begun=forget)
    forget()
    return report


def unseal_model(path: Path, secret: Secret, settings: Settings, progress: Progress | None = None) -> SealReport:
    """`unseal_package`; pages of prompts that were kept under its key, which is no more, go as well. Raises as that."""
    record = read_record(path)
    report = unseal_package(path, secret, progress)
    if record is not None:
        forget_sealed_pages(record, settings)
    return report


def run_key_command(command: str) -> Secret:
    """Raises UsageError if it cannot be run, SealError if it gives no key."""
    if not command.strip():
        raise UsageError("the key command is empty; give --key-command a program that prints the key")
    try:
        words = shlex.split(command)
        done = subprocess.run(words, stdout=subprocess.PIPE, timeout=_PATIENCE_S, check=False)
    except (ValueError, OSError) as error:
        raise UsageError(f"the key command cannot be run ({error}); check --key-command") from error
    except subprocess.TimeoutExpired as error:
        raise SealError(
            f"the key command did not end within {_PATIENCE_S:.0f} s; run it by hand and see why"
        ) from error
    if done.returncode:
        raise SealError(f"the key command ended with code {done.returncode}; run it by hand and see why")
    return key_secret(done.stdout, "what the key command prints")
