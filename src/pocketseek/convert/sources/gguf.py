"""GGUF checkpoints: one file that carries the weights, the configuration and the tokenizer."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.byte_file import ByteFile
from pocketseek.convert.sources.gguf_header import GgufHeader, read_gguf_header
from pocketseek.convert.sources.stored import Placement, StoredSource
from pocketseek.errors import UnsupportedError


def open_gguf(path: Path) -> Source:
    """Open a GGUF file and check its header.

    Raises NotFoundError, FormatError (damaged, hostile), UnsupportedError (version, byte order, tensor type, one part
    of a split checkpoint) or StorageError.
    """
    with ExitStack() as on_error:
        file = ByteFile(path)
        on_error.callback(file.close)
        header = read_gguf_header(file)
        _refuse_part(path, header)
        placements = {info.tensor.name: Placement(info.tensor, file, info.offset) for info in header.tensors}
        source = StoredSource("gguf", path, header.metadata, {}, placements, [file])
        on_error.pop_all()
    return source


def _refuse_part(path: Path, header: GgufHeader) -> None:
    parts = header.metadata.get("split.count", 1)
    if isinstance(parts, int) and parts > 1:
        raise UnsupportedError(
            f"{path} is one of {parts} parts of a checkpoint; join them with llama-gguf-split --merge"
        )
