"""Train an adapter on a real book, with pocketseek and with PEFT: what it does to such text, to others, and its cost.

    python benchmarks/adapt_train.py PACKAGE [--packages FOLDER_WITH_DEB_FILES] [--steps 24] [--threads 2]

The book is the Debian Policy Manual (package debian-policy, fetched with apt-get unless it lies in --packages): learnt
from are windows of its first nine tenths, held out is the last tenth. Other texts: the Debian FAQ (English of another
kind), and Python's own library (code). Both trainers get the same token windows in the same batches, the same rank,
rate and schedule, and begin with the same adapter; pocketseek's weights are those of the package, PEFT's the same
values written as a checkpoint (float16, computed with in float32). Each runs in a process of its own; peak memory is
VmHWM. Needs torch, accelerate, transformers and peft. Ends in a JSON line.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import debian_texts
import dequantised_checkpoint
import numpy as np

from pocketseek.adapt.data_tokens import TokenSequence
from pocketseek.adapt.train import opened_run
from pocketseek.adapt.train_batches import indices_of_step
from pocketseek.adapt.train_settings import TrainSettings, learning_rate
from pocketseek.adapt.train_tensors import initial_tensors
from pocketseek.device.memory import process_memory
from pocketseek.package.reader import Package
from pocketseek.text.settings_file import parse_text_settings
from pocketseek.text.tokenizer import Tokenizer

WINDOW = 256
NUM_CHECKED = 10  # windows of each kind that are scored
RATE, RANK, BATCH = 5e-4, 16, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=int, help="bytes for pocketseek; default: what is free")
    parser.add_argument("--worker", choices=["pocketseek", "peft"])
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--only", choices=["pocketseek", "peft"])
    parser.add_argument("--stop-after", type=int, help="steps, of the same schedule; then nothing is judged")
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(WORKERS[arguments.worker](arguments)))
        return
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        np.savez(scratch / "windows.npz", **windows_of(arguments.package, texts(arguments.packages)))
        names = [arguments.only] if arguments.only else ["pocketseek", "peft"]
        results = {name: run_worker(name, arguments, scratch) for name in names}
    for name, found in results.items():
        print(f"{name}: {found['seconds']:.0f} s, peak {found['peak_rss_bytes'] / 1e6:.0f} MB")
        for kind in found["before"]:
            print(f"    {kind:<9} perplexity {found['before'][kind]:.3f} -> {found['after'][kind]:.3f}")
    print(json.dumps({"steps": arguments.steps, "tokens": arguments.steps * BATCH * (WINDOW - 1), **results}))


def texts(packages: Path | None) -> dict[str, str]:
    with TemporaryDirectory() as folder:
        policy = _book("debian-policy", "usr/share/doc/debian-policy/policy.html/*.html", packages, Path(folder))
        faq = _book("debian-faq", "usr/share/doc/debian/FAQ/*.en.html", packages, Path(folder))
    library = Path(json.__file__).parent.parent
    code = "\n".join((library / name).read_text("utf-8") for name in ("argparse.py", "tarfile.py", "typing.py"))
    cut = len(policy) * 9 // 10
    return {"train": policy[:cut], "held-out": policy[cut:], "faq": faq, "code": code}


def _book(name: str, pattern: str, packages: Path | None, scratch: Path) -> str:
    root = debian_texts._unpacked(name, packages, scratch)
    pages = [debian_texts._text_of(path) for path in sorted(root.glob(pattern))]
    if not pages:
        raise SystemExit(f"{name} has no {pattern}")
    return "\n\n".join(debian_texts._distinct(pages))


def windows_of(package_dir: Path, found: Mapping[str, str]) -> dict[str, np.ndarray]:
    with Package.open(package_dir) as package:
        settings = parse_text_settings(package.file("text.json"))
        tokenizer = Tokenizer.from_json(package.file("tokenizer.json"), settings)
    windows = {}
    for kind, text in found.items():
        ids = np.array(tokenizer.encode(text), np.int32)
        rows = ids[: len(ids) // WINDOW * WINDOW].reshape(-1, WINDOW)
        step = max(1, len(rows) // NUM_CHECKED)
        windows[kind] = rows if kind == "train" else rows[::step][:NUM_CHECKED]
        print(f"{kind}: {len(ids)} tokens, {len(windows[kind])} windows", file=sys.stderr)
    return windows


def run_worker(name: str, arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    if name == "peft":
        dequantised_checkpoint.write_package_checkpoint(arguments.package, scratch / "checkpoint")
    command = [sys.executable, __file__, str(arguments.package), "--worker", name, "--scratch", str(scratch)]
    command += ["--steps", str(arguments.steps), "--threads", str(arguments.threads)]
    command += ["--stop-after", str(arguments.stop_after)] if arguments.stop_after else []
    command += ["--memory", str(arguments.memory)] if arguments.memory else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def settings_of(arguments: argparse.Namespace) -> TrainSettings:
    return TrainSettings(
        rank=RANK,
        steps=arguments.steps,
        learning_rate=RATE,
        batch=BATCH,
        context=WINDOW,
        num_threads=arguments.threads,
        memory_bytes=arguments.memory,
    )


def pocketseek_worker(arguments: argparse.Namespace) -> dict[str, Any]:
    windows, settings = _loaded(arguments), settings_of(arguments)
    with Package.open(arguments.package) as package, opened_run(package, windows["train"], settings) as opened:
        run = opened.run
        judged = {kind: rows for kind, rows in windows.items() if kind != "train" and not arguments.stop_after}
        before = {kind: run.validate(rows).perplexity for kind, rows in judged.items()}
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        while not run.is_done and run.steps_done != arguments.stop_after:
            report = run.step()
            print(f"step {report.step}: {report.loss:.4f}", file=sys.stderr, flush=True)
        seconds, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
        after = {kind: run.validate(rows).perplexity for kind, rows in judged.items()}
        planned = dataclasses.asdict(opened.memory)
        return _result(before, after, seconds, cpu_s, run.losses) | {"planned": planned}


def peft_worker(arguments: argparse.Namespace) -> dict[str, Any]:
    import torch
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(arguments.threads)
    windows, settings = _loaded(arguments), settings_of(arguments)
    base = AutoModelForCausalLM.from_pretrained(arguments.scratch / "checkpoint", dtype=torch.float32)
    base.gradient_checkpointing_enable()
    base.enable_input_require_grads()
    config = LoraConfig(
        r=RANK, lora_alpha=settings.scaled_alpha, target_modules=list(settings.targets), task_type="CAUSAL_LM"
    )
    model: Any = get_peft_model(base, config)
    with Package.open(arguments.package) as package:
        start = initial_tensors(package.manifest.model, RANK, settings.targets, settings.seed)
    set_peft_model_state_dict(model, {name: torch.from_numpy(values) for name, values in start.items()})
    parameters = [one for one in model.parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=0.0, weight_decay=settings.weight_decay)

    def score(rows: Sequence[TokenSequence]) -> float:
        with torch.no_grad():
            losses = [model(input_ids=one, labels=one).loss.item() for one in map(_tensor, rows)]
        return float(np.exp(np.mean(losses)))

    model.eval()
    judged = {kind: rows for kind, rows in windows.items() if kind != "train" and not arguments.stop_after}
    before = {kind: score(rows) for kind, rows in judged.items()}
    model.train()
    losses = []
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    for step in range(min(settings.num_steps(0), arguments.stop_after or settings.num_steps(0))):
        chosen = indices_of_step(len(windows["train"]), BATCH, settings.seed, step)
        ids = torch.cat([_tensor(windows["train"][index]) for index in chosen])
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
        optimiser.param_groups[0]["lr"] = learning_rate(settings, step, settings.num_steps(0))
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
        print(f"step {step + 1}: {losses[-1]:.4f}", file=sys.stderr, flush=True)
    seconds, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
    model.eval()
    after = {kind: score(rows) for kind, rows in judged.items()}
    return _result(before, after, seconds, cpu_s, losses)


def _loaded(arguments: argparse.Namespace) -> dict[str, list[TokenSequence]]:
    wanted = np.ones(WINDOW, np.bool_)
    wanted[0] = False
    with np.load(arguments.scratch / "windows.npz") as file:
        return {kind: [TokenSequence(row, wanted) for row in file[kind]] for kind in file.files}


def _tensor(sequence: TokenSequence) -> Any:
    import torch

    return torch.from_numpy(sequence.ids.astype(np.int64))[None]


def _result(
    before: Mapping[str, float], after: Mapping[str, float], seconds: float, cpu_s: float, losses: Sequence[float]
) -> dict[str, Any]:
    return {
        "before": dict(before),
        "after": dict(after),
        "seconds": seconds,
        "cpu_seconds": cpu_s,
        "peak_rss_bytes": process_memory().peak_rss_bytes,
        "losses": list(losses),
    }


WORKERS = {"pocketseek": pocketseek_worker, "peft": peft_worker}

if __name__ == "__main__":
    main()
