"""The one thread that owns scheduler and executor, and the way other threads talk to it.

Callers put messages into an inbox; the worker takes them in between two passes, sleeps while there is nothing to
compute (until a message comes, or the time that the scheduler names), and puts every event into the queue of its
request. It starts with the first request. It is a daemon thread, so that a forgotten engine does not keep the process
alive; the engine's finalizer closes it before the interpreter goes.

With a `MemoryFollowing` it starts at once and wakes now and then while nothing runs, to have the governor look: an
engine that waits for its user gives memory back to whoever needs it, too.

Between two passes it rests as long as `Limits.duty` wants (pace.py), and still takes messages: a request is cancelled
at once, a closed engine ends, and the governor is asked every second, so that a rest ends when it is not wanted any
more.

A pass that storage fails (StorageError, IntegrityError), or for which the system refuses memory (MemoryLimitError),
ends the requests in it, each with an error of that class at its join, and nobody else; one that could not read is tried
once more before. If a pass fails in any other way (or the engine is closed), every waiting request gets an
EngineClosedError at its join, with the failure as cause, and later requests are refused. A failure of one request alone
is raised at that request's join only.
"""

from __future__ import annotations

import itertools
import logging
import traceback
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from threading import RLock, Thread, current_thread
from time import perf_counter
from typing import Protocol

from pocketseek.errors import EngineClosedError, IntegrityError, MemoryLimitError, StorageError
from pocketseek.govern.governor import Governor
from pocketseek.runtime.applied_limits import AppliedLimits, MemoryFollowing
from pocketseek.runtime.closing import Closeable, close_all
from pocketseek.runtime.counts import SequenceEvent
from pocketseek.runtime.frequency_caps import FrequencyCaps
from pocketseek.runtime.pace import Pace
from pocketseek.runtime.scheduler import Scheduler
from pocketseek.runtime.token_stream import (
    AnnouncedOutcomes,
    ApplyLimits,
    Cancel,
    Inbox,
    Message,
    Outcomes,
    Submit,
    TokenStream,
    WakeUp,
)
from pocketseek.runtime.work import Executor, Logits, Work
from pocketseek.types import Limits, Request

_LONGEST_SLEEP_S = 3600.0  # then it looks again
_LONGEST_REST_S = 1.0  # then the governor is asked again

_log = logging.getLogger(__name__)


class IdleWork(Protocol):
    """What can wait until there is no request: done a step at a time, and all of it when the engine is closed."""

    @property
    def has_work(self) -> bool: ...

    def step(self) -> None: ...

    def finish(self) -> None: ...


class Worker:
    """Starts the thread when it is needed; closes executor and resources when the thread ends."""

    def __init__(
        self,
        scheduler: Scheduler,
        executor: Executor,
        governor: Governor,
        resources: Iterable[Closeable] = (),
        idle_work: IdleWork | None = None,
        following: MemoryFollowing | None = None,
        clocks: FrequencyCaps | None = None,
        *,
        clock: Callable[[], float] = perf_counter,
        inbox: Inbox | None = None,
    ) -> None:
        """All waiting is done at the inbox: one that moves the clock instead makes the worker live in another time."""
        self._scheduler = scheduler
        self._executor = executor
        self._governor = governor
        self._resources = (executor, *resources)
        self._idle_work = idle_work
        self._inbox: Inbox = SimpleQueue() if inbox is None else inbox
        self._clock = clock
        self._outcomes: dict[int, Outcomes] = {}
        self._ids = itertools.count(1)
        self._lock = RLock()  # guards _thread and _closed; reentrant since a finalizer may close from anywhere
        self._thread: Thread | None = None
        self._closed = False
        self._failure: BaseException | None = None
        self._applied = AppliedLimits(scheduler, executor, following, clocks)
        self._pace = Pace(clock())
        self._may_hurry = True
        self._rest_s = following.rest_s if following is not None else None
        self._run_start = 0.0
        self.executor_s = 0.0
        self.total_s = 0.0
        self.rested_s = 0.0  # for the sake of heat or battery
        self.num_wakeups = 0  # passes after a sleep
        self.num_retried_passes = 0
        self.num_failed_passes = 0
        self._slept = False
        if following is not None:
            with self._lock:
                self._start()

    # -- any thread -----------------------------------------------------------------------------------------------

    def submit(
        self, requests: Sequence[Request], owner: object, announce: Callable[[], None] | None = None
    ) -> list[TokenStream]:
        """Queue one request, or several with one prompt. Raises UsageError, ContextLengthError, EngineClosedError.

        announce: called by the worker whenever there is something to read.
        """
        sequences = tuple(self._scheduler.prepare(next(self._ids), request) for request in requests)
        outcomes: tuple[Outcomes, ...] = tuple(
            SimpleQueue() if announce is None else AnnouncedOutcomes(announce) for _ in requests
        )
        with self._lock:
            if self._closed:
                raise self._closed_error()
            self._inbox.put(Submit(sequences, outcomes))
            if self._thread is None:
                self._start()
        return [
            TokenStream(sequence.request_id, queue, self._inbox, owner)
            for sequence, queue in zip(sequences, outcomes, strict=True)
        ]

    def _start(self) -> None:
        self._thread = Thread(target=self._live, name="pocketseek-engine", daemon=True)
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        """Closed, or ended by a failure: later requests are refused."""
        return self._closed

    def apply_limits(self, done: Callable[[], None] = lambda: None) -> bool:
        """Ask the governor at the next border between passes, or now if nothing runs; then done is called. False if
        no worker is there, which may be yet to start."""
        with self._lock:
            if not self._closed:
                self._inbox.put(ApplyLimits(done))
            return not self._closed and self._thread is not None

    def close(self) -> None:
        """Stop after the pass that is running, and wait for that. Calling it again does nothing."""
        with self._lock:
            never_started = self._thread is None and not self._closed
            self._closed = True
        self._inbox.put(WakeUp())
        if never_started:
            close_all(self._resources)
        elif self._thread is not None and self._thread is not current_thread():
            self._thread.join()

    def _closed_error(self) -> EngineClosedError:
        if self._failure is None:
            return EngineClosedError("the engine is closed; open the model again")
        reason = f"{type(self._failure).__name__}: {self._failure}"
        error = EngineClosedError(f"the engine stopped after a failure ({reason}); open the model again")
        error.__cause__ = self._failure
        return error

    # -- the worker's thread --------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            while self._receive():
                self._pass()
        except BaseException as failure:  # noqa: BLE001  kept, and raised again at the join of every request
            self._failure = failure
        finally:
            self._retire()

    def _pass(self) -> None:
        """The heart: decide, run, account."""
        start = self._clock()
        limits = self._limits()
        work = self._scheduler.plan(limits)
        self._applied.give_memory_back()
        if work is None:
            self._use_idle_time()
            return
        self.num_wakeups += self._slept
        self._slept = False
        try:
            logits = self._run(work)
        except (StorageError, IntegrityError, MemoryLimitError) as error:
            events = self._fail(work, error)
        else:
            events = self._scheduler.commit(work, logits, self._executor.states)
            self._observe(limits, work)
        self._deliver(events)
        self._applied.give_memory_back()
        now_s = self._clock()
        self._pace.worked(now_s - start, now_s)
        self.total_s += now_s - start

    def _limits(self) -> Limits:
        limits = self._governor.limits()
        self._applied.apply(limits)
        policy = self._scheduler.policy
        policy.costs.storage_s, policy.costs.kind = self._executor.storage_s, self._executor.pass_kind
        duty = limits.duty if policy.has_interactive else limits.duty * limits.background_duty
        self._pace.set_duty(duty, self._clock())
        self._may_hurry = limits.may_hurry
        return limits

    def _run(self, work: Work) -> Logits:
        try:
            return self._run_once(work)
        except StorageError as error:
            _log.info("a pass is run again: %s", error)
            _clear_frames(error)
            self.num_retried_passes += 1
            return self._run_once(work)

    def _run_once(self, work: Work) -> Logits:
        self._run_start = self._clock()
        try:
            return self._executor.run(work)
        except MemoryError as error:
            raise MemoryLimitError(
                "the system refuses memory for a pass; close other programs, or allow less with --memory"
            ) from error
        finally:
            self.executor_s += self._clock() - self._run_start

    def _observe(self, limits: Limits, work: Work) -> None:
        """Without what planning took, which may be pages on their way to and from the disk."""
        computing_s = self._clock() - self._run_start - self._executor.waited_s
        costs = self._scheduler.policy.costs
        costs.observe(limits, work.num_tokens, computing_s, is_typical=self._executor.is_typical)

    def _fail(self, work: Work, error: StorageError | IntegrityError | MemoryLimitError) -> list[SequenceEvent]:
        self.num_failed_passes += 1
        _clear_frames(error)
        return self._scheduler.fail(work, error)

    def _deliver(self, events: Iterable[SequenceEvent]) -> None:
        for event in events:
            finished = event.token.finish_reason is not None
            outcomes = self._outcomes.pop(event.request_id) if finished else self._outcomes[event.request_id]
            outcomes.put(event.error or event.token)

    def _receive(self) -> bool:
        """Take in all messages, sleeping while there is nothing to compute. False when it is time to end."""
        while not self._closed:
            if self._scheduler.has_work and (rest_s := self._pace.rest_s(self._clock())) > 0.0:
                self._rest(min(rest_s, _LONGEST_REST_S))
                continue
            wait_s = self._scheduler.wait_s()
            sleeps = wait_s != 0.0 and not self._has_idle_work
            self._slept = self._slept or sleeps
            message = self._next_message(wait_s) if sleeps or not self._inbox.empty() else None
            if message is None:
                self._deliver(self._scheduler.expire())
                return True
            self._take(message)
        return False

    def _rest(self, seconds: float) -> None:
        """Until a message comes, or so long. The governor is asked either way, or traffic would keep it from ending an
        emergency that it began."""
        start_s = self._clock()
        try:
            message: Message | None = self._inbox.get(timeout=seconds)
        except Empty:
            message = None
        self.rested_s += self._clock() - start_s
        if message is not None:
            self._take(message)
        self._deliver(self._scheduler.expire())
        self._limits()
        if message is None:
            self._applied.give_memory_back()

    def _next_message(self, wait_s: float | None) -> Message | None:
        """wait_s None: however long it takes. Either way no longer than until the governor is to look again."""
        if self._rest_s is not None:
            rest_s = self._rest_s()
            wait_s = rest_s if wait_s is None else min(wait_s, rest_s)
        try:
            return self._inbox.get(timeout=None if wait_s is None else min(wait_s, _LONGEST_SLEEP_S))
        except Empty:
            return None

    @property
    def _has_idle_work(self) -> bool:
        return self._idle_work is not None and self._idle_work.has_work

    def _use_idle_time(self) -> None:
        if self._idle_work is not None and self._idle_work.has_work:
            self._idle_work.step()

    def _take(self, message: Message) -> None:
        if isinstance(message, Submit):
            self._outcomes |= _by_id(message)
            self._scheduler.submit(*message.sequences)
            if self._may_hurry and message.sequences[0].request.priority == "interactive":
                self._pace.forgive()
        elif isinstance(message, Cancel) and (event := self._scheduler.cancel(message.request_id)) is not None:
            self._deliver([event])
            self._applied.give_memory_back()
        elif isinstance(message, ApplyLimits):
            self._limits()
            self._applied.give_memory_back()
            message.done()

    def _retire(self) -> None:
        """Refuse what comes, answer what waits, let go of the memory."""
        with self._lock:
            self._closed = True
        while not self._inbox.empty():
            message = self._inbox.get()
            if isinstance(message, Submit):
                self._outcomes |= _by_id(message)
            elif isinstance(message, ApplyLimits):
                message.done()
        for outcomes in self._outcomes.values():
            outcomes.put(self._closed_error())
        self._outcomes.clear()
        try:
            if self._idle_work is not None and self._failure is None:
                self._idle_work.finish()
        finally:
            close_all(self._resources)


def _by_id(message: Submit) -> dict[int, Outcomes]:
    ids = (sequence.request_id for sequence in message.sequences)
    return dict(zip(ids, message.outcomes, strict=True))


def _clear_frames(error: BaseException | None) -> None:
    """Whoever keeps the error keeps no buffers of the executor alive."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
