"""Runs `Work` with ONNX Runtime: exports of ours, and models of onnxruntime-genai's builder and of optimum.

The only module that imports onnxruntime, when it is first needed. What differs from the native executor:

- Slices run one after the other. Logits of a row are the same however many slices a pass has; they may differ in the
  last bits with the number of rows in a slice, since ONNX Runtime's kernels choose their order of sums by it.
- The number of threads is that of the time of opening: sessions cannot change theirs. Cores can change.
- All weights are in memory, mapped from files as far as ONNX Runtime lets us (prepared.py); none can be streamed, and
  a file that is cut short while the model is open ends the process, as any mapped file does.
- Hidden states cannot be had, so there are no embeddings.
- A provider that fails in a pass is given up: the CPU opens the model and computes that pass again, and all that
  follow. K and V of earlier passes stay, as they are in our own memory. One that was asked for is not replaced.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from pocketseek.device.execution_provider import ExecutionProvider
from pocketseek.errors import FormatError, MemoryLimitError, PocketseekError, UnsupportedError, UsageError
from pocketseek.kernels.contract import LogitsMath
from pocketseek.kernels.logits import NumpyLogits
from pocketseek.libraries import check_onnxruntime, load_onnxruntime
from pocketseek.runtime.onnx.kv_store import SequenceBuffer
from pocketseek.runtime.onnx.model_files import OnnxModel
from pocketseek.runtime.onnx.open_problems import one_line, open_problem
from pocketseek.runtime.onnx.passes import Passes
from pocketseek.runtime.onnx.prepared import PreparedCopies
from pocketseek.runtime.onnx.providers import PROVIDERS, given_up, open_first, order_of, provider_error
from pocketseek.runtime.onnx.session_options import session_options
from pocketseek.runtime.onnx.stage import Stage
from pocketseek.runtime.onnx.stage_files import StageFiles, files_for, originals
from pocketseek.runtime.onnx.whole_weights import WholeWeights
from pocketseek.runtime.pooling import NO_STATES, States
from pocketseek.runtime.work import Logits, Slice, Work

_log = logging.getLogger(__name__)

_LONG_ROWS = 16  # rows after which ONNX Runtime's work memory is worth giving back


def library_version() -> str | None:
    """Of the installed ONNX Runtime; None if there is none that can be loaded."""
    try:
        return str(_library().__version__)
    except UnsupportedError:
        return None


def available_providers() -> tuple[str, ...]:
    """ONNX Runtime's own names of what it was built with. Raises UnsupportedError if it is not installed."""
    return tuple(_library().get_available_providers())


class OnnxExecutor:
    """An `Executor`. Used by one thread at a time."""

    def __init__(
        self,
        model: OnnxModel,
        *,
        num_threads: int,
        device: ExecutionProvider,
        provider: str | None = None,
        is_intel: bool = False,
        copies: PreparedCopies | None = None,
    ) -> None:
        """device: what it would compute with; provider: instead of that. is_intel: the processor is one of theirs.
        copies: where prepared ones are kept.

        Raises UnsupportedError (no ONNX Runtime, no provider that works, unknown inputs), FormatError.
        """
        self._model = model
        self._num_threads = num_threads
        self._copies = copies
        self._config = model.config
        self._weight_bytes = model.num_bytes
        self._usable_cores = os.sched_getaffinity(0)
        if model.least_runtime is not None:
            check_onnxruntime(str(_library().__version__), model.least_runtime, str(model.folder))
        before, available = _thread_ids(), available_providers()
        self._passes, self.provider = open_first(
            order_of(device, provider, available=available, form=model.form, is_intel=is_intel),
            available,
            self._opened,
        )
        self._threads = _thread_ids() - before
        self._kv = self._passes.new_store()
        self._logits_buffer: Logits = np.empty((0, self.vocab_size), np.float32)
        self._had_many_rows = False

    @property
    def vocab_size(self) -> int:
        return self._passes.vocab_size

    @property
    def context_length(self) -> int:
        return self._config.context_length

    @property
    def logits_math(self) -> LogitsMath:
        return NumpyLogits()

    # -- memory -----------------------------------------------------------------------------------------------------

    def reserve_pages(self, num_pages: int) -> None:
        self._kv.reserve(num_pages)

    def release_pages(self, page_ids: Iterable[int]) -> None:
        self._kv.release(page_ids)

    def read_page(self, page_id: int) -> memoryview:
        return self._kv.read_page(page_id)

    def write_page(self, page_id: int, data: memoryview) -> None:
        self._kv.write_page(page_id, data)

    @property
    def page_bytes(self) -> int:
        return self._kv.page_bytes

    @property
    def used_page_bytes(self) -> int:
        """Of a page, as `read_page` gives it."""
        return self._kv.used_page_bytes

    @property
    def kv_bytes_in_memory(self) -> int:
        return self._kv.num_bytes

    @property
    def weights(self) -> WholeWeights:
        return WholeWeights(self._weight_bytes)

    @property
    def weight_bytes(self) -> int:
        return self._weight_bytes

    def weight_bytes_for(self, num_bytes: int | None) -> int:
        return self._weight_bytes

    def set_weight_bytes(self, num_bytes: int | None) -> None:
        if num_bytes is not None and num_bytes < self._weight_bytes:
            raise MemoryLimitError(
                f"with ONNX Runtime all {-(-self._weight_bytes // 1_000_000)} MB of weights stay in memory; "
                "allow more memory, choose a smaller model or use --engine native"
            )

    # -- where it computes ------------------------------------------------------------------------------------------

    def set_threads(self, num_threads: int) -> None:
        """Nothing: a session has the threads that it was opened with, and opening it again takes too long."""

    @property
    def changes_threads(self) -> bool:
        return False

    @property
    def cores(self) -> frozenset[int]:
        """Where the calling thread, and ONNX Runtime's, may compute."""
        return frozenset(os.sched_getaffinity(0))

    def set_cores(self, cores: tuple[int, ...]) -> None:
        """Of the calling thread, which computes too, and of ONNX Runtime's own."""
        chosen = set(cores) or self._usable_cores
        for thread in (0, *self._threads):
            try:
                os.sched_setaffinity(thread, chosen)
            except ProcessLookupError:
                continue
            except (OSError, ValueError) as error:
                raise UsageError(f"the cores {sorted(chosen)} cannot be used; choose some that are online") from error

    @property
    def storage_s(self) -> float:
        return 0.0

    @property
    def waited_s(self) -> float:
        return 0.0

    @property
    def pass_kind(self) -> str:
        return ""

    @property
    def is_typical(self) -> bool:
        return True

    # -- a pass -----------------------------------------------------------------------------------------------------

    def run(self, work: Work) -> Logits:
        """One pass; returns logits float32 (work.num_logits, vocab_size), which the next pass overwrites."""
        if work.num_states:
            raise UnsupportedError(
                "this ONNX model gives no hidden states, so it makes no embeddings; use --engine native"
            )
        logits = self._logits_rows(work.num_logits)
        running = {part.request_id for part in work.slices}
        done = 0
        for part in work.slices:
            buffer = self._kv.buffer_for(part, running)
            self._run_slice(buffer, part, logits[done : done + part.num_logits])
            self._kv.written(buffer, part)
            done += part.num_logits
        return logits

    @property
    def states(self) -> States:
        return NO_STATES

    def close(self) -> None:
        self._kv.close()
        self._passes.close()

    def _run_slice(self, buffer: SequenceBuffer, part: Slice, logits: Logits) -> None:
        """Where a model would compute logits of every row, those that nobody wants go first."""
        rest = part.num_tokens - part.num_logits
        if part.num_logits and self._passes.chooses_rows:
            rest = 0
        if rest:
            self._run_rows(buffer, part.token_ids[:rest], part.first_position, None)
        if part.num_logits:
            self._run_rows(buffer, part.token_ids[rest:], part.first_position + rest, logits)

    def _run_rows(self, buffer: SequenceBuffer, token_ids: Sequence[int], first: int, logits: Logits | None) -> None:
        had_many, self._had_many_rows = self._had_many_rows, len(token_ids) > _LONG_ROWS
        gives_back = had_many and not self._had_many_rows
        try:
            with _run_errors(self.provider.name):
                self._passes.run(self._kv, buffer, token_ids, first, logits, gives_back=gives_back)
            return
        except UnsupportedError as error:
            if self.provider.reason == "asked for":
                raise
            self._give_up_provider(error)
        with _run_errors(self.provider.name):
            self._passes.run(self._kv, buffer, token_ids, first, logits, gives_back=gives_back)

    def _give_up_provider(self, error: UnsupportedError) -> None:
        """The CPU computes from here on. If it cannot be opened now, the next pass tries that again."""
        _log.info("%s; the CPU computes from here on", str(error).partition(";")[0])
        self._passes.close()  # first: a phone may not have the memory for both
        self._kv.detach()
        before = _thread_ids()
        self._passes = self._opened("CPU")
        self._threads = _thread_ids() - before
        self.provider = given_up(self.provider, error)

    def _opened(self, provider: str) -> Passes:
        copies = self._copies if provider == "CPU" else None
        return _open_passes(self._model, provider, self._num_threads, copies)

    def _logits_rows(self, count: int) -> Logits:
        if count > _LONG_ROWS:
            return np.empty((count, self.vocab_size), np.float32)
        if count > len(self._logits_buffer):
            self._logits_buffer = np.empty((count, self.vocab_size), np.float32)
        return self._logits_buffer[:count]


# -- sessions -------------------------------------------------------------------------------------------------------


def _library() -> Any:
    """Raises UnsupportedError with what to install."""
    return load_onnxruntime()


def _open_passes(model: OnnxModel, provider: str, num_threads: int, copies: PreparedCopies | None) -> Passes:
    """A provider other than the CPU has to compute one token, too: many fail only then.

    Raises UnsupportedError if it does not, and what opening raises.
    """
    passes = Passes(_open_stages(model, provider, num_threads, copies), model)
    if provider == "CPU":
        return passes
    try:
        logits = passes.try_token()
    except _library_errors() as error:
        raise provider_error(provider, "first pass", str(error)) from error
    if not np.isfinite(logits).all():
        raise provider_error(provider, "no numbers")
    return passes


def _open_stages(model: OnnxModel, provider: str, num_threads: int, copies: PreparedCopies | None) -> list[Stage]:
    files = files_for(model, copies, lambda path, copy: _prepare(path, num_threads, copy))
    try:
        return _stages_of(model, files, provider, num_threads)
    except FormatError:
        if files.prepared is None or copies is None:
            raise
    copies.drop(files.prepared)
    return _stages_of(model, originals(model), provider, num_threads)


def _stages_of(model: OnnxModel, files: StageFiles, provider: str, num_threads: int) -> list[Stage]:
    names = ["CPU" if model.is_lookup(number) else provider for number in range(len(files.paths))]
    sessions = [
        _session(path, name, num_threads, is_prepared=files.prepared is not None)
        for path, name in zip(files.paths, names, strict=True)
    ]
    theirs = [session for session, name in zip(sessions, names, strict=True) if name != "CPU"]
    if theirs and not any(_has_a_part(session, PROVIDERS[provider]) for session in theirs):
        raise provider_error(provider, "no operators")
    return [
        Stage(session, stage.layers, model.names, _library())
        for session, stage in zip(sessions, model.stages, strict=True)
    ]


def _prepare(path: Path, num_threads: int, copy: Path) -> None:
    _session(path, "CPU", num_threads, copy=copy)


def _session(
    path: Path, provider: str, num_threads: int, *, is_prepared: bool = False, copy: Path | None = None
) -> Any:
    """Raises UnsupportedError if the provider cannot run the model; for CPU FormatError if it is no good model."""
    library = _library()
    options = session_options(library, num_threads, is_prepared=is_prepared, copy=copy)
    if provider != "CPU":
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    name = PROVIDERS[provider]
    with _open_errors(path, provider):
        session = library.InferenceSession(str(path), options, providers=_with_cpu(name))
    if name not in session.get_providers():
        raise provider_error(provider, "not started")
    return session


def _has_a_part(session: Any, name: str) -> bool:
    """Whether the provider computes anything; yes, where this ONNX Runtime does not tell."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return True
    return any(part.ep_name == name for part in session.get_provider_graph_assignment_info())


def _with_cpu(name: str) -> list[str]:
    """What a provider has no operator for is computed by the CPU."""
    return list(dict.fromkeys([name, PROVIDERS["CPU"]]))


def _library_errors() -> tuple[type[Exception], ...]:
    """ONNX Runtime's have no common base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError)


@contextmanager
def _open_errors(path: Path, provider: str) -> Iterator[None]:
    try:
        yield
    except _library_errors() as error:
        if provider != "CPU":
            raise provider_error(provider, "refused", str(error)) from error
        raise open_problem(path, str(error), library_version() or "") from error


@contextmanager
def _run_errors(provider: str) -> Iterator[None]:
    try:
        yield
    except _library_errors() as error:
        problem = one_line(str(error))
        if "alloc" in problem.lower():
            raise MemoryLimitError(f"ONNX Runtime got no memory: {problem}; use shorter prompts") from error
        if provider != "CPU":
            raise provider_error(provider, "later pass", str(error)) from error
        raise PocketseekError(f"ONNX Runtime failed in the middle of the model: {problem}; export it again") from error


def _thread_ids() -> frozenset[int]:
    """Of this process, to know which ones are ONNX Runtime's."""
    with suppress(OSError):
        return frozenset(int(name) for name in os.listdir("/proc/self/task"))
    return frozenset()
