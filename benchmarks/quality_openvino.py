"""OpenVINO's four bits for quantisation_quality.py: groups of 128, symmetric or not, made in the peer's environment.

Without calibration as `optimum-cli export openvino --weight-format int4` makes them, with int8 embeddings or
(--all-layers) four bits there too. With calibration by NNCF's scale estimation and GPTQ on the same windows as
pocketseek; not AWQ, which moves factors between layers, so that matrices cannot be compared one by one. Weights are
dequantised out of the exported constants; the figures "as run" are of OpenVINO's own CPU plugin.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from quality_measure import Candidate, Floats, ReplacedWeights, StoredLogits, checkpoint_name, matrix_shapes

from pocketseek.convert.checkpoint_weights import CheckpointWeights
from pocketseek.convert.families.base import ModelPlan

_WORKER = Path(__file__).with_name("peer_openvino_weights.py")
_TASK = ("--task", "text-generation-with-past")
_GROUPS = ("--weight-format", "int4", "--ratio", "1.0", "--group-size", "128", "--group-size-fallback", "adjust")


class OpenVino:
    """python: of an environment with optimum-intel, nncf and openvino."""

    def __init__(self, python: str, checkpoint: Path, folder: Path, threads: int) -> None:
        self._python = python
        self._checkpoint = checkpoint
        self._folder = folder
        self._threads = threads

    def candidates(
        self,
        source: CheckpointWeights,
        plan: ModelPlan,
        windows: npt.NDArray[np.int32],
        calibration: npt.NDArray[np.int32],
    ) -> Iterator[Candidate]:
        """windows: to give logits of. calibration: to compress with."""
        np.save(self._folder / "windows.npy", windows)
        np.save(self._folder / "calibration.npy", calibration)
        full = self._folder / "ov-full"
        self._export(full, "--weight-format", "fp32")
        for mode in ("sym", "asym"):
            for all_layers in ((), ("--all-layers",)):
                name = f"int4 {mode} g128{', all layers' if all_layers else ''}"
                rounded, calibrated = self._folder / "ov-int4", self._folder / "ov-calibrated"
                self._export(rounded, *_GROUPS, *(["--sym"] if mode == "sym" else []), *all_layers)
                yield self._candidate(rounded, name, "", source, plan)
                self._work("compress", full, calibrated, "calibration.npy", "--mode", mode, *all_layers)
                yield self._candidate(calibrated, name, "scale estimation, GPTQ", source, plan)

    def _candidate(
        self, model: Path, name: str, calibration: str, source: CheckpointWeights, plan: ModelPlan
    ) -> Candidate:
        out = self._folder / "ov-read"
        self._work("read", model, out, "windows.npy", "--threads", str(self._threads))
        stored = np.load(out / "matrices.npz")
        matrices: dict[str, Floats] = {
            canonical: stored[checkpoint_name(canonical, plan.model)]
            for canonical in matrix_shapes(plan)
            if checkpoint_name(canonical, plan.model) in stored
        }
        weights = ReplacedWeights(source, plan, matrices)
        num_bytes = int(stored["num_bytes"])
        return Candidate("OpenVINO", name, calibration, num_bytes, weights, StoredLogits(out / "logits.npy"))

    def _export(self, out: Path, *options: str) -> None:
        program = Path(self._python).with_name("optimum-cli")
        self._run([str(program), "export", "openvino", "--model", str(self._checkpoint), *_TASK, *options, str(out)])

    def _work(self, task: str, model: Path, out: Path, windows: str, *options: str) -> None:
        command = [self._python, str(_WORKER), task, str(model), str(out)]
        self._run([*command, "--windows", str(self._folder / windows), *options])

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
