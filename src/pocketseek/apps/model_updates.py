"""Updates of models that are being served: looked for when somebody asks, and installed when somebody says so.

Nothing here happens by itself. `find` asks the place that a model was pulled from what it offers now and what that
would take; `start` fetches exactly that, in a thread, one model at a time, and only over a network that is not known to
be paid for by the byte unless it is told that it may. It goes on whoever looks; what arrived stays if it is stopped, or
fails, and is used the next time (repository/update.py). Who signed it, and whether that is trusted here, decides as
everywhere; a key that is not known is never trusted here: that needs a person at the device's own commands.

Threads: any. `find` asks the network and takes its time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import Literal

from pocketseek.apps.repository.admission import Admission
from pocketseek.apps.repository.open_source import Link, open_source
from pocketseek.apps.repository.source import DirectorySource, PackageSource
from pocketseek.apps.repository.update import look, update
from pocketseek.apps.repository.update_plan import UpdatePlan
from pocketseek.device.network import Metered, read_network
from pocketseek.errors import BusyError, PocketseekError, UsageError
from pocketseek.package.origin import Origin, read_origin
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.settings import NetworkSettings, Settings

UNASKED_BYTES = 50_000_000  # so much is fetched without a question, as by the command line
_UNKNOWN = "the update failed for a reason that is not known; see the server's log"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UpdateFound:
    """new: the id (SHA-256 of its manifest) of what is offered, for `start`. version: its number, 0: none. fetch_bytes:
    what it takes from `origin`; whole_bytes: what it would without differences; disk_bytes: free storage that it needs
    meanwhile. metered: whether the network is paid for by the byte; "no" where none is used."""

    up_to_date: bool
    new: str
    version: int
    fetch_bytes: int
    whole_bytes: int
    disk_bytes: int
    metered: Metered
    origin: str


@dataclass(frozen=True)
class UpdateRun:
    """How far one is, or how the last one ended. message: of an error, one line."""

    state: Literal["none", "running", "done", "failed", "stopped"] = "none"
    done_bytes: int = 0
    total_bytes: int = 0
    message: str = ""


@dataclass(frozen=True)
class _Size:
    """What `find` told of the version `new`, which is agreed to when it is started; and what it turned out to take."""

    new: str
    told_bytes: int
    needed_bytes: int = 0


class _StopRequested(Exception):  # noqa: N818  no error of anybody's
    """The update shall end."""


class _Job:
    """One update, in its thread."""

    def __init__(self) -> None:
        self.done_bytes, self.total_bytes = 0, 0
        self.future: Future[None] | None = None
        self.source: PackageSource | None = None
        self._is_stopped = Event()

    def stop(self) -> None:
        """Also while it waits for somebody's answer."""
        self._is_stopped.set()
        if self.source is not None:
            self.source.close()

    def use(self, source: PackageSource) -> None:
        """What `stop` closes. Raises _StopRequested if it was stopped before there was anything to close."""
        self.source = source
        if self._is_stopped.is_set():
            raise _StopRequested

    def progress(self, done_bytes: int, total_bytes: int) -> None:
        if self._is_stopped.is_set():
            raise _StopRequested
        self.done_bytes, self.total_bytes = done_bytes, total_bytes

    def made(self, _: int, __: int) -> None:
        """Of what is put together; it can be stopped there, too."""
        if self._is_stopped.is_set():
            raise _StopRequested

    @property
    def is_running(self) -> bool:
        return self.future is not None and not self.future.done()

    def state(self) -> UpdateRun:
        running = UpdateRun("running", self.done_bytes, self.total_bytes)
        if self.future is None or not self.future.done():
            return running
        if self.future.cancelled():
            return replace(running, state="stopped")
        error = self.future.exception()
        if error is None:
            return replace(running, state="done")
        if self._is_stopped.is_set():
            return replace(running, state="stopped")
        known = isinstance(error, PocketseekError)
        return replace(running, state="failed", message=str(error) if known else _UNKNOWN)


class ModelUpdates:
    """changed: told of a package that has another version now."""

    def __init__(
        self,
        settings: Settings,
        network: Callable[[], NetworkSettings],
        *,
        changed: Callable[[Path], None] = lambda path: None,
        metered: Callable[[], Metered] = lambda: read_network().metered,
        secret_of: Callable[[Path], Secret | None] = lambda path: None,
    ) -> None:
        """secret_of: what opens a sealed model, which stays sealed."""
        self._settings = settings
        self._network = network
        self._changed = changed
        self._metered = metered
        self._secret_of = secret_of
        self._jobs: dict[Path, _Job] = {}
        self._sizes: dict[Path, _Size] = {}  # of the version that was found last
        self._lock = Lock()  # guards _jobs, _sizes
        self._thread = ThreadPoolExecutor(1, "update")

    def origin(self, path: Path) -> Origin | None:
        """Where it was pulled from, and so would be updated from."""
        return read_origin(path)

    def find(self, path: Path) -> UpdateFound:
        """What there is for the package at path. Raises UsageError (nobody knows where it is from), TrustError,
        DownloadError, FormatError, UnsupportedError, StorageError, NotFoundError."""
        with closing(self._source(path)) as source:
            plan = look(path, source, admit=self._admission().admit)
            return self._found(source, plan, self._tell_size(path, plan))

    def state(self, path: Path) -> UpdateRun:
        with self._lock:
            job = self._jobs.get(path)
        return UpdateRun() if job is None else job.state()

    def start(self, path: Path, new: str, *, allow_metered: bool = False) -> UpdateRun:
        """Begin to install what `find` found. Raises BusyError while another one runs."""
        with self._lock:
            if any(job.is_running for job in self._jobs.values()):
                raise BusyError("a model is being updated; wait until that is done")
            job = self._jobs[path] = _Job()
            job.future = self._thread.submit(self._install, path, new, allow_metered, job)
        job.future.add_done_callback(partial(_write_down, path.name))
        return job.state()

    def stop(self, path: Path) -> None:
        """Ask it to end; what arrived is kept."""
        with self._lock:
            job = self._jobs.get(path)
        if job is not None and job.is_running:
            job.stop()

    def close(self) -> None:
        """Ends what runs, within a piece of what is fetched."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.stop()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _install(self, path: Path, new: str, allow_metered: bool, job: _Job) -> None:
        admission = self._admission()
        with closing(self._source(path)) as source:
            job.use(source)
            plan = look(path, source, admit=admission.admit)
            if plan.new != new:
                raise UsageError("another version is offered by now; look once more")
            self._check_metered(source, plan.fetch_bytes, allowed=allow_metered)
            job.progress(0, plan.fetch_bytes)
            allow = partial(self._check_size, path, plan, source)
            update(
                path,
                source,
                plan.offer,
                secret=self._secret_of(path),
                progress=job.progress,
                made=job.made,
                allow=allow,
            )
        admission.installed(path, "model-updated")
        self._changed(path)

    def _tell_size(self, path: Path, plan: UpdatePlan) -> int:
        """Also what a try that ended had needed: deltas may fail again."""
        with self._lock:
            known = self._sizes.get(path)
            needed_bytes = known.needed_bytes if known is not None and known.new == plan.new else 0
            told_bytes = max(plan.fetch_bytes, needed_bytes)
            self._sizes[path] = _Size(plan.new, told_bytes, needed_bytes)
        return told_bytes

    def _check_size(self, path: Path, plan: UpdatePlan, source: PackageSource, num_bytes: int) -> None:
        """Raises UsageError where that is more than was told; the next `find` tells it."""
        if isinstance(source, DirectorySource):
            return
        with self._lock:
            known = self._sizes.get(path)
            size = known if known is not None and known.new == plan.new else _Size(plan.new, plan.fetch_bytes)
            if num_bytes <= size.told_bytes:
                return
            self._sizes[path] = replace(size, needed_bytes=num_bytes)
        raise UsageError(
            f"{num_bytes} bytes are to be fetched instead of the {size.told_bytes} that were told; look once more, and "
            "start it again if that is not too much"
        )

    def _found(self, source: PackageSource, plan: UpdatePlan, fetch_bytes: int) -> UpdateFound:
        is_here = isinstance(source, DirectorySource)
        return UpdateFound(
            plan.is_up_to_date,
            plan.new,
            plan.offer.manifest.version,
            fetch_bytes,
            plan.whole_bytes,
            plan.disk_bytes,
            "no" if is_here or plan.is_up_to_date else self._metered(),
            source.name,
        )

    def _check_metered(self, source: PackageSource, num_bytes: int, *, allowed: bool) -> None:
        if allowed or isinstance(source, DirectorySource) or num_bytes <= UNASKED_BYTES or self._metered() != "yes":
            return
        raise UsageError(
            f"{num_bytes / 1e6:.0f} MB are to be fetched and this network is paid for by the byte; "
            "use another one, or say that it may be used"
        )

    def _source(self, path: Path) -> PackageSource:
        origin = read_origin(path)
        if origin is None:
            raise UsageError(
                f"nobody knows where {path.name} was published; `pocketseek update {path.name} --from ADDRESS` takes "
                "an address or a folder"
            )
        return open_source(origin.address, Link(self._network()))

    def _admission(self) -> Admission:
        """Nobody is asked about keys, and nothing older is taken."""
        return Admission(self._settings)


def _write_down(name: str, future: Future[None]) -> None:
    """What nobody foresaw."""
    error = None if future.cancelled() else future.exception()
    if error is not None and not isinstance(error, PocketseekError | _StopRequested):
        _log.error("the update of %s failed", name, exc_info=error)
