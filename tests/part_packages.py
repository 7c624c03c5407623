"""Small speech parts as packages."""

from __future__ import annotations

from pathlib import Path

from pocketseek.package.speech_part import PartKind, SpeechPart
from pocketseek.package.writer import PackageWriter

CHUNK_BYTES = 1000
FILES = {"model.bin": bytes(range(256)) * 10, "config.json": b"{}", "espeak-ng-data/lang/en": b"en", "empty": b""}


def part_of_kind(kind: PartKind = "recogniser", engine: str = "faster-whisper") -> SpeechPart:
    return SpeechPart(kind, engine, ("en",), "MIT", "a test", sample_rate=22_050 if kind == "voice" else 0)


def write_part(
    destination: Path, part: SpeechPart | None = None, files: dict[str, bytes] | None = None, *, name: str = ""
) -> Path:
    """model.bin of FILES lies in three chunks."""
    with PackageWriter(destination, max_chunk_bytes=CHUNK_BYTES) as writer:
        for file, data in (files or FILES).items():
            writer.add_part_file(file, len(data), [data])
        writer.commit_part(name=name or destination.name, part=part or part_of_kind(), provenance={})
    return destination
