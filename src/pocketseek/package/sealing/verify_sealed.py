"""Is a sealed package what its manifest says? With its key: everything is decrypted and compared with the manifest.

Without the key (verify.py) the sealed files are compared with sealed.json, which only who has the key can write; this
also finds a sealed.json that was changed, and a manifest that is not the one that was sealed.
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from pocketseek.errors import UsageError
from pocketseek.package.manifest import Manifest
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.sealing.seal_hold import SealHold
from pocketseek.package.sealing.seal_record import files_of, read_record
from pocketseek.package.verify import Progress, VerifyReport, check_chunks, on_settled_manifest


def verify_with_key(package_dir: Path, secret: Secret, progress: Progress | None = None) -> VerifyReport:
    """Raises NotFoundError, FormatError, IntegrityError, StorageError, SealError, UsageError (it is not sealed)."""
    started_s = time.perf_counter()

    def check(manifest: Manifest) -> Manifest:
        check_chunks(package_dir, manifest, mode="quick")
        record = read_record(package_dir)
        if record is None:
            raise UsageError(f"{package_dir} is not sealed; verify it without a key")
        done_bytes = 0

        def report(num_bytes: int) -> None:
            nonlocal done_bytes
            done_bytes += num_bytes
            if progress is not None:
                progress(done_bytes, manifest.num_bytes)

        with closing(SealHold.open(package_dir, record, secret)) as hold:
            for file in files_of(manifest):
                hold.check(file, report)
        return manifest

    manifest = on_settled_manifest(package_dir, check)
    duration_s = time.perf_counter() - started_s
    num_files = len(manifest.files)
    return VerifyReport(True, len(manifest.unique_chunks()), num_files, manifest.num_bytes, duration_s, with_key=True)
