"""A summary, or an answer out of all of some documents, that is written in a thread of its own, as a stream that an
EventBridge can take pieces from.

Progress that nobody has taken yet is replaced by what is newer. `close` ends the work at its next step.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import replace

from pocketseek.apps.doc.jobs import Job
from pocketseek.apps.doc.summary_events import Planned, Progress, Summary, SummaryText
from pocketseek.apps.doc.whole import Reading, WholeAnswer, WholeEvent
from pocketseek.types import FinishReason, TextEvent


class SummaryStream:
    """A Polled. result: what it has come to, once it has ended."""

    def __init__(
        self,
        events: Generator[WholeEvent, None, None],
        job: Job,
        count_tokens: Callable[[str], int],
        announce: Callable[[], None],
        *,
        is_streamed: bool = True,
    ) -> None:
        """is_streamed: the text comes as it is written; False: at the end, as what is written before is not all of it.
        events: the last is a Summary or a WholeAnswer."""
        self.result: Summary | WholeAnswer | None = None
        self._is_streamed = is_streamed
        self._documents = Reading("", 1, 1)
        self._share = 0.0
        self._num_chunks = 0
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

    def _run(self, events: Generator[WholeEvent, None, None]) -> None:
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

    def _see(self, event: WholeEvent) -> None:
        if isinstance(event, Reading):
            self._documents = event
        elif isinstance(event, Planned):
            self._num_chunks += event.num_chunks
            self._job.plan(self._num_chunks)
        elif isinstance(event, Progress):
            self._put(replace(event, share=self._share_of_all(event.share)))
        elif isinstance(event, SummaryText):
            if self._is_streamed:
                self._put(TextEvent(event.text))
        elif isinstance(event, Summary):
            self._end(event, event.text, is_cut=event.coverage.summary_outcome == "cut")
        else:
            self._end(event, event.reply.answer, is_cut=event.is_cut)

    def _share_of_all(self, share: float) -> float:
        """Of all documents; never less than before, also while their answers are merged."""
        done = (self._documents.number - 1 + share) / self._documents.total
        self._share = max(self._share, done)
        return self._share

    def _end(self, result: Summary | WholeAnswer, text: str, *, is_cut: bool) -> None:
        self._job.finish()
        self.result = result
        reason: FinishReason = "length" if is_cut else "stop"
        shown = "" if self._is_streamed else text
        self._put(TextEvent(shown, num_tokens=self._count_tokens(text), finish_reason=reason))

    def _put(self, item: TextEvent | Progress) -> None:
        with self._lock:
            if isinstance(item, Progress) and self._waiting and isinstance(self._waiting[-1], Progress):
                self._waiting.pop()
            self._waiting.append(item)
        self._announce()
