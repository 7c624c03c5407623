"""The OpenVINO side of a benchmark run: `compare.py` starts it with the peer's interpreter, once per round.

The model that optimum-cli exports for OpenVINO GenAI, stateful, through OpenVINO's own calls: GenAI's pipeline hides
single passes. What the pipeline does to the model at load is done here too: the head sees only the last token of a
sequence. Settings that mattered: two threads, one stream, activations quantised in groups of 128.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import openvino as ov
import workload
from openvino import opset13

ACTIVATION_GROUP = 128


class OpenVinoRunner:
    """`workload.Runner` on OpenVINO's CPU plugin."""

    engine = "openvino"
    kv_bytes = None  # lies in the plugin, in 8 bits by default, and grows as it likes

    def __init__(self, job: workload.Job) -> None:
        core = ov.Core()
        model = core.read_model(Path(job.model) / "openvino_model.xml")
        keep_last_token(model)
        settings = {
            "INFERENCE_NUM_THREADS": job.threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": ACTIVATION_GROUP,
            # On a processor with bfloat16 instructions the default is bf16, and then int8 activations are not used:
            # prefill 71 tokens/s instead of 250 on the 1.5b model, a pass of eight tokens 226 ms instead of 57.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        compiled = core.compile_model(model, "CPU", settings)
        self._request = compiled.create_infer_request()
        self.vocab_size = model.output("logits").partial_shape[2].get_length()
        used = ("INFERENCE_PRECISION_HINT", "KV_CACHE_PRECISION", "DYNAMIC_QUANTIZATION_GROUP_SIZE")
        properties = ", ".join(f"{name} {compiled.get_property(name)}" for name in used)
        self.system = f"openvino {ov.__version__}: {properties}, up to {os.environ.get('ONEDNN_MAX_CPU_ISA', 'any')}"

    def forget(self) -> None:
        self._request.reset_state()

    def run(self, token_ids: list[list[int]], first_position: int) -> list[int]:
        ids = np.array(token_ids, np.int64)
        num_sequences, num_tokens = ids.shape
        positions = np.arange(first_position, first_position + num_tokens, dtype=np.int64)
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones((num_sequences, first_position + num_tokens), np.int64),
            "position_ids": np.tile(positions, (num_sequences, 1)),
            "beam_idx": np.arange(num_sequences, dtype=np.int32),
        }
        self._request.infer(inputs, share_inputs=True)
        logits = self._request.get_tensor("logits").data
        return [int(row) for row in logits[:, -1].argmax(axis=-1)]


def keep_last_token(model: ov.Model) -> None:
    """Cut what goes into the head's matrix product, [sequences, tokens, hidden], to the last token."""
    head = model.output("logits").node.input_value(0).node
    if head.get_type_name() != "MatMul":
        raise SystemExit(f"the logits come out of {head.get_type_name()} instead of a MatMul; export the model again")
    hidden = head.input_value(0)
    first, end, step, axis = (np.array([number], np.int64) for number in (-1, np.iinfo(np.int64).max, 1, 1))
    head.input(0).replace_source_output(opset13.slice(hidden, first, end, step, axis).output(0))
    model.validate_nodes_and_infer_types()


if __name__ == "__main__":
    workload.main(OpenVinoRunner)
