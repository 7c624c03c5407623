"""Files that people hand over in place of a checkpoint, told by their first bytes, with what to do about each."""

from __future__ import annotations

from pathlib import Path

from pocketseek.errors import FormatError, PocketseekError, UnsupportedError

_TO_SAFETENSORS = (
    "convert it to safetensors first (transformers: model.save_pretrained(folder, safe_serialization=True))"
)
_FOREIGN: tuple[tuple[bytes, type[PocketseekError], str], ...] = (
    (b"PK\x03\x04", UnsupportedError, f"is a zip archive, probably a PyTorch checkpoint; {_TO_SAFETENSORS}"),
    *(
        (
            b"\x80" + bytes([protocol]),
            UnsupportedError,
            f"is a pickle, probably a PyTorch checkpoint; {_TO_SAFETENSORS}",
        )
        for protocol in range(2, 6)
    ),
    (b"\x89HDF", UnsupportedError, f"is an HDF5 file; {_TO_SAFETENSORS}"),
    (b"lmgg", UnsupportedError, "is a GGML file of before 2023-08; get the GGUF version of the model"),
    (b"fmgg", UnsupportedError, "is a GGML file of before 2023-08; get the GGUF version of the model"),
    (b"tjgg", UnsupportedError, "is a GGML file of before 2023-08; get the GGUF version of the model"),
    (b"version https://git-lfs", FormatError, "is a Git LFS pointer, not the file itself; run 'git lfs pull' there"),
    (b"<!DOCTYPE", FormatError, "is a web page, not a checkpoint; download the file itself"),
    (b"<!doctype", FormatError, "is a web page, not a checkpoint; download the file itself"),
    (b"<html", FormatError, "is a web page, not a checkpoint; download the file itself"),
    (b"\x1f\x8b", FormatError, "is compressed with gzip; unpack it first"),
)


def refuse_foreign(path: Path, head: bytes) -> None:
    """Raise the fitting error if `head` (the first 32 bytes or more) is of a known other kind; otherwise do nothing."""
    for signature, error_class, what in _FOREIGN:
        # A safetensors file begins with any eight bytes (a length) and then a brace; it must not be taken for a pickle.
        if head.startswith(signature) and not looks_like_safetensors(head):
            raise error_class(f"{path} {what}")


def looks_like_safetensors(head: bytes) -> bool:
    """A believable header length (under 4 GB), then the opening brace of the header."""
    return len(head) > 8 and head[8:9] == b"{" and head[4:8] == bytes(4)
