"""The llama.cpp side of a benchmark run: `compare.py` starts it with the peer's interpreter, once per round."""

from __future__ import annotations

import workload
from llama_cpp_model import LlamaCppModel, system_info

UBATCH_TOKENS = 512


class LlamaCppRunner:
    """`workload.Runner` on llama.cpp."""

    engine = "llama.cpp"

    def __init__(self, job: workload.Job, repack: bool = True) -> None:
        self._model = LlamaCppModel(
            job.model,
            job.threads,
            job.kv_positions,
            UBATCH_TOKENS,
            all_logits=False,
            num_sequences=job.num_sequences or 1,
            repack=repack,
        )
        self.system = system_info()
        self.vocab_size = self._model.vocab_size
        self.kv_bytes = job.kv_positions * self._model.kv_bytes_per_token

    def forget(self) -> None:
        self._model.forget()

    def run(self, token_ids: list[list[int]], first_position: int) -> list[int]:
        if len(token_ids) == 1:
            return [int(self._model.run(token_ids[0], first_position).argmax())]
        return [int(logits.argmax()) for logits in self._model.run_sequences(token_ids, first_position)]


if __name__ == "__main__":
    workload.main(LlamaCppRunner)
