"""What a teacher says about the data, on disk, so that it runs once: a file for some sequences each.

For every position: the likeliest next tokens with the logs of their probabilities (float16), and the state that the
head gets (float16). The teacher is computed by the runtime's own executor, with as much of it in memory as may be: one
that is larger than memory is streamed. An interrupted run goes on behind the last file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketseek.adapt.data_tokens import TokenSequence
from pocketseek.errors import FormatError, ModelOutputError
from pocketseek.kernels.divergence import log_softmax
from pocketseek.package.storage import check_free_space, own_dir, storage_errors, sync_dir, write_file
from pocketseek.runtime.window_logits import WindowLogits

_IN_A_FILE = 16


@dataclass(frozen=True)
class Taught:
    """Of the positions of one sequence: ids int32 and log_probabilities float16 (positions, k), the likeliest first;
    states float16 (positions, hidden)."""

    ids: NDArray[np.int32]
    log_probabilities: NDArray[np.float16]
    states: NDArray[np.float16]


@dataclass(frozen=True)
class TaughtSequence:
    """place: of the sequence in the cache."""

    place: int
    ids: NDArray[np.int32]

    @property
    def num_wanted(self) -> int:
        """All positions are learnt from."""
        return len(self.ids)


class TeacherCache:
    """In a folder of its own; its owner sees to it that it belongs to this teacher and these sequences."""

    def __init__(self, folder: Path, sequences: Sequence[TokenSequence], top_k: int) -> None:
        self.sequences = [TaughtSequence(place, sequence.ids) for place, sequence in enumerate(sequences)]
        self._folder = folder
        self._top_k = top_k

    def num_bytes(self, hidden_size: int) -> int:
        return sum(len(one.ids) for one in self.sequences) * (6 * self._top_k + 2 * hidden_size)

    def fill(
        self,
        teacher: Path,
        *,
        hidden_size: int,
        weight_bytes: int | None = None,
        num_threads: int | None = None,
        first_needed: int = 0,
        between: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Let the teacher run over what it has not seen yet. first_needed: sequences before it may be left out.
        between(done, total): sequences, after each file.

        Raises StorageError (before the teacher runs, if the disk is too small), ModelOutputError, and what opening a
        package raises.
        """
        total = len(self.sequences)
        begin = first_needed // _IN_A_FILE * _IN_A_FILE
        missing = [first for first in range(begin, total, _IN_A_FILE) if not self._path(first).exists()]
        if not missing:
            return
        with storage_errors(self._folder):
            own_dir(self._folder)
        check_free_space(self._folder, self.num_bytes(hidden_size) * len(missing) * _IN_A_FILE // max(1, total))
        longest = max(len(one.ids) for one in self.sequences)
        with closing(
            WindowLogits(teacher, window=longest, num_threads=num_threads, engine="native", weight_bytes=weight_bytes)
        ) as logits:
            for first in missing:
                self._write(first, logits)
                between(min(first + _IN_A_FILE, total), total)

    def read(self, sequence: TaughtSequence) -> Taught:
        """Raises FormatError, StorageError."""
        from safetensors import SafetensorError, safe_open

        path, place = self._path(sequence.place // _IN_A_FILE * _IN_A_FILE), sequence.place
        try:
            with storage_errors(path), safe_open(path, framework="np") as file:
                return Taught(*(file.get_tensor(f"{kind}.{place}") for kind in ("ids", "logs", "states")))
        except SafetensorError as error:
            raise FormatError(f"{path}: the teacher's word is damaged; give --fresh to begin anew") from error

    def _path(self, first: int) -> Path:
        return self._folder / f"{first:08d}.safetensors"

    def _write(self, first: int, logits: WindowLogits) -> None:
        from safetensors.numpy import save

        arrays: dict[str, NDArray[np.generic]] = {}
        for sequence in self.sequences[first : first + _IN_A_FILE]:
            taught = self._taught(sequence, logits)
            arrays[f"ids.{sequence.place}"] = taught.ids
            arrays[f"logs.{sequence.place}"] = taught.log_probabilities
            arrays[f"states.{sequence.place}"] = taught.states
        path = self._path(first)
        temp = path.with_suffix(".new")
        try:
            with storage_errors(self._folder):
                write_file(temp, save(arrays))
                os.replace(temp, path)
                sync_dir(self._folder)
        except BaseException:  # what was half written goes
            with suppress(OSError):
                temp.unlink(missing_ok=True)
            raise

    def _taught(self, sequence: TaughtSequence, logits: WindowLogits) -> Taught:
        ids, logs, states = [], [], []
        for rows, hidden in logits.run_with_states(sequence.ids.tolist()):
            log_q = log_softmax(rows)
            count = min(self._top_k, log_q.shape[1])
            top = np.argpartition(log_q, -count, axis=1)[:, -count:]
            chosen = np.take_along_axis(log_q, top, axis=1)
            order = np.argsort(-chosen, axis=1, kind="stable")
            ids.append(np.take_along_axis(top, order, axis=1).astype(np.int32))
            logs.append(np.take_along_axis(chosen, order, axis=1).astype(np.float16))
            states.append(hidden.astype(np.float16))
        found = Taught(np.concatenate(ids), np.concatenate(logs), np.concatenate(states))
        if not (np.isfinite(found.log_probabilities).all() and np.isfinite(found.states).all()):
            raise ModelOutputError("the teacher gives no numbers for this data; check it with `pocketseek verify`")
        return found
