"""Format 3: a package that holds no language model but a part for speech (a detector, a recogniser or a voice).

Its files are what an engine wants to find in a folder. Each lies in chunks of its own, one after another in the order
of the list, so a file of at most 100 MB is one chunk; an empty file has none. All the rest of a package (chunks,
segments, signature, seal, updates) is as in the other formats. Engines see the files through part_view.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, get_args

from pocketseek.errors import FormatError
from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package.strict_json import Fields, JsonValue, check_free, format_error

if TYPE_CHECKING:
    from pocketseek.package.entries import ChunkEntry

PartKind = Literal["detector", "recogniser", "voice"]
PART_KIND = "speech part"
PART_STAGE = "part"
MAX_PART_FILES = 10_000
MAX_SAMPLE_RATE = 192_000

_KINDS: tuple[PartKind, ...] = get_args(PartKind)
_PART = frozenset({"kind", "engine", "languages", "sample_rate", "licence", "origin", "files"})
_FILE = frozenset({"name", "num_chunks"})
_ENGINE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_LANGUAGE = re.compile(r"\*|[a-z]{2,3}")
_LINE = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_STEP = r"[A-Za-z0-9_!+][A-Za-z0-9._!+@ -]{0,99}"  # no step begins with a dot, so no path leads out
_PATH = re.compile(rf"{_STEP}(?:/{_STEP}){{0,7}}")


@dataclass(frozen=True)
class PartFile:
    """name: its path in the folder that an engine sees, with slashes."""

    name: str
    num_chunks: int


@dataclass(frozen=True)
class SpeechPart:
    """engine: the library that runs it. languages: that it is for; "*": others too; none: any sound. sample_rate: of a
    voice's sound, Hz; 0: not known, or no voice. origin: whose model it is, for people."""

    kind: PartKind
    engine: str
    languages: tuple[str, ...]
    licence: str
    origin: str
    files: tuple[PartFile, ...] = ()
    sample_rate: int = 0

    def files_with_chunks(self, chunks: Sequence[ChunkEntry]) -> Iterator[tuple[PartFile, Sequence[ChunkEntry]]]:
        """chunks: all of the manifest."""
        done = 0
        for file in self.files:
            yield file, chunks[done : done + file.num_chunks]
            done += file.num_chunks

    def files_with(self, chunks: Sequence[ChunkEntry], sha256: str) -> tuple[str, ...]:
        """Names of the files that have a chunk."""
        own = self.files_with_chunks(chunks)
        return tuple(file.name for file, of_it in own if any(chunk.sha256 == sha256 for chunk in of_it))


def parse_part(value: JsonValue, where: str) -> SpeechPart:
    """Raises FormatError."""
    fields = Fields(value, where, _PART)
    check_free(value, where)
    files = fields.items("files")
    if not 1 <= len(files) <= MAX_PART_FILES:
        raise format_error(f"{where}.files", f"{len(files)} of them")
    return SpeechPart(
        kind=_kind(fields.raw("kind"), where),
        engine=fields.text("engine", _ENGINE),
        languages=tuple(_text(one, _LANGUAGE, f"{where}.languages") for one in fields.items("languages")),
        licence=fields.text("licence", _LINE),
        origin=fields.text("origin", _LINE),
        files=tuple(_parse_file(item, f"{where}.files[{index}]") for index, item in enumerate(files)),
        sample_rate=fields.integer("sample_rate", 0, MAX_SAMPLE_RATE),
    )


def render_part(part: SpeechPart) -> Mapping[str, JsonValue]:
    return asdict(part)


def check_part(part: SpeechPart, chunks: Sequence[ChunkEntry]) -> None:
    """Raises FormatError unless the files take all chunks, and can lie in one folder together."""
    _check_names(part)
    num_chunks = sum(file.num_chunks for file in part.files)
    if num_chunks != len(chunks) or not chunks:
        raise format_error("manifest.json: part.files", f"{num_chunks} chunks of {len(chunks)}")
    known: dict[str, tuple[int, tuple[str, ...]]] = {}
    for index, chunk in enumerate(chunks):
        where = f"manifest.json: chunks[{index}]"
        if chunk.stage != PART_STAGE:
            raise format_error(where, f"stage {chunk.stage[:40]!r} in a speech part")
        if len(chunk.segments) != -(-chunk.num_bytes // SEGMENT_BYTES):
            raise format_error(where, f"{len(chunk.segments)} segment hashes for {chunk.num_bytes} bytes")
        content = chunk.num_bytes, chunk.segments
        if known.setdefault(chunk.sha256, content) != content:
            raise format_error(where, "the same hash as an earlier chunk with another content")


def check_file_name(name: str) -> str:
    """The name itself. Raises FormatError if no file of a part can be called so."""
    return _text(name, _PATH, "the name of a file")


def _check_names(part: SpeechPart) -> None:
    """Whether case counts is the file system's business, so no two may differ by that alone."""
    names = [file.name.casefold() for file in part.files]
    folders = {name[:at] for name in names for at, letter in enumerate(name) if letter == "/"}
    if len(set(names)) != len(names) or folders & set(names):
        raise format_error("manifest.json: part.files", "two files at one place")


def _parse_file(value: JsonValue, where: str) -> PartFile:
    fields = Fields(value, where, _FILE)
    return PartFile(fields.text("name", _PATH), fields.integer("num_chunks", 0, 2**20))


def _kind(value: JsonValue, where: str) -> PartKind:
    for kind in _KINDS:
        if value == kind:
            return kind
    raise FormatError(f"{where}.kind: {str(value)[:40]!r} is not known to this program; update pocketseek")


def _text(value: JsonValue, pattern: re.Pattern[str], where: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise format_error(where, f"{str(value)[:80]!r} is not allowed")
    return value
