"""The language that is spoken: as asked for, else that of messages."""

from __future__ import annotations

import re

from pocketseek.errors import UsageError
from pocketseek.settings import Settings

_CODE = re.compile(r"[a-z]{2,3}")


def voice_language(settings: Settings, asked: str | None) -> str:
    """ "en" of "en-US". Raises UsageError."""
    if asked is None:
        return settings.language
    code = asked.strip().lower().replace("_", "-").partition("-")[0]
    if not _CODE.fullmatch(code):
        raise UsageError(f"--language {asked[:40]!r} is no language; write its code, like en or zh")
    return code
