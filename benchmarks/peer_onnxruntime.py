"""The ONNX Runtime side of a benchmark run: `compare.py` starts it with the peer's interpreter, once per round.

The model that onnxruntime-genai's builder writes, through ONNX Runtime's own calls: K and V stay in one buffer that is
both past and present, as GenAI does it, and the export computes only the last token's logits. The number of threads is
set explicitly.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import workload


class OnnxRuntimeRunner:
    """`workload.Runner` on ONNX Runtime's CPU provider."""

    engine = "onnxruntime"

    def __init__(self, job: workload.Job) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = job.threads
        options.inter_op_num_threads = 1
        path = str(Path(job.model) / "model.onnx")
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        config = json.loads((Path(job.model) / "genai_config.json").read_text(encoding="utf-8"))["model"]
        self._decoder = config["decoder"]
        self._num_positions = job.kv_positions
        self._num_used = 0
        self._binding: ort.IOBinding | None = None
        self.vocab_size = int(config["vocab_size"])
        self.system = f"onnxruntime {ort.__version__}"

    @property
    def kv_bytes(self) -> int:
        """Of the positions written since the last `forget`, in float32; memory nobody wrote to is not there yet."""
        layer = self._decoder["num_key_value_heads"] * self._decoder["head_size"]
        return 2 * 4 * self._num_used * layer * int(self._decoder["num_hidden_layers"])

    def forget(self) -> None:
        self._binding = None
        self._num_used = 0

    def run(self, token_ids: list[list[int]], first_position: int) -> list[int]:
        if self._binding is None:
            self._binding = self._bind_memory(len(token_ids))
        end = first_position + len(token_ids[0])
        self._binding.bind_cpu_input("input_ids", np.array(token_ids, np.int64))
        self._binding.bind_cpu_input("attention_mask", np.ones((len(token_ids), end), np.int64))
        self._binding.bind_output("logits", "cpu")
        self._session.run_with_iobinding(self._binding)
        self._num_used = len(token_ids) * end
        logits = self._binding.get_outputs()[-1].numpy()
        return [int(row) for row in logits[:, -1].argmax(axis=-1)]

    def _bind_memory(self, num_sequences: int) -> ort.IOBinding:
        """New K and V, shared out evenly; logits are bound anew before each run, so they come last in the outputs."""
        binding = self._session.io_binding()
        decoder = self._decoder
        shape = (
            num_sequences,
            decoder["num_key_value_heads"],
            self._num_positions // num_sequences,
            decoder["head_size"],
        )
        for layer in range(decoder["num_hidden_layers"]):
            for kind in ("key", "value"):
                memory = ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32))
                binding.bind_ortvalue_input(f"past_key_values.{layer}.{kind}", memory)
                binding.bind_ortvalue_output(f"present.{layer}.{kind}", memory)
        return binding


if __name__ == "__main__":
    workload.main(OnnxRuntimeRunner)
