"""MNN in little memory, its weights in a mapped file: `small_memory.py` starts it with the peer's interpreter.

The job's model is a directory that MNN's llmexport made (docs/benchmarks.md). With `use_mmap` MNN writes the weights
once more, repacked, into files below it; `--prepare` does just that, outside of any limit. MNN runs one sequence at a
time: as many tokens of one stand in for a token of each of several, which can only be quicker (they share K and V).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import MNN
import MNN.llm
import small_workload
import workload

PREPARE = "--prepare"


class MnnRunner:
    """`workload.Runner` on MNN's own module for language models. Precision and memory as its exporter sets them."""

    engine = "mnn"
    kv_bytes = None

    def __init__(self, job: workload.Job) -> None:
        folder = Path(job.model)
        mapped = folder / "mapped"
        mapped.mkdir(exist_ok=True)
        self._llm = MNN.llm.create(str(folder / "config.json"))
        self._llm.set_config(
            {
                "use_mmap": True,
                "use_cached_mmap": True,
                "tmp_path": str(mapped),
                "thread_num": job.threads,
                "precision": "low",
                "memory": "low",
                "reuse_kv": True,
            }
        )
        self._llm.load()
        export = json.loads((folder / "export_args.json").read_text())
        self.system = f"MNN {MNN.version()}, use_mmap, {export['quant_bit']} bits, blocks of {export['quant_block']}"
        self.vocab_size = self._llm.forward([1]).shape[-1]
        self._llm.reset()

    def forget(self) -> None:
        self._llm.reset()

    def run(self, token_ids: list[list[int]], first_position: int) -> list[int]:
        logits = self._llm.forward([token for row in token_ids for token in row])
        return [int(logits.read().argmax())] * len(token_ids)


def main() -> None:
    if PREPARE in sys.argv[2:]:
        MnnRunner(small_workload.SmallJob.from_json(sys.argv[1]).as_job())
    else:
        small_workload.main(MnnRunner)
    sys.stdout.flush()
    os._exit(0)  # taking it down crashes (3.6.1)


if __name__ == "__main__":
    main()
