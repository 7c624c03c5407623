"""Token ids and logits of a text from llama.cpp, for `agreement.py`, which starts this with the peer's interpreter.

Arguments: GGUF file, text file, output .npz, tokens per window, number of windows, threads. Each window starts a new
sequence at position 0. Writes token_ids int32 [windows, tokens] and logits float32 [windows, tokens, vocab].
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from llama_cpp_model import LlamaCppModel


def main() -> None:
    model_path, text_path, out_path = sys.argv[1:4]
    window_tokens, num_windows, threads = map(int, sys.argv[4:7])
    model = LlamaCppModel(model_path, threads, window_tokens, window_tokens, all_logits=True)
    token_ids = model.tokenize(Path(text_path).read_text(encoding="utf-8"))
    if len(token_ids) < window_tokens * num_windows:
        raise SystemExit(f"{text_path} has {len(token_ids)} tokens; take a longer text or fewer windows")
    windows = np.array(token_ids[: window_tokens * num_windows], np.int32).reshape(num_windows, window_tokens)
    logits = np.empty((num_windows, window_tokens, model.vocab_size), np.float32)
    for index, window in enumerate(windows):
        model.forget()
        logits[index] = model.run(window.tolist(), 0)
    np.savez(out_path, token_ids=windows, logits=logits)


if __name__ == "__main__":
    main()
