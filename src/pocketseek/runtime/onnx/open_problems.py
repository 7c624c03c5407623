"""What ONNX Runtime says when it cannot open a model, in a line that says what to do. Pure: text in, an error out.

Its own messages name its source files and C++ signatures first; what they mean is found by their fixed parts. A message
of another wording is passed on, cut.
"""

from __future__ import annotations

import re
from pathlib import Path

from pocketseek.errors import FormatError, PocketseekError, UnsupportedError

_MOST_CHARS = 300
_TOO_NEW = re.compile(r"Opset (\d+) is under development.*official support for domain (\S+) is till opset (\d+)")
_UNKNOWN_OPERATOR = re.compile(r"Fatal error: (?:ai\.onnx:)?([\w.:]+)\(-?\d+\) is not a registered function/op")
_NO_KERNEL = re.compile(r"Could not find an implementation for (?:ai\.onnx\.)?([\w.:]+)\((\d+)\)")
_NO_KERNEL_SIGNS = ("NOT_IMPLEMENTED", "not a registered function/op")


def open_problem(path: Path, message: str, library_version: str) -> PocketseekError:
    """message: ONNX Runtime's, of its CPU provider."""
    problem = one_line(message, most_chars=10_000)
    runtime = f"this ONNX Runtime ({library_version})"
    if found := _TOO_NEW.search(problem):
        opset, _, newest = found.groups()
        return UnsupportedError(
            f"{path} is written in opset {opset}, and {runtime} knows up to {newest}; install a newer ONNX Runtime, or "
            "export with a smaller --opset"
        )
    if found := _UNKNOWN_OPERATOR.search(problem) or _NO_KERNEL.search(problem):
        return UnsupportedError(
            f"{path} needs the operator {found[1]}, which {runtime} lacks; install a newer ONNX Runtime, or export the "
            "model again"
        )
    if any(sign in problem for sign in _NO_KERNEL_SIGNS):
        return UnsupportedError(
            f"{path} needs an operator that {runtime} lacks ({one_line(problem)}); install a newer ONNX Runtime"
        )
    return FormatError(f"{path} cannot be opened by ONNX Runtime: {one_line(problem)}; export it again")


def one_line(message: str, most_chars: int = _MOST_CHARS) -> str:
    return " ".join(message.split())[:most_chars]
