"""llama.cpp through the low-level calls of llama-cpp-python, so that Python's share of a pass is a few microseconds.

Runs under the peer's interpreter only (see docs/benchmarks.md on making one). Defaults of llama.cpp where they are its
best: weights repacked at load, f16 KV, flash attention chosen by itself. One batch of up to `n_ubatch` tokens per call.
"""

from __future__ import annotations

import ctypes

import llama_cpp
import numpy as np
import numpy.typing as npt


@llama_cpp.llama_log_callback
def _silent(level: int, text: bytes, user_data: object) -> None:
    """llama.cpp writes pages of remarks to standard error otherwise."""


class LlamaCppModel:
    """A GGUF file loaded. `all_logits`: keep the logits of every row of a batch, not of the last.

    `context_tokens`: positions for K and V, shared by up to `num_sequences` sequences. `repack`: copy the weights into
    a layout that is quicker to compute with, which takes as much anonymous memory; without, they are used as mapped.
    """

    def __init__(
        self,
        path: str,
        threads: int,
        context_tokens: int,
        batch_tokens: int,
        all_logits: bool,
        num_sequences: int = 1,
        repack: bool = True,
    ) -> None:
        llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(path.encode(), self._model_params(repack))
        if not self._model:
            raise SystemExit(f"llama.cpp cannot load {path}; try it with llama-cli to see why")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = context_tokens
        params.n_batch = params.n_ubatch = batch_tokens
        params.n_threads = params.n_threads_batch = threads
        params.n_outputs_max = batch_tokens if all_logits else num_sequences
        params.n_seq_max = num_sequences
        params.kv_unified = True
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise SystemExit(f"llama.cpp cannot make a context of {context_tokens} tokens; use a smaller one")
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._batch = llama_cpp.llama_batch_init(batch_tokens, 0, 1)
        self._batch_tokens = batch_tokens
        self._all_logits = all_logits
        self.vocab_size: int = llama_cpp.llama_vocab_n_tokens(self._vocab)

    @staticmethod
    def _model_params(repack: bool) -> llama_cpp.llama_model_params:
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        params.use_extra_bufts = repack
        return params

    @property
    def kv_bytes_per_token(self) -> int:
        """K and V in f16 over all layers."""
        model = self._model
        head_dim = llama_cpp.llama_model_n_embd(model) // llama_cpp.llama_model_n_head(model)
        values = llama_cpp.llama_model_n_layer(model) * llama_cpp.llama_model_n_head_kv(model) * head_dim
        return 2 * 2 * values

    def forget(self) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), False)

    def run(self, token_ids: list[int], first_position: int) -> npt.NDArray[np.float32]:
        """Logits of the last token [vocab], or of all tokens [tokens, vocab]; valid until the next call."""
        if self._all_logits and len(token_ids) > self._batch_tokens:
            raise SystemExit(f"logits of all rows come from one batch; pass at most {self._batch_tokens} tokens")
        for start in range(0, len(token_ids), self._batch_tokens):
            stop = min(start + self._batch_tokens, len(token_ids))
            self._batch.n_tokens = 0
            self._add(token_ids[start:stop], first_position + start, last_logits=stop == len(token_ids))
            self._decode()
        if self._all_logits:
            pointer = llama_cpp.llama_get_logits(self._context)
            return np.ctypeslib.as_array(pointer, shape=(len(token_ids), self.vocab_size))
        pointer = llama_cpp.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(pointer, shape=(self.vocab_size,))

    def run_sequences(self, rows: list[list[int]], first_position: int) -> list[npt.NDArray[np.float32]]:
        """One row of tokens for each sequence, all in one batch; logits of every row's last token."""
        if sum(map(len, rows)) > self._batch_tokens:
            raise SystemExit(f"the rows of all sequences go into one batch; pass at most {self._batch_tokens} tokens")
        self._batch.n_tokens = 0
        last = []
        for sequence, row in enumerate(rows):
            self._add(row, first_position, last_logits=True, sequence=sequence)
            last.append(self._batch.n_tokens - 1)
        self._decode()
        pointers = [llama_cpp.llama_get_logits_ith(self._context, index) for index in last]
        return [np.ctypeslib.as_array(pointer, shape=(self.vocab_size,)) for pointer in pointers]

    def read(self, token_ids: list[int], first_position: int, sequence: int) -> npt.NDArray[np.float32]:
        """Logits of the last token of one sequence's part, in batches of the usual size."""
        for start in range(0, len(token_ids), self._batch_tokens):
            part = token_ids[start : start + self._batch_tokens]
            self._batch.n_tokens = 0
            self._add(part, first_position + start, start + len(part) == len(token_ids), sequence)
            self._decode()
        pointer = llama_cpp.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(pointer, shape=(self.vocab_size,))

    def run_at(self, token_ids: list[int], positions: list[int]) -> list[npt.NDArray[np.float32]]:
        """A token of each sequence, at its own position, all in one batch; logits of each."""
        self._batch.n_tokens = 0
        for sequence, (token_id, position) in enumerate(zip(token_ids, positions, strict=True)):
            self._add([token_id], position, last_logits=True, sequence=sequence)
        self._decode()
        pointers = [llama_cpp.llama_get_logits_ith(self._context, index) for index in range(len(token_ids))]
        return [np.ctypeslib.as_array(pointer, shape=(self.vocab_size,)) for pointer in pointers]

    def copy_positions(self, num_positions: int, source: int, target: int) -> None:
        """The target sequence begins as the source does; nothing is computed."""
        memory = llama_cpp.llama_get_memory(self._context)
        llama_cpp.llama_memory_seq_cp(memory, source, target, 0, num_positions)

    def _decode(self) -> None:
        if (code := llama_cpp.llama_decode(self._context, self._batch)) != 0:
            raise SystemExit(f"llama_decode answered {code}; is the context long enough?")

    def _add(self, token_ids: list[int], first_position: int, last_logits: bool, sequence: int = 0) -> None:
        batch = self._batch
        for row, token_id in enumerate(token_ids, start=batch.n_tokens):
            batch.token[row] = token_id
            batch.pos[row] = first_position + row - batch.n_tokens
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = sequence
            batch.logits[row] = self._all_logits
        batch.n_tokens += len(token_ids)
        batch.logits[batch.n_tokens - 1] = last_logits

    def tokenize(self, text: str) -> list[int]:
        """Token ids of plain text: nothing added, special tokens not recognised."""
        data = text.encode()
        buffer = (llama_cpp.llama_token * (len(data) + 16))()
        count = llama_cpp.llama_tokenize(self._vocab, data, len(data), buffer, len(buffer), False, False)
        return list(buffer[:count])


def system_info() -> str:
    """Version and the instruction sets llama.cpp was built for."""
    features = llama_cpp.llama_print_system_info().decode()
    return f"llama-cpp-python {llama_cpp.__version__}: {features.strip().rstrip('|').strip()}"
