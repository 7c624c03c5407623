"""Distil a student of half the layers, and compare it with dropping layers alone and with learning from the text alone.

    python benchmarks/distill.py PACKAGE [--packages FOLDER_WITH_DEB_FILES] [--steps 30] [--layers 15] [--threads 2]

Texts as in adapt_train.py: learnt from are windows of the first nine tenths of the Debian Policy Manual, judged on its
last tenth. All students begin with the same layers; those that learn do so for the same number of steps from the same
tokens in the same order at the same rate: from the text, from what the teacher says of it, and from that with the
states between its layers (--match-layers of the command). --only leaves some out. Layers are written with
eight bits, embedding and head as the teacher has them; every model is judged as it is run (WindowLogits): divergence
from the teacher and perplexity. Needs torch and accelerate. Ends in a JSON line.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import adapt_train
import numpy as np

from pocketseek.adapt.distill import DistillJob, Phase, distill_student
from pocketseek.adapt.distill_package import write_student
from pocketseek.adapt.distill_plan import plan_student
from pocketseek.adapt.torch_student import student_start
from pocketseek.adapt.torch_weights import TorchWeights, to_numpy
from pocketseek.adapt.train_settings import TrainSettings
from pocketseek.device.memory import process_memory
from pocketseek.kernels.divergence import Comparison, Divergence
from pocketseek.package.reader import Package
from pocketseek.runtime.window_logits import WindowLogits

WINDOW, BATCH, RATE = 128, 4, 3e-4
NUM_CHECKED = 8  # windows
TRAIN_CHARACTERS = 70_000
STUDENTS = ("dropped", "text", "distilled", "matched")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--layers", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default=",".join(STUDENTS), help=", ".join(STUDENTS))
    arguments = parser.parse_args()
    texts = adapt_train.texts(arguments.packages)
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "train.txt").write_text(texts["train"][:TRAIN_CHARACTERS], "utf-8")
        checked = windows(arguments.package, texts["held-out"])
        results: dict[str, dict[str, float]] = {}
        for name in arguments.only.split(","):
            began_s = time.monotonic()
            make(name, arguments, scratch, scratch / "student")
            seconds = time.monotonic() - began_s
            found = judge(scratch / "student", arguments.package, checked, arguments.threads)
            results[name] = {**dataclasses.asdict(found), "seconds": seconds}
            print(
                f"{name:<10} KL {found.mean_kl:.3f} nats, perplexity {found.perplexity:.2f} (teacher "
                f"{found.reference_perplexity:.2f}), same token {100 * found.top1_agreement:.1f} %, {seconds:.0f} s",
                flush=True,
            )
    facts = {"steps": arguments.steps, "tokens_per_step": BATCH * WINDOW, "layers": arguments.layers}
    print(json.dumps({**facts, "peak_rss_bytes": process_memory().peak_rss_bytes, "students": results}))


def make(name: str, arguments: argparse.Namespace, scratch: Path, output: Path) -> None:
    form = f"layers={arguments.layers}"
    if name == "dropped":
        with Package.open(arguments.package) as package:
            plan = plan_student(form, package.manifest.model)
            tensors = {part: to_numpy(values) for part, values in student_start(plan, TorchWeights(package)).items()}
            write_student(output, package, plan, tensors, quant="q8", record={"steps": 0})
        return
    settings = TrainSettings(
        steps=arguments.steps, learning_rate=RATE, batch=BATCH, context=WINDOW, num_threads=arguments.threads
    )
    job = DistillJob(
        arguments.package,
        form,
        scratch / "train.txt",
        output,
        settings,
        "q8",
        learns_from="text" if name == "text" else "teacher",
        match_layers=name == "matched",
        checkpoint_every=10**6,
        validate_every=10**6,
        replace=True,
    )
    distill_student(job, teller=Teller())


class Teller:
    def progress(self, phase: Phase, done: int, total: int) -> None:
        print(f"{phase}: {done} of {total}", flush=True)

    def validated(self, step: int, num_steps: int, divergence: float) -> None:
        print(f"step {step}: {divergence:.3f} nats on what was set aside", flush=True)


def windows(package: Path, text: str) -> list[list[int]]:
    with closing(WindowLogits(package, window=WINDOW)) as model:
        ids = np.array(model.tokenizer.encode(text))
    rows = ids[: len(ids) // WINDOW * WINDOW].reshape(-1, WINDOW)
    step = max(1, len(rows) // NUM_CHECKED)
    return [row.tolist() for row in rows[::step][:NUM_CHECKED]]


def judge(student: Path, teacher: Path, checked: Sequence[Sequence[int]], threads: int) -> Comparison:
    found = Divergence()
    with (
        closing(WindowLogits(student, window=WINDOW, num_threads=threads)) as own,
        closing(WindowLogits(teacher, window=WINDOW, num_threads=threads)) as other,
    ):
        for ids in checked:
            first = 0
            for rows, reference in zip(own.run(ids), other.run(ids), strict=True):
                found.add(rows, reference, ids[first + 1 : first + 1 + len(rows)])
                first += len(rows)
    return found.comparison()


if __name__ == "__main__":
    main()
