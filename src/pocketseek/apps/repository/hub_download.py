"""A checkpoint of a model hub, downloaded and converted: the download is kept until the package stands.

It lies in `<downloads>/hub/OWNER--NAME@COMMIT`, so an interrupted one is gone on with, and one of an older commit goes.
The texts come first: whether the model's family is known shows before its weights are fetched.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketseek.apps.repository.fetch import fetch_all
from pocketseek.apps.repository.http_source import HttpSource
from pocketseek.apps.repository.hub import Checkpoint, HubFile, check_file, files_address
from pocketseek.apps.repository.open_source import HubCheckpoint, Link
from pocketseek.apps.repository.wanted import WantedFile
from pocketseek.convert.families.choose import check_config
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.recipe import Quant
from pocketseek.convert.sources.json_text import read_json_object
from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.package.lock import destination_lock
from pocketseek.package.storage import check_free_space, storage_errors

Progress = Callable[[str, int, int], None]  # "download" or "convert", done, total

_CONFIG_NAME = "config.json"
_MAX_CONFIG_BYTES = 4 << 20
_SPARE_BYTES = 64_000_000
# What a package takes of the bytes of its checkpoint, at most: of 16-bit safetensors, of GGUF (kept as it is).
_SHARES = {"safetensors": {"q4": 0.45, "q4-pure": 0.40, "q8": 0.65, "keep": 1.1}, "gguf": {"keep": 1.4}}
_DEFAULT_QUANT = {"safetensors": "q4", "gguf": "keep"}


@dataclass(frozen=True)
class Converted:
    """fetched_bytes: now, not in an earlier try. kept: where the download stays, if it does."""

    path: Path
    fetched_bytes: int
    kept: Path | None


def convert_from_hub(
    found: HubCheckpoint,
    checkpoint: Checkpoint,
    link: Link,
    *,
    name: str,
    quant: Quant | None,
    models_dir: Path,
    downloads_dir: Path,
    keep_download: bool,
    allow: Callable[[int], None],
    progress: Progress,
) -> Converted:
    """Raises what fetching and converting raise. What can never be converted does not stay."""
    repository = found.repository
    base = downloads_dir / "hub" / repository.name.name.replace("/", "--")
    folder = base.with_name(f"{base.name}@{repository.commit[:12]}")
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with destination_lock(base):
        _remove_older(base, folder)
        try:
            fetched_bytes = _fetch(found, checkpoint, link, folder, quant, allow, progress)
            path = convert_checkpoint(
                folder if checkpoint.kind == "safetensors" else folder / checkpoint.files[0].name,
                name=name,
                quant=quant,
                models_dir=models_dir,
                progress=lambda stage, done_bytes, total_bytes: progress("convert", done_bytes, total_bytes),
            )
        except (UnsupportedError, FormatError):
            if not keep_download:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        if not keep_download:
            shutil.rmtree(folder, ignore_errors=True)
    return Converted(path, fetched_bytes, folder if keep_download else None)


def _fetch(
    found: HubCheckpoint,
    checkpoint: Checkpoint,
    link: Link,
    folder: Path,
    quant: Quant | None,
    allow: Callable[[int], None],
    progress: Progress,
) -> int:
    """Bytes that were fetched."""
    repository = found.repository
    source = HttpSource(files_address(link.network, repository.name, repository.commit), found.client)
    wanted = {file: WantedFile(file.name, folder / file.name, file.num_bytes, file.sha256) for file in checkpoint.files}
    missing_bytes = sum(one.missing_bytes for one in wanted.values())
    allow(missing_bytes)
    check_free_space(folder, missing_bytes + _package_bytes(checkpoint, quant) + _SPARE_BYTES)
    is_text = {file: not file.name.endswith((".safetensors", ".gguf")) for file in checkpoint.files}
    fetched_bytes = 0
    for part in ([file for file in wanted if is_text[file]], [file for file in wanted if not is_text[file]]):
        fetched_bytes += _fetch_some(source, part, wanted, link.num_connections, progress)
        if (folder / _CONFIG_NAME).is_file():
            check_config(read_json_object(folder / _CONFIG_NAME, _MAX_CONFIG_BYTES), str(repository.name))
    return fetched_bytes


def _fetch_some(
    source: HttpSource,
    files: Sequence[HubFile],
    wanted: dict[HubFile, WantedFile],
    num_connections: int,
    progress: Progress,
) -> int:
    """What is not there yet; returns how many bytes arrived. What is there has its name because its hash was right."""
    there_bytes = sum(file.num_bytes for file in files if wanted[file].target.exists())
    total_bytes = sum(file.num_bytes for file in files)
    fetched_bytes = fetch_all(
        source,
        [wanted[file] for file in files if not wanted[file].target.exists()],
        num_connections=num_connections,
        progress=lambda done_bytes, _: progress("download", there_bytes + done_bytes, total_bytes),
    )
    with storage_errors(wanted[files[0]].target if files else Path()):
        for file in files:
            check_file(wanted[file].target, file)
    return fetched_bytes


def _package_bytes(checkpoint: Checkpoint, quant: Quant | None) -> int:
    """What the package will take, roughly and rather too much; the conversion itself knows it exactly."""
    shares = _SHARES[checkpoint.kind]
    return round(checkpoint.num_bytes * shares.get(quant or _DEFAULT_QUANT[checkpoint.kind], 1.4))


def _remove_older(base: Path, folder: Path) -> None:
    with storage_errors(folder):
        for path in base.parent.glob(f"{base.name}@*"):
            if path != folder:
                shutil.rmtree(path, ignore_errors=True)
