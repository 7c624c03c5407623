"""What int8-static loses: exports with different options against the same weights in float16 with float32 activations.

    python benchmarks/static_loss.py CHECKPOINT TEXTS [--kilobytes 20] [--window 256] [--fused] [--only NAME ...]

CHECKPOINT: float16 safetensors (dequantised_checkpoint.py makes some of the demo model). TEXTS: the folder of
debian_texts.py; calibration-*.txt are for ranges, heldout-*.txt for the figures. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from onnx_stages import OnnxStages

from pocketseek.apps.compare_models import Comparison, compare_models
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.static_export import StaticOptions, export_static
from pocketseek.runtime.window_logits import WindowLogits

KINDS = ("en", "zh", "code")
VARIANTS = {
    "8 bits": StaticOptions(),
    "8 bits, nothing moved into weights": StaticOptions(share=0),
    "8 bits, percentile 99.99": StaticOptions(method="percentile"),
    "8 bits, entropy": StaticOptions(method="entropy"),
    "16 bits": StaticOptions(bits=16),
    "16 bits, half moved into weights": StaticOptions(bits=16, share=0.5),
    "weights only": StaticOptions(bits=0),
}
HEADING = f"{'':36} {'text':5} {'perplexity':>10} {'of f32':>8} {'mean KL':>8} {'p99 KL':>8} {'top-1':>7} {'at 16':>6}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--kilobytes", type=int, default=20, help="of each held-out text")
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--fused", action="store_true", help="as ONNX Runtime's CPU kernels compute it")
    parser.add_argument("--only", nargs="*", choices=sorted(VARIANTS), help="these rows of the table")
    arguments = parser.parse_args()
    calibration = [read_part(arguments.texts / f"calibration-{kind}.txt", 60) for kind in KINDS]
    heldout = {kind: read_part(arguments.texts / f"heldout-{kind}.txt", arguments.kilobytes) for kind in KINDS}
    results: dict[str, dict[str, object]] = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        reference = convert_checkpoint(arguments.checkpoint, folder / "reference", quant="keep")
        print(HEADING)
        for variant in arguments.only or VARIANTS:
            export = export_static(
                arguments.checkpoint, folder / "export", calibration=calibration, options=VARIANTS[variant]
            )
            stages = OnnxStages(export, fused=arguments.fused)
            results[variant] = {"halves_at_16": halves_at_16(stages)}
            for kind, text in heldout.items():
                found = compared(stages, reference, text, arguments.window)
                results[variant][kind] = asdict(found)
                print_row(variant, kind, found, halves_at_16(stages))
    print(json.dumps(results))


def compared(stages: OnnxStages, reference: Path, text: str, window: int) -> Comparison:
    ids = stages.tokenizer.encode(text)
    with closing(WindowLogits(reference, window=window)) as exact:
        return compare_models(stages, exact, ids, window=window)


def halves_at_16(stages: OnnxStages) -> str:
    bits = [half for layer in stages.description["static"]["layer_bits"] for half in layer]
    return f"{bits.count(16)}/{len(bits)}"


def print_row(variant: str, kind: str, found: Comparison, at_16: str) -> None:
    figures = f"{found.perplexity:10.3f} {found.reference_perplexity:8.3f} {found.mean_kl:8.4f} {found.p99_kl:8.3f}"
    print(f"{variant:36} {kind:5} {figures} {found.top1_agreement:7.2%} {at_16:>6}", flush=True)


def read_part(path: Path, kilobytes: int) -> str:
    """From behind the table of contents."""
    return path.read_bytes()[20_000 : 20_000 + kilobytes * 1000].decode("utf-8", "ignore")


if __name__ == "__main__":
    main()
