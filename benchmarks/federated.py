"""Ten devices with a Debian package's documentation each learn together; and against what each learns alone.

    python benchmarks/federated.py FOLDER [--packages FOLDER_WITH_DEB_FILES] [--only together,alone,noise,many]

Needs the environment of `pocketseek adapt federate setup` (or POCKETSEEK_FEDERATED_PYTHON), torch and transformers
here, and `apt-get download` unless the packages are there. FOLDER keeps what was prepared. In this order:

prepare   texts of ten packages, for each a part to learn from and another, held out; and a very small llama
          (0.3 M weights) that was trained on two other packages for a minute or so and converted to q8
together  `adapt federate simulate`, open (FedAvg), and again under secure aggregation
alone     each device's own adapter with as many steps, measured on the pooled held-out text of all
noise     the same federation with noise, and its epsilon
many      120 devices of a few sentences each, in the open and under secure aggregation: do they finish, how long

Prints a line for each and ends in one JSON line.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import debian_texts

from pocketseek.adapt.data_file import read_data
from pocketseek.adapt.train import opened_run, tokens_of, train_adapter
from pocketseek.adapt.train_settings import TrainSettings
from pocketseek.adapt.train_tensors import AdapterTensors, initial_tensors
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.package.manifest import read_manifest
from pocketseek.package.reader import Package

DEVICES = {
    "harden-doc": "usr/share/doc/harden-doc/html/en*/*.html",
    "aptitude-doc-en": "usr/share/doc/aptitude/html/en/*.html",
    "bash-doc": "usr/share/doc/bash/bashref.html",
    "debian-faq": "usr/share/doc/debian/FAQ/*.en.html",
    "debian-handbook": "usr/share/doc/debian-handbook/html/en-US/*.html",
    "debian-policy": "usr/share/doc/debian-policy/*.html/**/*.html",
    "debian-reference-en": "usr/share/debian-reference/*.en.html",
    "developers-reference": "usr/share/developers-reference/*.html",
    "dict-jargon": "**/*.dict.dz",
    "maint-guide": "usr/share/doc/maint-guide/html/*.en.html",
}
PRETRAINING = {"gnome-user-docs": "usr/share/help/C/**/*.page", "dict-foldoc": "**/*.dict.dz"}
LEARNT_CHARS, HELD_OUT_CHARS, SKIPPED_CHARS = 24_000, 6_000, 4_000
PRETRAINING_CHARS = 2_000_000
ROUNDS, STEPS, RATE, BATCH, CONTEXT, RANK = 6, 15, 3e-3, 4, 128, 8
CLIP_NORM = 2.0
SMALL = {
    "vocab_size": 2048,
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
MODEL = "small"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--pretraining-tokens", type=int, default=800_000)
    parser.add_argument("--only", default="together,alone,noise,many")
    arguments = parser.parse_args()
    only = arguments.only.split(",")
    work = Work(arguments.folder.absolute())
    work.prepare(arguments.packages, arguments.pretraining_tokens)
    found: dict[str, object] = {"base_perplexity": work.measure(None)}
    print(f"base model: {found['base_perplexity']:.2f} on the pooled held-out text", flush=True)
    if "together" in only:
        found["open"] = work.together("open", "--open")
        found["secure"] = work.together("secure", "--secure")
    if "alone" in only:
        found["alone"] = work.alone()
    if "noise" in only:
        for noise in (0.1, 0.3, 1.0):
            found[f"noise {noise}"] = work.together(f"noise-{noise}", "--secure", "--noise", str(noise))
    if "many" in only:
        found["120 open"] = work.many("--open")
        found["120 secure"] = work.many("--secure")
    print(json.dumps(found))


class Work:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "devices"
        self.held_out = folder / "held-out.jsonl"
        self.home = folder / "home"
        self.package = self.home / "models" / MODEL

    def prepare(self, packages: Path | None, tokens: int) -> None:
        if not self.held_out.exists():
            self._texts(packages)
        if not self.package.exists():
            self._model(tokens)

    def _texts(self, packages: Path | None) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        held_out = []
        with TemporaryDirectory() as scratch:
            for name, pattern in DEVICES.items():
                text = _text(name, pattern, packages, Path(scratch))[SKIPPED_CHARS:]
                (self.data / f"{name}.txt").write_text(text[:LEARNT_CHARS], "utf-8")
                held_out.append(text[LEARNT_CHARS : LEARNT_CHARS + HELD_OUT_CHARS])
            texts = self.folder / "texts"
            texts.mkdir(exist_ok=True)
            for name, pattern in PRETRAINING.items():
                text = _text(name, pattern, packages, Path(scratch))[:PRETRAINING_CHARS]
                (texts / f"train-{name}.txt").write_text(text, "utf-8")
        self.held_out.write_text("".join(json.dumps({"text": one}) + "\n" for one in held_out), "utf-8")

    def _model(self, tokens: int) -> None:
        import train_small_llama
        from transformers import LlamaConfig

        train_small_llama.VOCAB_SIZE = SMALL["vocab_size"]
        train_small_llama.CONFIG = LlamaConfig(**{**train_small_llama.CONFIG.to_diff_dict(), **SMALL})
        out, texts = self.folder / "checkpoint", sorted((self.folder / "texts").glob("*.txt"))
        out.mkdir(exist_ok=True)
        tokenizer = train_small_llama.learn_tokenizer(texts, out)
        ids = train_small_llama.encoded(texts, tokenizer, out)
        steps = tokens // (train_small_llama.BATCH * train_small_llama.WINDOW)
        train_small_llama.train(ids, out, steps)
        convert_checkpoint(out, quant="q8", name=MODEL, models_dir=self.home / "models")

    def together(self, name: str, *options: str) -> dict[str, object]:
        began_s = time.monotonic()
        told = self._simulate(name, self.data, ROUNDS, STEPS, CONTEXT, *options, "--validation", str(self.held_out))
        rounds = [one["perplexity"] for one in told["rounds"]]
        took_s = time.monotonic() - began_s
        privacy = told["privacy"]
        print(f"{name}: {' '.join(f'{one:.2f}' for one in rounds)} after rounds; {privacy}; {took_s:.0f} s", flush=True)
        return {"perplexity": rounds, "privacy": privacy, "seconds": round(took_s)}

    def many(self, how: str) -> dict[str, object]:
        data = self.folder / "many"
        data.mkdir(exist_ok=True)
        lines = [line for path in sorted(self.data.glob("*.txt")) for line in path.read_text("utf-8").splitlines()]
        lines = [line for line in lines if len(line) > 60]
        for number in range(120):
            mine = lines[number * 3 : number * 3 + 3]
            (data / f"{number:03}.jsonl").write_text("".join(json.dumps({"text": one}) + "\n" for one in mine), "utf-8")
        began_s = time.monotonic()
        options = ("--min-clients", "100", "--targets", "q_proj,v_proj")
        told = self._simulate("many", data, 2, 1, 32, how, *options)
        took_s = time.monotonic() - began_s
        learnt = [one["num_learnt"] for one in told["rounds"]]
        print(f"120 devices, {how}: {learnt} in two rounds, {took_s:.0f} s", flush=True)
        return {"learnt": learnt, "seconds": round(took_s)}

    def _simulate(self, name: str, data: Path, rounds: int, steps: int, context: int, *options: str) -> dict:
        command = [sys.executable, "-m", "pocketseek", "adapt", "federate", "simulate", MODEL, "--data", str(data)]
        sizes = ["--rounds", rounds, "--local-steps", steps, "--batch", BATCH, "--context", context, "--rank", RANK]
        plan = [*sizes, "--lr", RATE, "--clip-norm", CLIP_NORM, "--name", name, "--fresh", "--json"]
        environment = {**os.environ, "POCKETSEEK_HOME": str(self.home)}
        ended = subprocess.run(
            [*command, *map(str, plan), *options], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return json.loads(ended.stdout)

    def alone(self) -> dict[str, object]:
        """As many steps as a device makes in the federation, at the same rate."""
        settings = TrainSettings(
            rank=RANK, steps=ROUNDS * STEPS, learning_rate=RATE, schedule="constant", warm_up=0.0, batch=BATCH,
            context=CONTEXT, num_threads=1,
        )  # fmt: skip
        found = {}
        for path in sorted(self.data.glob("*.txt")):
            tensors = train_adapter(self.package, read_data(path).examples, settings).tensors
            found[path.stem] = self.measure(tensors)
            print(f"alone {path.stem}: {found[path.stem]:.2f}", flush=True)
        mean = math.exp(sum(map(math.log, found.values())) / len(found))
        print(f"alone: best {min(found.values()):.2f}, mean {mean:.2f}", flush=True)
        return {"perplexity": found, "best": min(found.values()), "mean": mean}

    def measure(self, tensors: AdapterTensors | None) -> float:
        """Perplexity of the pooled held-out text; None: of the base model."""
        settings = TrainSettings(rank=RANK, steps=1, context=CONTEXT, num_threads=1)
        model = read_manifest(self.package).model
        start = tensors or initial_tensors(model, RANK, settings.targets, 0)
        with Package.open(self.package) as package:
            sequences = tokens_of(package, read_data(self.held_out).examples, settings).sequences
            with opened_run(package, sequences, settings, start=start) as opened:
                return opened.run.validate(sequences).perplexity


def _text(name: str, pattern: str, packages: Path | None, scratch: Path) -> str:
    root = debian_texts._unpacked(name, packages, scratch)
    pieces = [debian_texts._text_of(path) for path in sorted(root.glob(pattern)) if path.is_file()]
    text = "\n\n".join(debian_texts._distinct(pieces))
    if len(text) < SKIPPED_CHARS + LEARNT_CHARS + HELD_OUT_CHARS:
        raise SystemExit(f"{name} has only {len(text)} characters under {pattern}")
    return text


if __name__ == "__main__":
    main()
