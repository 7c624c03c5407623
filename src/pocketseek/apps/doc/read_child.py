"""The process that parses: one request on standard input, pieces as lines of JSON on standard output, then the end.

It limits itself before any parser is loaded. What goes wrong on purpose is one line too, {"error": class, "message"};
what goes wrong otherwise ends the process, and `sandbox.py` says so.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from pocketseek.apps.doc.pieces import Piece, ReadOptions, encode_piece
from pocketseek.errors import FormatError, StorageError, UnsupportedError, UsageError

Reader = Callable[[Path, ReadOptions], Iterator[Piece]]

# Loaded when asked for: pdfium, lxml and what they need.
_READERS = {
    "pdf": ("pocketseek.apps.doc.pdf.pdf_reader", "read_pdf"),
    "zip": ("pocketseek.apps.doc.formats.package_reader", "read_package"),
    "html": ("pocketseek.apps.doc.formats.html_reader", "read_html"),
}
_GRACE_S = 5  # between the signal that says "too long" and the one that kills
_MAX_FILE_BYTES = 1 << 20  # of what it writes to files: complaints on standard error


def main() -> None:
    request = json.loads(sys.stdin.read())
    _limit(request["memory_bytes"], request["cpu_s"])
    try:
        for piece in _reader(request["kind"])(Path(request["path"]), ReadOptions(**request["options"])):
            _tell(encode_piece(piece))
        _tell(json.dumps({"end": True}))
    except (FormatError, StorageError, UnsupportedError, UsageError) as error:
        _tell(json.dumps({"error": type(error).__name__, "message": str(error)}))
    except RecursionError:
        message = f"{request['path']} is nested too deeply to be a document; open it elsewhere and save it anew"
        _tell(json.dumps({"error": "FormatError", "message": message}))
    except BrokenPipeError:
        os._exit(1)  # nobody listens any more


def _limit(memory_bytes: int, cpu_s: int) -> None:
    _lower(resource.RLIMIT_AS, memory_bytes)
    _lower(resource.RLIMIT_CPU, cpu_s, _GRACE_S)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, _MAX_FILE_BYTES)


def _lower(which: int, limit: int, grace: int = 0) -> None:
    """Never above what the system allows already. grace: what the hard limit, which kills, is above the soft one."""
    allowed = resource.getrlimit(which)[1]
    hard = limit + grace if allowed == resource.RLIM_INFINITY else min(limit + grace, allowed)
    resource.setrlimit(which, (min(limit, hard), hard))


def _reader(kind: str) -> Reader:
    module, name = _READERS[kind]
    try:
        reader: Reader = getattr(import_module(module), name)
    except ImportError as error:
        raise UnsupportedError(
            f"reading this kind of file needs {error.name}; pip install pypdfium2 lxml (the extra `doc`)"
        ) from None
    return reader


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
