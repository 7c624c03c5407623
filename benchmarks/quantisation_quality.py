"""How much do four bits lose? Ours, llama.cpp's and OpenVINO's, with and without calibration, from the same weights.

    python benchmarks/quantisation_quality.py CHECKPOINT TEXTS OUT.json --peer-python PATH --openvino-python PATH
    python benchmarks/quality_table.py OUT.json --plot docs/images/quality.svg

CHECKPOINT: a Hugging Face folder of a llama with byte-level BPE and float16 weights, as train_small_llama.py writes
it. TEXTS: the folder of debian_texts.py; calibration-*.txt are for quantising, heldout-*.txt for the figures. The peers
are optional: --peer-python has llama-cpp-python, whose quantiser makes Q4_0 and Q4_K_M; --openvino-python has
optimum-intel, nncf and openvino. All who calibrate do it on the same windows. Needs the library gguf.

Every row has the bytes of all matrices, embedding, head and scales included, and for each kind of text and for all
together KL divergence from the source, agreement on the likeliest token and perplexity: of the weights alone, in
float32 (the same arithmetic for all makers), and as run (ours and GGUF by our kernels, OpenVINO by its own). OUT.json
is written anew after each row. Prints a line for each row, and in the end one JSON line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from quality_llama_cpp import llama_cpp_candidates, q4s_candidates
from quality_measure import Candidate, Yardstick
from quality_openvino import OpenVino

from pocketseek.convert.calibration_text import calibration_windows
from pocketseek.convert.checkpoint_weights import CheckpointWeights
from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.held_out import HeldOutText, held_out_texts
from pocketseek.convert.package_weights import PackageWeights
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.sources.open import open_source
from pocketseek.convert.unseen import check_unseen
from pocketseek.package.manifest import read_manifest
from pocketseek.package.reader import Package
from pocketseek.runtime.window_logits import WindowLogits
from pocketseek.text.tokenizer import Tokenizer

KINDS = ("en", "zh", "code")
# (name, options of convert_checkpoint, is calibrated)
OWN: tuple[tuple[str, dict[str, Any], bool], ...] = (
    ("f16", {"quant": "keep"}, False),
    ("q8", {"quant": "q8"}, False),
    ("q4", {"quant": "q4"}, False),
    ("q4", {"quant": "q4"}, True),
    ("q4-pure", {"quant": "q4-pure"}, False),
    ("q4-pure", {"quant": "q4-pure"}, True),
    ("--bits 4.5", {"bits": 4.5}, True),
    ("--bits 5", {"bits": 5.0}, True),
)


@dataclass(frozen=True)
class Texts:
    """calibration: whole texts and the windows that are used of them."""

    calibration: list[str]
    calibration_windows: npt.NDArray[np.int32]
    held_out: list[HeldOutText]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--peer-python")
    parser.add_argument("--openvino-python")
    parser.add_argument("--window", type=int, default=256, help="tokens; what the model was trained with")
    parser.add_argument("--tokens", type=int, default=8192, help="of each held-out text")
    parser.add_argument("--threads", type=int, default=2, help="of OpenVINO")
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        reference = convert_checkpoint(arguments.checkpoint, folder / "f16", quant="keep")
        source = stack.enter_context(closing(open_source(arguments.checkpoint)))
        plan = choose_planner(source)(source)
        texts = read_texts(arguments.texts, reference, arguments.window, arguments.tokens, plan.model.context_length)
        weights = CheckpointWeights(source, plan)
        yardstick = Yardstick(weights, plan, reference, texts.held_out)

        def candidates() -> Iterator[Candidate]:
            yield from own_candidates(arguments.checkpoint, folder, texts)
            yield from q4s_candidates(arguments.checkpoint, folder)
            if peer := arguments.peer_python:
                yield from llama_cpp_candidates(arguments.checkpoint, folder, texts.calibration_windows, peer)
            if peer := arguments.openvino_python:
                openvino = OpenVino(peer, arguments.checkpoint, folder, arguments.threads)
                yield from openvino.candidates(weights, plan, yardstick.windows, texts.calibration_windows)

        results = {"benchmark": "quantisation_quality", "num_weights": yardstick.num_weights, **described(texts)}
        results["rows"] = rows = []
        for candidate in candidates():
            rows.append(yardstick.row(candidate))
            arguments.out.write_text(json.dumps(results, indent=1))
            print_row(rows[-1])
    print(json.dumps(results))


def own_candidates(checkpoint: Path, folder: Path, texts: Texts) -> Iterator[Candidate]:
    window = texts.held_out[0].windows.shape[1]
    for name, options, is_calibrated in OWN:
        calibration = texts.calibration if is_calibrated else ()
        path = convert_checkpoint(checkpoint, folder / "own", calibration=calibration, **options)
        with closing(Package.open(path)) as package, closing(WindowLogits(path, window=window)) as logits:
            how = "GPTQ" if is_calibrated else ""
            yield Candidate("pocketseek", name, how, matrix_bytes(path), PackageWeights(package), logits)


def matrix_bytes(package: Path) -> int:
    matrices = [tensor for tensor in read_manifest(package).tensors if len(tensor.shape) == 2]
    return sum(extent.num_bytes for tensor in matrices for extent in tensor.extents)


def read_texts(folder: Path, reference: Path, window: int, tokens: int, context_length: int) -> Texts:
    calibration = [(folder / f"calibration-{kind}.txt").read_text("utf-8") for kind in KINDS]
    held_out = {kind: (folder / f"heldout-{kind}.txt").read_text("utf-8") for kind in KINDS}
    check_unseen(held_out, calibration)
    with closing(WindowLogits(reference, window=1)) as opened:
        tokenizer: Tokenizer = opened.tokenizer
    return Texts(
        calibration,
        calibration_windows(calibration, tokenizer, context_length=context_length),
        held_out_texts(held_out, tokenizer, context_length=window, max_tokens=tokens),
    )


def described(texts: Texts) -> dict[str, Any]:
    return {
        "window": int(texts.held_out[0].windows.shape[1]),
        "tokens": {text.kind: int(text.windows.size) for text in texts.held_out},
        "calibration_tokens": int(texts.calibration_windows.size),
    }


def print_row(row: dict[str, Any]) -> None:
    shown: Sequence[str] = [
        f"{kind}: KL {one['mean_kl']:.5f} same {100 * one['top1_agreement']:.1f} % ppl {one['perplexity']:.2f}"
        for kind, one in row["weights"]["kinds"].items()
    ]
    name = " ".join(part for part in (row["maker"], row["name"], row["calibration"]) if part)
    print(
        f"{name:<60} {row['bits']:5.2f} bits  {' | '.join(shown)} | as run {row['as_run']['mean_kl']:.5f}", flush=True
    )


if __name__ == "__main__":
    main()
