"""Error rates of our streaming recognition next to those of faster-whisper's own transcribe, same model, same sound.

    python benchmarks/voice_reference.py DIR [--recogniser NAME] [--language en]

DIR: WAV files with their texts (voice_recordings.py, voice_dialogues.py). Three readings of each file:
- reference: faster_whisper's `WhisperModel.transcribe` of the whole file, as its users call it (beam 5, its own cutting
  into windows of 30 s);
- whole: our recogniser on the whole file, in one utterance, fed at once;
- streaming: `pocketseek voice bench --recognise-only`: end-pointing, partial texts, turns.
Prints a table by kind of file (the name up to the first "-" or digit) and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pocketseek.apps.voice.bench.files import SpokenFile, find_files
from pocketseek.apps.voice.bench.report import Rates, rates_of
from pocketseek.apps.voice.bench.run import Player
from pocketseek.apps.voice.contract import Recogniser
from pocketseek.apps.voice.engines.choose import choose_detector, choose_recogniser
from pocketseek.apps.voice.engines.tts_espeak import EspeakSynthesiser
from pocketseek.apps.voice.installed_parts import InstalledParts
from pocketseek.settings import Settings, read_settings


def by_reference(settings: Settings, name: str) -> Callable[[SpokenFile], str]:
    from faster_whisper import WhisperModel

    def opened(folder: Path) -> WhisperModel:
        return WhisperModel(str(folder), device="cpu", compute_type="int8", local_files_only=True)

    parts = InstalledParts(settings)
    found = next((part.path for part in parts.of_kind("recogniser") if part.name == name), None)
    whisper = opened(settings.voice_dir / name) if found is None else parts.open(found, opened)

    def read(file: SpokenFile) -> str:
        segments, _ = whisper.transcribe(file.samples, language=file.language)
        return " ".join(segment.text.strip() for segment in segments)

    return read


def by_whole(recogniser: Recogniser, file: SpokenFile) -> str:
    utterance = recogniser.start(file.language)
    utterance.feed(file.samples)
    return utterance.finish()


def by_stream(recogniser: Recogniser, files: list[SpokenFile]) -> list[str]:
    player = Player(recogniser, EspeakSynthesiser(), choose_detector(read_settings()).open(), None, fast=True)
    return [one.transcript for one in player.play(files, lambda number, file: print(f"\r{number}", end="", flush=True))]


def kind_of(file: SpokenFile) -> str:
    return re.split(r"[-\d]", file.name.removesuffix(".wav"))[0] + f" ({file.language})"


def rates_by_kind(files: list[SpokenFile], texts: list[str]) -> dict[str, Rates]:
    found: dict[str, Rates] = {}
    for kind in dict.fromkeys(map(kind_of, files)):
        triples = [
            (f.language or "en", f.reference or "", t) for f, t in zip(files, texts, strict=True) if kind_of(f) == kind
        ]
        (found[kind],) = rates_of(triples).values()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recogniser")
    parser.add_argument("--language")
    options = parser.parse_args()
    settings = read_settings()
    files = [one for one in find_files(options.folder) if one.reference and options.language in (None, one.language)]
    chosen = choose_recogniser(settings, files[0].language, name=options.recogniser)
    with closing(chosen.open()) as recogniser:
        texts = {
            "reference": list(map(by_reference(settings, chosen.name), files)),
            "whole": [by_whole(recogniser, file) for file in files],
            "streaming": by_stream(recogniser, files),
        }
    table: dict[str, dict[str, Any]] = {}
    print(f"\r{chosen.name}: error rates of words / characters")
    for way, found in texts.items():
        table[way] = {kind: asdict(rates) for kind, rates in rates_by_kind(files, found).items()}
        for kind, rates in table[way].items():
            both = f"{rates['word_error_rate']:>8.1%} {rates['character_error_rate']:>8.1%}"
            print(f"{way:10} {kind:24} {both}  {rates['words']}")
    print(json.dumps({"benchmark": "voice_reference", "recogniser": chosen.name, "rates": table, "texts": texts}))


if __name__ == "__main__":
    main()
