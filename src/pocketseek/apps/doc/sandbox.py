"""Reads a stranger's file in a process of its own, so that a crash, a hang or a swollen parser costs one clear line.

    parent  starts `python -m pocketseek.apps.doc.read_child`, takes pieces from its pipe, kills it when it stalls
    child   limits itself (memory, processor time, no files, no core dump), parses, writes a line of JSON per piece

The child is trusted with nothing: its lines are bounded in length and number, every field is checked.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from pocketseek.apps.doc.pieces import Piece, ReadOptions, decode_piece
from pocketseek.errors import FormatError, PocketseekError, StorageError, UnsupportedError, UsageError

_RAISED: dict[str, type[PocketseekError]] = {
    error.__name__: error for error in (FormatError, StorageError, UnsupportedError, UsageError)
}
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True)
class ReadLimits:
    """memory_bytes: address space of the child. cpu_s: its processor time. stall_s: the longest wait for a piece.
    text_bytes: all pieces together, as JSON."""

    memory_bytes: int = 1_500_000_000
    cpu_s: int = 1200
    stall_s: float = 120.0
    text_bytes: int = 400_000_000


def read_apart(kind: str, path: Path, options: ReadOptions, limits: ReadLimits) -> Iterator[Piece]:
    """Raises what the reader raises, and FormatError when the child dies, stalls or sends too much."""
    request: dict[str, Any] = {"kind": kind, "path": str(path), "options": asdict(options)}
    request |= {"memory_bytes": limits.memory_bytes, "cpu_s": limits.cpu_s}
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "pocketseek.apps.doc.read_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            start_new_session=True,  # so that what it starts (OCR) ends with it
        )
        try:
            _send(child, request)
            yield from _pieces(path, child, limits, complaints)
        finally:
            _end(child)


def _send(child: subprocess.Popen[bytes], request: dict[str, Any]) -> None:
    if child.stdin is None:
        raise RuntimeError("the child was started without a pipe")
    try:
        with child.stdin as pipe:
            pipe.write(json.dumps(request).encode())
    except BrokenPipeError:
        pass  # it died at once; its end says why


def _end(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # it and what it started may be gone
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _pieces(path: Path, child: subprocess.Popen[bytes], limits: ReadLimits, complaints: IO[bytes]) -> Iterator[Piece]:
    for line in _lines(path, child, limits):
        try:
            message = json.loads(line)
            if "error" in message:
                raise _RAISED[message["error"]](str(message["message"]))
            if "end" in message:
                return
            piece = decode_piece(message)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise FormatError(f"{path} could not be read: its reader sent nonsense; get the file again") from None
        yield piece
    raise FormatError(_obituary(path, child.wait(), complaints, limits))


def _lines(path: Path, child: subprocess.Popen[bytes], limits: ReadLimits) -> Iterator[bytes]:
    """Whole lines, until the child closes its pipe."""
    if child.stdout is None:
        raise RuntimeError("the child was started without a pipe")
    rest, num_bytes = bytearray(), 0
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        deadline = time.monotonic() + limits.stall_s
        while True:
            if not selector.select(max(deadline - time.monotonic(), 0)):
                raise FormatError(f"{path}: nothing more was read for {limits.stall_s:.0f} s; {_REMEDY}")
            block = os.read(child.stdout.fileno(), _BLOCK_BYTES)
            num_bytes += len(block)
            if num_bytes > limits.text_bytes:
                raise UnsupportedError(
                    f"{path} holds more than {limits.text_bytes // 1_000_000} MB of text; split it into smaller files"
                )
            if not block:
                return
            rest += block
            *lines, rest = rest.split(b"\n") if b"\n" in block else (rest,)
            if lines:
                deadline = time.monotonic() + limits.stall_s
            yield from map(bytes, lines)


_REMEDY = "the file is damaged or made to hang readers; open it elsewhere and save it anew"


def _obituary(path: Path, status: int, complaints: IO[bytes], limits: ReadLimits) -> str:
    complaints.seek(max(complaints.seek(0, os.SEEK_END) - 4096, 0))
    last = complaints.read().decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
    if status == -signal.SIGXCPU:
        return f"{path}: reading it took more than {limits.cpu_s} s of processor time; {_REMEDY}"
    if "MemoryError" in last:
        return f"{path}: reading it needs more than {limits.memory_bytes // 1_000_000} MB of memory; {_REMEDY}"
    if status < 0:
        return f"{path}: its reader died ({_signal_name(-status)}), perhaps for lack of memory; {_REMEDY}"
    return f"{path}: its reader failed ({last or f'exit code {status}'}); {_REMEDY}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
