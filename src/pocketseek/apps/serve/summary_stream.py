"""A summary that is written in a thread of its own, as a stream that an EventBridge can take pieces from.

Progress that nobody has taken yet is replaced by what is newer. `close` ends the work at its next step.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator

from pocketseek.apps.doc.coverage import Coverage
from pocketseek.apps.doc.jobs import Job
from pocketseek.apps.doc.summary_events import Planned, Progress, Summary, SummaryEvent, SummaryText
from pocketseek.apps.doc.written_answer import Note
from pocketseek.apps.serve.kept_files import FileStore
from pocketseek.errors import NotFoundError
from pocketseek.types import FinishReason, TextEvent


class KeptWhileThere:
    """The keeper of a job on a file: what is written after the file was deleted is not kept."""

    def __init__(self, job: Job, store: FileStore, file_id: str) -> None:
        self._job = job
        self._store = store
        self._file_id = file_id

    def find(self, key: str) -> Note | None:
        return self._job.find(key)

    def keep(self, key: str, note: Note) -> None:
        if not self._store.has(self._file_id):
            raise NotFoundError("the document was deleted meanwhile; upload it again")
        self._job.keep(key, note)


class SummaryStream:
    """A Polled. coverage: what was read, once it has ended."""

    def __init__(
        self,
        events: Generator[SummaryEvent, None, None],
        job: Job,
        count_tokens: Callable[[str], int],
        announce: Callable[[], None],
    ) -> None:
        self.coverage: Coverage | None = None
        self._job = job
        self._count_tokens = count_tokens
        self._announce = announce
        self._waiting: deque[TextEvent | Progress] = deque()
        self._lock = threading.Lock()
        self._error: Exception | None = None
        self._is_over = False
        self._is_closed = threading.Event()
        threading.Thread(target=self._run, args=(events,), name="pocketseek-summary", daemon=True).start()

    @property
    def has_ended(self) -> bool:
        with self._lock:
            return self._is_over and not self._waiting and self._error is None

    def poll(self) -> TextEvent | Progress | None:
        """Raises what the summary raised."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            error, self._error = self._error, None
        if error is not None:
            raise error
        return None

    def close(self) -> None:
        self._is_closed.set()

    def _run(self, events: Generator[SummaryEvent, None, None]) -> None:
        error: Exception | None = None
        try:
            for event in events:
                self._see(event)
                if self._is_closed.is_set():
                    break
        except Exception as raised:  # noqa: BLE001  raised by `poll`
            error = raised
        finally:
            events.close()
            with self._lock:
                self._error, self._is_over = error, True
            self._announce()

    def _see(self, event: SummaryEvent) -> None:
        if isinstance(event, Planned):
            self._job.plan(event.num_chunks)
        elif isinstance(event, Progress):
            self._put(event)
        elif isinstance(event, SummaryText):
            self._put(TextEvent(event.text))
        elif isinstance(event, Summary):
            self._job.finish()
            self.coverage = event.coverage
            is_cut = event.coverage.summary_outcome == "cut"
            reason: FinishReason = "length" if is_cut else "stop"
            self._put(TextEvent(num_tokens=self._count_tokens(event.text), finish_reason=reason))

    def _put(self, item: TextEvent | Progress) -> None:
        with self._lock:
            if isinstance(item, Progress) and self._waiting and isinstance(self._waiting[-1], Progress):
                self._waiting.pop()
            self._waiting.append(item)
        self._announce()
