"""The engines of a comparison: which worker runs each, in which interpreter, and on which model files.

All start from one GGUF file. llama.cpp runs it as it is; the others run what their own converters make of the same
weights, dequantised to a float16 checkpoint, each in its own 4-bit format. Everything is made once, on first use.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import models_on_disk

HERE = Path(__file__).resolve().parent
OURS, LLAMA_CPP, OPENVINO, ONNXRUNTIME = "pocketseek", "llama.cpp", "openvino", "onnxruntime"
PEERS = (LLAMA_CPP, OPENVINO, ONNXRUNTIME)
SCRIPTS = {
    OURS: "own_pocketseek.py",
    LLAMA_CPP: "peer_llama_cpp.py",
    OPENVINO: "peer_openvino.py",
    ONNXRUNTIME: "peer_onnxruntime.py",
}
# Neither llama.cpp (as docs/benchmarks.md builds it) nor our kernels use AMX, and no phone has it; OpenVINO would, and
# be several times as fast at prompts. ONEDNN_MAX_CPU_ISA=ALL in the environment of compare.py lets it.
ENVIRONMENTS = {OPENVINO: {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_FP16"}}
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
OPENVINO_OPTIONS = (
    *("--task", "text-generation-with-past", "--disable-convert-tokenizer"),
    *("--weight-format", "int4", "--sym", "--ratio", "1.0", "--all-layers"),
    *("--group-size", "128", "--group-size-fallback", "adjust"),  # 64 where the rows are no multiple of 128
)
ONNX_OPTIONS = ("accuracy_level=4", "block_size=32", "prune_lm_head=true", "op_types_to_quantize=MatMul/Gather")


@dataclass(frozen=True)
class Engine:
    """One that takes part, and the interpreter that has it."""

    name: str
    python: str

    @property
    def script(self) -> Path:
        return HERE / SCRIPTS[self.name]

    @property
    def environment(self) -> dict[str, str]:
        """For the worker; what the user has set goes first."""
        return ENVIRONMENTS.get(self.name, {}) | os.environ

    def model_for(self, gguf: Path, cache: Path, quant: str) -> Path:
        """The file or directory that the worker is given; `quant` is our own."""
        if self.name == LLAMA_CPP:
            return gguf
        if self.name == OURS:
            source = gguf if quant == "keep" else models_on_disk.checkpoint_for(gguf, cache)
            return models_on_disk.package_for(source, cache, quant)
        checkpoint = models_on_disk.checkpoint_for(gguf, cache)
        export = export_openvino if self.name == OPENVINO else export_onnx
        path = cache / self.name / gguf.stem.lower()
        return models_on_disk.cached(path, lambda target: export(self.python, checkpoint, target), source=checkpoint)


def parse_peer(text: str, names: Collection[str] = PEERS) -> Engine:
    """NAME=PYTHON, as on the command line."""
    name, _, python = text.partition("=")
    path = shutil.which(os.path.expanduser(python))
    if name not in names or path is None:
        raise ArgumentTypeError(f"{text!r} is not NAME=PYTHON with one of {', '.join(names)} and an interpreter")
    return Engine(name, path)


def ours() -> Engine:
    return Engine(OURS, sys.executable)


def export_openvino(python: str, checkpoint: Path, target: Path) -> None:
    command = [python, "-m", "optimum.commands.optimum_cli", "export", "openvino"]
    _run_exporter([*command, "--model", str(checkpoint), *OPENVINO_OPTIONS, str(target)], target)


def export_onnx(python: str, checkpoint: Path, target: Path) -> None:
    command = [python, "-m", "onnxruntime_genai.models.builder", "-i", str(checkpoint), "-o", str(target)]
    cache = target.with_name(".builder-cache")
    _run_exporter([*command, "-p", "int4", "-e", "cpu", "-c", str(cache), "--extra_options", *ONNX_OPTIONS], target)
    shutil.rmtree(cache, ignore_errors=True)


def _run_exporter(command: list[str], target: Path) -> None:
    """Its output goes to a file beside the target: exporters write pages of it."""
    shutil.rmtree(target, ignore_errors=True)
    log = target.with_name(f"{target.name}.log")
    with log.open("w") as stream:
        code = subprocess.run(
            command, stdout=stream, stderr=stream, env={**os.environ, **OFFLINE}, check=False
        ).returncode
    if code != 0:
        raise SystemExit(f"{command[2]} failed with code {code}; its output is in {log}")
