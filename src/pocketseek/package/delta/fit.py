"""Whether the parts of a delta are rows of the tensors that the two manifests name.

A delta may come from anybody, and says itself in what format and how wide its rows are. What they are is known without
it: rows that it makes are those of a tensor in the new manifest, rows that it takes those of a tensor in the old one.
So that is compared before anything of a part is unpacked, and no delta chooses by what code its bytes are read.
Copies, zeros and compressed bytes are no rows; their bounds are those of delta_file.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pocketseek.formats import tile_row_bytes
from pocketseek.package.delta.byte_parts import delta_error
from pocketseek.package.delta.delta_file import Blob, DeltaHeader, Part
from pocketseek.package.entries import Manifest

_VECTOR = ("", 0)


@dataclass(frozen=True)
class _Run:
    """Of one tensor in one chunk. kind: format and inputs of its rows, or _VECTOR."""

    start: int
    stop: int
    kind: tuple[str, int]

    @property
    def step_bytes(self) -> int:
        """What it is cut at."""
        return tile_row_bytes(*self.kind) if self.kind != _VECTOR else 4

    def has(self, offset: int, num_bytes: int, kind: tuple[str, int]) -> bool:
        is_within = self.start <= offset and offset + num_bytes <= self.stop
        return is_within and self.kind == kind and (offset - self.start) % self.step_bytes == 0


class DeltaFit:
    """Of the deltas that lead from one version to another."""

    def __init__(self, old: Manifest, new: Manifest) -> None:
        self._old, self._new = _runs(old), _runs(new)

    def check(self, header: DeltaHeader) -> None:
        """Raises FormatError."""
        done_bytes = 0
        for part in header.parts:
            if part.kind in ("tiles", "vector"):
                _check(self._new, header.result, done_bytes, part.num_bytes, _kind(part, part.format))
                if part.base is not None:
                    base, kind = header.bases[part.base], _kind(part, part.old_format)
                    _check(self._old, base, part.offset, part.base_bytes, kind)
            done_bytes += part.num_bytes


def _check(runs: Mapping[str, list[_Run]], chunk: Blob, offset: int, num_bytes: int, kind: tuple[str, int]) -> None:
    if not any(run.has(offset, num_bytes, kind) for run in runs.get(chunk.sha256, ())):
        what = "values of a vector" if kind == _VECTOR else f"rows of {kind[1]} inputs in {kind[0]}"
        raise delta_error(f"the manifest has no {what} where it does")


def _kind(part: Part, format_name: str) -> tuple[str, int]:
    return (format_name, part.cols) if part.kind == "tiles" else _VECTOR


def _runs(manifest: Manifest) -> dict[str, list[_Run]]:
    """By chunk; of several chunks that are the same file, those of each."""
    found: dict[str, list[_Run]] = {}
    for tensor in manifest.tensors:
        kind = _VECTOR if len(tensor.shape) == 1 else (tensor.format, tensor.shape[1])
        for extent in tensor.extents:
            run = _Run(extent.offset, extent.offset + extent.num_bytes, kind)
            found.setdefault(manifest.chunks[extent.chunk].sha256, []).append(run)
    return found
