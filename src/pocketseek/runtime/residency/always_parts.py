"""The weights that every token of a model with experts needs: all but the experts, and but the embedding, of which only
rows are used. They stay in memory where the package maps them, and are read before a pass uses them for the first time:
a stage's parts are waited for, those of the stages behind it come meanwhile. Used by one thread."""

from __future__ import annotations

from collections.abc import Mapping

from pocketseek.formats import MAX_CHUNK_BYTES
from pocketseek.package.manifest import Manifest
from pocketseek.runtime.residency.expert_reader import ExpertReader, Fetch
from pocketseek.runtime.residency.units import HEAD
from pocketseek.runtime.residency.weight_files import WeightFiles

HEAD_STAGE = "head"


class AlwaysParts:
    """By stage of the package: "layer.0" ... and "head"."""

    def __init__(self, manifest: Manifest, files: WeightFiles, reader: ExpertReader) -> None:
        self._files = files
        self._reader = reader
        ranges: dict[str, list[tuple[int, int, int]]] = {}  # chunk, offset, bytes
        for tensor in manifest.tensors:
            if len(tensor.shape) == 2 and (tensor.stage.startswith("layer.") or tensor.name == HEAD):
                places = ((extent.chunk, extent.offset, extent.num_bytes) for extent in tensor.extents)
                ranges.setdefault(tensor.stage, []).extend(places)
        self._ranges: Mapping[str, list[tuple[int, int, int]]] = ranges
        self.num_bytes = sum(num_bytes for places in ranges.values() for _, _, num_bytes in places)
        self._cold: dict[str, list[Fetch]] = {}  # stages that are on their way

    @property
    def is_warm(self) -> bool:
        """Whether nothing is on its way."""
        return not self._cold

    def warm(self, sample_bytes: int = MAX_CHUNK_BYTES) -> bool:
        """Begin to read what is not in memory, as far as the first bytes of each part show; whether there was any.

        Raises MemoryLimitError if nothing can be read.
        """
        fetches: list[Fetch] = []
        for stage, places in self._ranges.items():
            cold = [
                Fetch(None, chunk, offset, num_bytes)
                for chunk, offset, num_bytes in places
                if not self._files.is_in_memory(chunk, offset, min(num_bytes, sample_bytes))
            ]
            if cold and stage not in self._cold:
                self._cold[stage] = cold
                fetches.extend(cold)
        self._reader.fetch_later(fetches, first=True)
        return bool(fetches)

    def need(self, stage: str) -> None:
        """Wait for a stage. Raises what its reader met."""
        fetches = self._cold.get(stage)
        if fetches is None:
            return
        for fetch in fetches:
            self._reader.want(fetch)
        for fetch in fetches:
            self._reader.wait_for([fetch])
            if fetch.error is not None:
                raise fetch.error
        del self._cold[stage]

    def abandon(self) -> None:
        """Nothing is on its way any more: the reader has forgotten it."""
        self._cold.clear()
