"""The logits of every position of a window of tokens: for comparing models, which sampling never needs.

They come a few rows at a time, since a vocabulary of 150,000 makes 0.6 MB of each row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pocketseek.device.probe import check_device
from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.kv_memory import PAGE_TOKENS
from pocketseek.package.reader import Package
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.trust.gatekeeper import Gatekeeper
from pocketseek.runtime.closing import Closeable, close_all
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.onnx.opening import find_onnx_model, open_onnx_model
from pocketseek.runtime.onnx.providers import ProviderChoice
from pocketseek.runtime.opening import num_cores, usual_secret
from pocketseek.runtime.pooling import States
from pocketseek.runtime.work import Executor, Logits, Slice, Work, pages_for
from pocketseek.settings import read_settings
from pocketseek.text.settings_file import parse_text_settings
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import EngineKind

ROWS_AT_ONCE = PAGE_TOKENS


class WindowLogits:
    """Of one package or ONNX model, without an engine around it. Not for use from several threads; close it."""

    def __init__(
        self,
        path: Path,
        *,
        window: int,
        num_threads: int | None = None,
        engine: EngineKind | None = None,
        provider: str | None = None,
        secret: Secret | None = None,
        weight_bytes: int | None = None,
    ) -> None:
        """window: the most tokens of one. engine, provider, secret: as of `load`. weight_bytes: of the weights, so many
        in memory at the most and the rest streamed (None: all in memory; a package's alone). Raises as `load` does."""
        settings = read_settings()
        self._pages = tuple(range(pages_for(window)))
        self._executor: Executor
        self._provider: Callable[[], ProviderChoice] | None = None
        facts = check_device(data_dir=settings.home)
        threads = num_threads or settings.num_threads or num_cores(facts)
        gate = Gatekeeper.of(settings)
        onnx_path = find_onnx_model(str(path), settings, engine, gate)
        if onnx_path is not None:
            opened = open_onnx_model(onnx_path, settings, facts, num_threads=threads, provider=provider)
            self.tokenizer, self._executor = opened.tokenizer, opened.executor
            self._provider = opened.provider
            self._executor.reserve_pages(len(self._pages))
            self._resources: list[Closeable] = [self._executor]
            return
        package = Package.open(path, secret=secret or usual_secret(settings), admit=gate.admit)
        try:
            self.tokenizer = Tokenizer.from_json(
                package.file("tokenizer.json"), parse_text_settings(package.file("text.json"))
            )
            choice = choose_kernels(settings.kernels)
            self._executor = KernelExecutor(package, choice, num_threads=threads, num_pages=len(self._pages))
            self._executor.set_weight_bytes(weight_bytes)
            self._resources = [self._executor, package]
        except BaseException:  # nothing stays open, and it is raised again
            package.close()
            raise

    @property
    def provider_choice(self) -> ProviderChoice | None:
        """As of an Engine."""
        return None if self._provider is None else self._provider()

    @property
    def vocab_size(self) -> int:
        return self._executor.vocab_size

    @property
    def context_length(self) -> int:
        return self._executor.context_length

    def run(self, token_ids: Sequence[int]) -> Iterator[Logits]:
        """(rows, vocab_size) float32 for ROWS_AT_ONCE positions after the other; each is overwritten by the next."""
        yield from (logits for logits, _ in self._passes(token_ids, wants_states=False))

    def run_with_states(self, token_ids: Sequence[int]) -> Iterator[tuple[Logits, States]]:
        """The same, with the head's input: (rows, hidden_size) float32, after the final norm."""
        return self._passes(token_ids, wants_states=True)

    def _passes(self, token_ids: Sequence[int], *, wants_states: bool) -> Iterator[tuple[Logits, States]]:
        for first in range(0, len(token_ids), ROWS_AT_ONCE):
            part = tuple(token_ids[first : first + ROWS_AT_ONCE])
            pages = self._pages[: pages_for(first + len(part))]
            wanted = Slice(0, part, first, pages, num_logits=len(part), wants_states=wants_states)
            yield self._executor.run(Work((wanted,))), self._executor.states

    def close(self) -> None:
        close_all(self._resources)
