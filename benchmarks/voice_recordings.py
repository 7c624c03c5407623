"""Recorded speech of people with what they say, for `voice bench`, out of packages that carry it for their own tests.

    python benchmarks/voice_recordings.py FOLDER [--packages FOLDER]

- `two_cities.wav` of the package moonshine-voice: the opening of A Tale of Two Cities (44 s); the text is Dickens's.
- LibriVox recordings of Sense and Sensibility and spoken playing cards, with their transcripts, out of the source
  package of pocketsphinx.

The packages are fetched by pip without being installed, into --packages if given, where they are found again.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

TWO_CITIES = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it "
    "was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of "
    "Darkness, it was the spring of hope, it was the winter of despair, we had everything before us, we had nothing "
    "before us, we were all going direct to Heaven, we were all going direct the other way—in short, the period was so "
    "far like the present period, that some of its noisiest authorities insisted on its being received, for good or "
    "for evil, in the superlative degree of comparison only."
)
_TRANSCRIPT = re.compile(r"<s>(.*)</s>\s*\((\S+)\)")


def fetched(requirement: str, pattern: str, packages: Path, *, source: bool) -> Path:
    found = sorted(packages.glob(pattern))
    if not found:
        kind = ["--no-binary=:all:", "--no-build-isolation"] if source else ["--only-binary=:all:"]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *kind, f"--dest={packages}"]
        # Of a source package pip also asks for its requirements, which takes its build system; the file is there then.
        subprocess.run([*command, requirement], check=not source, stderr=subprocess.DEVNULL if source else None)
        found = sorted(packages.glob(pattern))
    if not found:
        raise SystemExit(f"{requirement} cannot be downloaded; put {pattern} into --packages")
    return found[0]


def write_pair(folder: Path, name: str, sound: bytes, text: str) -> None:
    (folder / f"{name}.wav").write_bytes(sound)
    (folder / f"{name}.txt").write_text(" ".join(text.split()) + "\n", encoding="utf-8")


def unpack_two_cities(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        write_pair(folder, "two_cities", archive.read("moonshine_voice/assets/two_cities.wav"), TWO_CITIES)


def unpack_sphinx(archive_path: Path, folder: Path) -> None:
    with tarfile.open(archive_path) as archive:
        members = {
            Path(one.name).relative_to(Path(one.name).parts[0]).as_posix(): one for one in archive if one.isfile()
        }

        def read(name: str) -> bytes:
            file = archive.extractfile(members[name])
            assert file is not None
            return file.read()

        for kind, transcripts in (("librivox", "transcription"), ("cards", "cards.transcription")):
            for line in read(f"test/data/{kind}/{transcripts}").decode().splitlines():
                if found := _TRANSCRIPT.search(line):
                    name = f"{kind}-{found[2].rsplit('-', 1)[-1]}"
                    write_pair(folder, name, read(f"test/data/{kind}/{found[2]}.wav"), found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--packages", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        packages = options.packages or Path(temporary)
        packages.mkdir(parents=True, exist_ok=True)
        unpack_two_cities(fetched("moonshine-voice", "moonshine_voice-*.whl", packages, source=False), options.folder)
        unpack_sphinx(fetched("pocketsphinx", "pocketsphinx-*.tar.gz", packages, source=True), options.folder)
    print(f"{len(list(options.folder.glob('*.wav')))} recordings with their texts in {options.folder}")


if __name__ == "__main__":
    main()
