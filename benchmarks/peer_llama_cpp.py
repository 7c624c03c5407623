"""The llama.cpp side of a benchmark run: `compare.py` starts it with the peer's interpreter, once per round."""

from __future__ import annotations

import workload
from llama_cpp_model import LlamaCppModel, system_info

UBATCH_TOKENS = 512


class LlamaCppRunner:
    """`workload.Runner` on llama.cpp."""

    engine = "llama.cpp"

    def __init__(self, job: workload.Job) -> None:
        self._model = LlamaCppModel(job.model, job.threads, job.context_tokens, UBATCH_TOKENS, all_logits=False)
        self.system = system_info()
        self.vocab_size = self._model.vocab_size
        self.kv_bytes = job.context_tokens * self._model.kv_bytes_per_token

    def forget(self) -> None:
        self._model.forget()

    def run(self, token_ids: list[int], first_position: int) -> int:
        return int(self._model.run(token_ids, first_position).argmax())


if __name__ == "__main__":
    workload.main(LlamaCppRunner)
