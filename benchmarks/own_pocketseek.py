"""The pocketseek side of a benchmark run: `compare.py` starts it with the project's interpreter, once per round."""

from __future__ import annotations

from pathlib import Path

import workload
from pocketseek_model import PocketseekModel

import pocketseek


class PocketseekRunner:
    """`workload.Runner` on the executor."""

    engine = "pocketseek"

    def __init__(self, job: workload.Job) -> None:
        self._model = PocketseekModel(Path(job.model), job.threads, job.kv_positions)
        self.system = f"pocketseek {pocketseek.__version__}: {self._model.kernels_name}"
        self.vocab_size = self._model.vocab_size

    @property
    def kv_bytes(self) -> int:
        return self._model.used_kv_bytes

    def forget(self) -> None:
        """Nothing to do: positions are written again before they are read."""

    def run(self, token_ids: list[list[int]], first_position: int) -> list[int]:
        if len(token_ids) == 1:
            return [int(self._model.run(token_ids[0], first_position)[-1].argmax())]
        return [int(row.argmax()) for row in self._model.run_sequences(token_ids, first_position)]


if __name__ == "__main__":
    workload.main(PocketseekRunner)
