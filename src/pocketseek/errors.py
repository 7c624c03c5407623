"""Every error pocketseek raises on purpose, as one tree.

Each class carries the process exit code and the HTTP status that the edges (`cli/main.py`, `apps/serve/app.py`)
answer with; nothing else catches them to print. A message is one line: what is wrong, then the remedy.
`docs/errors.md` lists the codes; `tests/test_errors.py` keeps the two in step.
"""

from __future__ import annotations

from typing import ClassVar


class PocketseekError(Exception):
    """Base of the tree; raised itself only where no narrower class fits."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500


class UsageError(PocketseekError):
    """The request itself is wrong: an option, a name, a sampling value, an empty prompt."""

    exit_code = 2
    http_status = 400


class NotFoundError(PocketseekError):
    """A file or an installed model that was named is not there."""

    exit_code = 3
    http_status = 404


class FormatError(PocketseekError):
    """A file is damaged or is not what it claims to be (truncated, wrong magic, hostile header, invalid JSON)."""

    exit_code = 4
    http_status = 422


class UnsupportedError(PocketseekError):
    """A well-formed input asks for something pocketseek does not do (architecture, tensor type, rope scaling)."""

    exit_code = 5
    http_status = 422


class IntegrityError(PocketseekError):
    """An installed package is not what its manifest says: a flipped bit, a missing or short chunk."""

    exit_code = 6
    http_status = 500


class StorageError(PocketseekError):
    """The disk is full, read-only, not permitted or fails to read; nothing half-written is left behind."""

    exit_code = 7
    http_status = 507


class ContextLengthError(PocketseekError):
    """The prompt (plus what must follow) is longer than the model's context or the KV memory allows."""

    exit_code = 8
    http_status = 400


class TemplateError(PocketseekError):
    """The chat template is invalid, refuses the conversation, or misbehaves (endless loop, attribute access)."""

    exit_code = 9
    http_status = 422


class MemoryLimitError(PocketseekError):
    """The work does not fit the memory budget even after shedding load."""

    exit_code = 10
    http_status = 503


class NativeCoreError(PocketseekError):
    """The compiled core is missing, was built for another version, or lacks what this CPU needs."""

    exit_code = 11
    http_status = 500


class EngineClosedError(PocketseekError):
    """The engine was closed, or its worker died, while a request was waiting."""

    exit_code = 12
    http_status = 503


class BusyError(PocketseekError):
    """Another process holds the lock on this model or data directory."""

    exit_code = 13
    http_status = 409


class OverloadedError(BusyError):
    """Another request does what only one can do at a time; it is over in a moment."""

    exit_code = 16
    http_status = 503


class DownloadError(PocketseekError):
    """Something that has to come from the network did not arrive, or not as it should be."""

    exit_code = 14
    http_status = 502


class ModelOutputError(PocketseekError):
    """The model computed NaN or infinity where a token's score should be; only the request concerned ends."""

    exit_code = 15
    http_status = 500


class TrustError(PocketseekError):
    """A model is not signed by someone who is trusted here, its signature does not match, or it is an older release."""

    exit_code = 17
    http_status = 403


class SealError(PocketseekError):
    """Something sealed cannot be opened: the passphrase or key is missing or wrong, or its seal was changed."""

    exit_code = 18
    http_status = 423


class VoiceError(PocketseekError):
    """A microphone, a loudspeaker or a speech engine is missing, or stopped working."""

    exit_code = 19
    http_status = 503
