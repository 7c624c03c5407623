"""The maps of a package's chunks under the fault guard: what could not be read in a pass, and mapping it again.

A page that cannot be read (broken storage, a file cut short) does not kill the process: the guard puts zeros there, and
`raise_faults` says so at the end of the pass. `heal`, before the next one, maps the files again that then have the
chunks' names, if those are good.

Somebody may write other bytes into a mapped file, and good ones again. So `were_touched` is asked at the end of every
pass, and what was computed counts only if no file was: then every byte of it was one that had been hashed.

Of a sealed package nothing is mapped, and there is nothing to guard.
"""

from __future__ import annotations

from time import perf_counter

from pocketseek.errors import StorageError
from pocketseek.kernels.mapped import FaultGuard
from pocketseek.package.reader import Package
from pocketseek.runtime.residency.weight_files import WeightFiles

_PAUSE_S = 0.05  # after a pause, files are looked at before a pass is computed in vain


class GuardedMaps:
    """Used by one thread, between passes."""

    def __init__(self, package: Package, files: WeightFiles) -> None:
        self._package = package
        self._files = files
        self._guard = FaultGuard()
        self._guarded: list[int] = []  # chunk index by the guard's index
        self._looked_s = perf_counter()
        self._num_touched = files.num_touched
        self._watch_all()

    def _watch_all(self) -> None:
        if self._files.needs_filling:  # no file is mapped
            return
        seen: set[str] = set()
        for index, entry in enumerate(self._package.manifest.chunks):
            if entry.sha256 not in seen and self._guard.available:
                seen.add(entry.sha256)
                self._guarded.append(index)
                self._guard.watch(self._package.chunk(index))

    def raise_faults(self) -> None:
        """Raises StorageError if anything could not be read since the last call: what was computed is worth nothing."""
        chunks = {self._guarded[index] for index, _ in self._guard.take_faults()}
        for chunk in chunks:
            self._files.mark_bad(chunk)
        if chunks:
            name = self._package.manifest.chunks[min(chunks)].sha256
            raise StorageError(
                f"{self._package.path}: chunk {name} cannot be read; check the disk, or install the model again"
            )

    def heal(self) -> None:
        """Map those files again that were bad, while nobody reads. Raises as ChunkFiles does."""
        for chunk in self._files.heal():
            if chunk in self._guarded:
                self._guard.remap(self._package.chunk(chunk), self._files.descriptor(chunk), 0)
        self._num_touched = self._files.num_touched

    def were_touched_in_a_pause(self) -> bool:
        """As `were_touched`, before a pass, if the last look is some time ago."""
        return perf_counter() - self._looked_s > _PAUSE_S and self.were_touched()

    def were_touched(self) -> bool:
        """Whether any file was since the last question: what was computed or read ahead may come of other bytes, though
        all are good now. Raises IntegrityError if one is damaged."""
        before = self._num_touched
        try:
            self._files.check_all()
        finally:
            self._looked_s, self._num_touched = perf_counter(), self._files.num_touched
        return self._num_touched != before

    def close(self) -> None:
        """May be repeated."""
        for index in self._guarded:
            self._guard.forget(self._package.chunk(index))
        self._guarded = []
