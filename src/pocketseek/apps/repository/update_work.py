"""The work of an update: fetch what is planned, a few files at a time, and put together what comes as a delta."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pocketseek.apps.repository.fetch import Progress, fetch_all
from pocketseek.apps.repository.keeping import Keeping
from pocketseek.apps.repository.local_chunks import LocalChunk
from pocketseek.apps.repository.source import DirectorySource, PackageSource
from pocketseek.apps.repository.update_plan import UpdatePlan
from pocketseek.apps.repository.update_step import Step
from pocketseek.apps.repository.wanted import WantedFile
from pocketseek.errors import FormatError, IntegrityError
from pocketseek.package.delta.fit import DeltaFit
from pocketseek.package.storage import check_free_space, storage_errors

_SPARE_BYTES = 16_000_000  # for manifests, directories and the file system itself


@dataclass(frozen=True)
class Updated:
    """fetched_bytes: of deltas, chunks and files. num_deltas were applied; num_whole came whole, of which num_failed
    after a delta did not make what it should; num_local, of so many bytes, came from other models. is_signed_anew: it
    was the version in use, and only its signature changed."""

    old: str
    new: str
    fetched_bytes: int = 0
    num_deltas: int = 0
    num_whole: int = 0
    num_failed: int = 0
    num_local: int = 0
    local_bytes: int = 0
    is_signed_anew: bool = False


class UpdateWork:
    """Fetches and applies, in the caller's thread where anything is decided. made(num_bytes, total_bytes): of chunks
    and files that come as deltas, how much was put together."""

    def __init__(
        self,
        package_dir: Path,
        source: PackageSource,
        keeping: Keeping,
        fit: DeltaFit,
        num_connections: int,
        progress: Progress | None,
        made: Progress | None = None,
    ) -> None:
        self._package_dir = package_dir
        self._source = source
        self._keeping = keeping
        self._fit = fit
        self._num_connections = 1 if isinstance(source, DirectorySource) else num_connections
        self._progress = progress
        self._made = made
        self._made_bytes = self._to_make_bytes = 0
        self._by_path: dict[str, Step] = {}
        self._failed: list[Step] = []
        self.taken: list[Step] = []
        """Those that another model had."""
        self._fetched_bytes = 0
        self._num_deltas = 0

    def take_local(self, plan: UpdatePlan, local: Mapping[str, LocalChunk]) -> UpdatePlan:
        """What is left of the plan when chunks of other models are here."""
        for step in plan.steps:
            found = local.get(step.sha256)
            if found is None:
                continue
            wanted = step.whole(self._package_dir, self._keeping.suffix)
            with storage_errors(wanted.target):
                if self._keeping.take(found, step.entry, wanted):
                    self.taken.append(step)
        return replace(plan, steps=tuple(step for step in plan.steps if step not in self.taken))

    def run(self, plan: UpdatePlan, allow: Callable[[int], None] = lambda _: None) -> None:
        """Every chunk and file of the plan is in the update directory afterwards, checked and synced. allow(num_bytes):
        asked before so much is fetched in all; it raises if that is too much."""
        self._by_path = {self._wanted(step).path: step for step in plan.steps}
        there = [step for step in plan.steps if self._keeping.is_delta_there(step)]
        to_fetch = [self._wanted(step) for step in plan.steps if step not in there]
        fetch_bytes = sum(file.missing_bytes for file in to_fetch)
        allow(fetch_bytes)
        self._check_space(plan, to_fetch)
        self._made_bytes, self._to_make_bytes = 0, sum(step.entry.num_bytes for step in plan.steps if step.delta)
        for step in there:
            self._apply(step)
        self._fetch(to_fetch)
        if self._failed:
            allow(fetch_bytes + sum(step.entry.num_bytes for step in self._failed))
            self._fetch([step.whole(self._package_dir, self._keeping.suffix) for step in self._failed])

    def result(self, plan: UpdatePlan) -> Updated:
        return Updated(
            plan.old,
            plan.new,
            fetched_bytes=self._fetched_bytes,
            num_deltas=self._num_deltas,
            num_whole=len(plan.steps) - self._num_deltas,
            num_failed=len(self._failed),
            num_local=len(self.taken),
            local_bytes=sum(step.entry.num_bytes for step in self.taken),
        )

    def _check_space(self, plan: UpdatePlan, to_fetch: Sequence[WantedFile]) -> None:
        with storage_errors(self._package_dir):
            missing_bytes = sum(file.missing_bytes for file in to_fetch)
            resumed_bytes = sorted(self._keeping.resumed_bytes(file) for file in to_fetch)[-self._num_connections :]
        made_bytes = sum(step.entry.num_bytes for step in plan.steps if step.delta is not None)
        needed_bytes = missing_bytes + sum(resumed_bytes) + made_bytes + _SPARE_BYTES
        check_free_space(self._package_dir.parent, needed_bytes if plan.steps else 0)

    def _wanted(self, step: Step) -> WantedFile:
        return step.wanted(self._package_dir, self._keeping.suffix)

    def _fetch(self, files: Sequence[WantedFile]) -> None:
        self._fetched_bytes += fetch_all(
            self._source,
            files,
            num_connections=self._num_connections,
            progress=self._progress,
            finished=self._arrived,
            open_part=self._keeping.open_part,
        )

    def _arrived(self, file: WantedFile) -> None:
        step = self._by_path.get(file.path)
        if step is not None and step.delta is not None:
            self._apply(step)

    def _apply(self, step: Step) -> None:
        try:
            self._keeping.apply(step, self._fit)
            self._num_deltas += 1
        except (FormatError, IntegrityError):  # of the delta, or of a chunk here: the whole chunk needs neither
            self._failed.append(step)
        delta = self._wanted(step).target
        with storage_errors(delta):
            delta.unlink()
        self._made_bytes += step.entry.num_bytes
        if self._made is not None:
            self._made(self._made_bytes, self._to_make_bytes)
