"""A package opened through the executor: no scheduler, no sampling, the counterpart of llama_decode.

Prompts go through in passes of at most `Limits.max_tokens_per_pass` tokens, as the engine would cut them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.kv_memory import page_bytes
from pocketseek.package.reader import Package
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.work import Slice, Work, pages_for
from pocketseek.text.settings_file import parse_text_settings
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import Limits


class PocketseekModel:
    """`kernels`: an implementation by name, or None for the best one of this CPU."""

    def __init__(self, path: Path, threads: int, context_tokens: int, kernels: str | None = None) -> None:
        choice = choose_kernels(kernels)
        self._package = Package.open(path)
        self._pages = tuple(range(pages_for(context_tokens)))
        self._executor = KernelExecutor(self._package, choice, num_threads=threads, num_pages=len(self._pages))
        self._touched_pages: set[int] = set()
        self._pass_tokens = Limits(num_threads=threads).max_tokens_per_pass
        self.vocab_size = self._executor.vocab_size

    @property
    def kernels_name(self) -> str:
        return self._executor.kernels_name

    @property
    def used_kv_bytes(self) -> int:
        """Of the pages that were written so far: the others cost no memory yet."""
        return len(self._touched_pages) * page_bytes(self._package.manifest.model)

    def run(self, token_ids: list[int], first_position: int, *, all_logits: bool = False) -> npt.NDArray[np.float32]:
        """Logits [1, vocab] of the last token, or [tokens, vocab] of all. Positions before must have been run."""
        rows = []
        for start in range(0, len(token_ids), self._pass_tokens):
            part = tuple(token_ids[start : start + self._pass_tokens])
            first, is_last = first_position + start, start + len(part) == len(token_ids)
            num_logits = len(part) if all_logits else int(is_last)
            pages = self._pages[: pages_for(first + len(part))]
            self._touched_pages.update(pages)
            logits = self._executor.run(Work((Slice(0, part, first, pages, num_logits),)))
            rows.append(logits.copy() if all_logits else logits)
        return np.concatenate(rows) if all_logits else rows[-1]

    def run_sequences(self, rows: list[list[int]], first_position: int) -> npt.NDArray[np.float32]:
        """One row of tokens for each sequence, all in one pass, pages shared out evenly; logits [sequences, vocab]."""
        share = len(self._pages) // len(rows)
        slices = []
        for sequence, row in enumerate(rows):
            start = sequence * share
            pages = self._pages[start : start + pages_for(first_position + len(row))]
            self._touched_pages.update(pages)
            slices.append(Slice(sequence, tuple(row), first_position, pages, 1))
        return self._executor.run(Work(tuple(slices)))

    def tokenize(self, text: str) -> list[int]:
        """Token ids of plain text: nothing added, special tokens not recognised."""
        settings = parse_text_settings(self._package.file("text.json"))
        tokenizer = Tokenizer.from_json(self._package.file("tokenizer.json"), settings)
        return tokenizer.encode(text, add_special=False, parse_special=False)
