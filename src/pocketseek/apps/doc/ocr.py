"""Words out of a picture, by the program `tesseract` where it is installed; pocketseek carries no OCR of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache

from pocketseek.apps.doc.formats.block_text import is_wide, join_lines, tidy
from pocketseek.errors import FormatError, UnsupportedError

_TIMEOUT_S = 120
_WANTED = ("chi_sim", "chi_tra", "eng")  # what is installed of these, together
_MAX_BYTES = 4_000_000
_PARAGRAPHS = re.compile(r"\n\s*\n")
_SPACE = re.compile(r"(?<=\S) (?=\S)")


def read_picture(picture: bytes) -> list[str]:
    """Paragraphs. picture: a PGM file. Raises UnsupportedError (no tesseract), FormatError (it failed)."""
    command = [_program(), "stdin", "stdout", "-l", _languages()]
    try:
        done = subprocess.run(command, input=picture, capture_output=True, timeout=_TIMEOUT_S, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        raise FormatError("tesseract failed on a page that is a picture; try again without --ocr") from None
    text = done.stdout[:_MAX_BYTES].decode("utf-8", "replace")
    return [paragraph for part in _PARAGRAPHS.split(text) if (paragraph := _joined(part))]


def _program() -> str:
    program = shutil.which("tesseract")
    if program is None:
        raise UnsupportedError(
            "OCR needs the program tesseract; install it (apt install tesseract-ocr, pkg install tesseract)"
        )
    return program


@cache
def _languages() -> str:
    listed = subprocess.run([_program(), "--list-langs"], capture_output=True, timeout=_TIMEOUT_S, check=False)
    installed = listed.stdout.decode("utf-8", "replace").split()
    return "+".join(language for language in _WANTED if language in installed) or "eng"


def _joined(part: str) -> str:
    text = ""
    for line in filter(None, (_without_gaps(tidy(line)) for line in part.splitlines())):
        text, gap = join_lines(text, line) if text else ("", "")
        text += gap + line
    return text


def _without_gaps(line: str) -> str:
    """tesseract writes a space after every Chinese character."""

    def kept(match: re.Match[str]) -> str:
        before, after = line[match.start() - 1], line[match.end()]
        return "" if is_wide(before) and is_wide(after) else " "

    return _SPACE.sub(kept, line)
