"""The values a manifest consists of. Import them from `pocketseek.package.manifest`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pocketseek.errors import UnsupportedError
from pocketseek.package.speech_part import SpeechPart
from pocketseek.package.strict_json import JsonValue
from pocketseek.shapes import MoeShape
from pocketseek.types import ModelConfig


@dataclass(frozen=True)
class Extent:
    """One run of whole tile rows of a tensor: `num_bytes` at `offset` of the chunk with index `chunk`.

    first_tile: index, within the tensor, of its first 16-row tile row (0 for a vector).
    """

    chunk: int
    offset: int
    num_bytes: int
    first_tile: int


@dataclass(frozen=True)
class TensorEntry:
    """shape: (outputs, inputs) or (values,). The extents, in order, are the tensor's bytes (see formats.py)."""

    name: str
    format: str
    shape: tuple[int, ...]
    stage: str
    extents: tuple[Extent, ...]


@dataclass(frozen=True)
class ChunkEntry:
    """sha256 is the chunk's file name too. segments: SHA-256 of every 1 MiB (the last may be shorter)."""

    sha256: str
    num_bytes: int
    stage: str
    segments: tuple[str, ...]


@dataclass(frozen=True)
class FileEntry:
    """A whole file under files/, named by its hash."""

    sha256: str
    num_bytes: int


@dataclass(frozen=True)
class AdapterBase:
    """What an adapter was made for: the name of the model's package, its manifest then (`version_id`), and the
    checkpoint that it came from (adapter_layout.source_id)."""

    name: str
    manifest_sha256: str
    source_sha256: str


@dataclass(frozen=True)
class Manifest:
    """Tensors and chunks are in the order of the stages; two chunks may have the same hash (and are one file then).

    config: of a language model; None of what is none. part: of a speech part, which has neither config nor tensors."""

    name: str
    config: ModelConfig | None
    recipe: Mapping[str, JsonValue]
    tensors: tuple[TensorEntry, ...]
    chunks: tuple[ChunkEntry, ...]
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    quality: Mapping[str, JsonValue] = field(default_factory=dict)
    provenance: Mapping[str, JsonValue] = field(default_factory=dict)
    version: int = 0  # the publisher's counter of releases, see package/trust/signing.py
    part: SpeechPart | None = None
    adapter: AdapterBase | None = None  # of an adapter (format 4); `model` is then what its base looks like

    @property
    def model(self) -> ModelConfig:
        """Raises UnsupportedError of what is no language model."""
        if self.config is None:
            raise self.no_model_error()
        return self.config

    def no_model_error(self) -> UnsupportedError:
        kind = "something else" if self.part is None else f"a speech part ({self.part.kind})"
        return UnsupportedError(
            f"{self.name} is {kind}, not a language model; "
            "`pocketseek voice` uses it, `pocketseek models` lists the models"
        )

    @property
    def num_parameters(self) -> int:
        """Values in all tensors, padding not counted."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    @property
    def num_active_parameters(self) -> int:
        """Those that a token uses: of experts the chosen ones, of an embedding that is not the head, too, one row."""
        return sum(_num_active(tensor, self.model.moe) for tensor in self.tensors)

    @property
    def num_bytes(self) -> int:
        """Bytes that the chunks and files take, each stored once."""
        return sum(entry.num_bytes for entry in self.unique_chunks()) + _unique_bytes(self.files.values())

    def unique_chunks(self) -> tuple[ChunkEntry, ...]:
        """One entry for each chunk file, in order of first use."""
        found: dict[str, ChunkEntry] = {}
        for entry in self.chunks:
            found.setdefault(entry.sha256, entry)
        return tuple(found.values())

    def tensors_between(self, sha256: str, start: int, stop: int) -> tuple[str, ...]:
        """Names of the tensors with a byte in [start, stop) of a chunk; of a speech part, of its files that have it."""
        if self.part is not None:
            return self.part.files_with(self.chunks, sha256)
        return tuple(
            tensor.name
            for tensor in self.tensors
            if any(
                self.chunks[extent.chunk].sha256 == sha256
                and extent.offset < stop
                and start < extent.offset + extent.num_bytes
                for extent in tensor.extents
            )
        )


def _num_active(tensor: TensorEntry, moe: MoeShape | None) -> int:
    if tensor.name == "embed.weight":  # of a model whose head is another matrix
        return tensor.shape[-1]
    num_values = math.prod(tensor.shape)
    if moe is None or not tensor.stage.startswith("experts."):
        return num_values
    return num_values * moe.experts_per_token // moe.num_experts


def _unique_bytes(entries: Iterable[FileEntry]) -> int:
    return sum({entry.sha256: entry.num_bytes for entry in entries}.values())
