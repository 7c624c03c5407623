"""Open a checkpoint of any kind. The content decides, not the name.

`os.path` asks about paths here and in the readers, since pathlib's own questions raise on names that cannot exist.
"""

from __future__ import annotations

import os
from pathlib import Path

from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.byte_file import ByteFile
from pocketseek.convert.sources.gguf import open_gguf
from pocketseek.convert.sources.gguf_header import MAGIC
from pocketseek.convert.sources.safetensors import INDEX, open_safetensors
from pocketseek.convert.sources.signatures import looks_like_safetensors, refuse_foreign
from pocketseek.errors import FormatError, NotFoundError, UnsupportedError, UsageError

_HEAD_BYTES = 64
_PYTORCH_PATTERNS = ("*.bin", "*.pt", "*.pth")


def open_source(path: str | Path) -> Source:
    """Open a GGUF file, a safetensors file, or a directory with either.

    Raises NotFoundError, UsageError (several checkpoints to choose from, a finished package), FormatError,
    UnsupportedError or StorageError.
    """
    path = Path(path)
    if os.path.isdir(path):
        return _open_directory(path)
    if path.name == INDEX:
        return open_safetensors(path.parent)
    head = _read_head(path)
    if head.startswith(MAGIC):
        return open_gguf(path)
    if looks_like_safetensors(head):
        return open_safetensors(path)
    refuse_foreign(path, head)
    if not head:
        raise FormatError(f"{path} is empty; download it again")
    raise FormatError(f"{path} is neither GGUF nor safetensors; give a checkpoint in one of these formats")


def _read_head(path: Path) -> bytes:
    file = ByteFile(path)
    try:
        return file.read(0, min(_HEAD_BYTES, file.size_bytes))
    finally:
        file.close()


def _open_directory(directory: Path) -> Source:
    if os.path.exists(directory / INDEX) or any(directory.glob("*.safetensors")):
        return open_safetensors(directory)
    if os.path.exists(directory / "manifest.json") and os.path.isdir(directory / "chunks"):
        raise UsageError(f"{directory} is a pocketseek package already; use it as it is")
    ggufs = sorted(directory.glob("*.gguf"))
    if len(ggufs) == 1:
        return open_gguf(ggufs[0])
    if ggufs:
        raise UsageError(f"{directory} holds {len(ggufs)} GGUF files; give one of them, for example {ggufs[0]}")
    if any(match for pattern in _PYTORCH_PATTERNS for match in directory.glob(pattern)):
        raise UnsupportedError(
            f"{directory} has its weights in PyTorch's pickle format; convert them to safetensors first "
            "(transformers: model.save_pretrained(folder, safe_serialization=True))"
        )
    raise NotFoundError(f"{directory} holds no checkpoint (no safetensors, no GGUF); check the path")
