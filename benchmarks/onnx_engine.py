"""Our engine on ONNX Runtime next to onnxruntime-genai: the same model, machine and number of threads, in turn.

    python benchmarks/onnx_engine.py --peer-python PYTHON --model FOLDER [--own EXPORT] [--threads 2] [--rounds 5]

FOLDER was made by onnxruntime-genai's builder, so that both can run it; EXPORT (by `pocketseek export`) is a third,
if it is given. PYTHON has onnxruntime-genai. Every measurement is a process of its own: it opens the model (load_s,
until it can be asked), reads a prompt of made-up tokens (prefill), writes tokens greedily (decode, the first one
excepted), and says how much anonymous memory it took at the end and at most, interpreter included. One round runs each
once, the order turning; medians and their ratios to genai's are reported. Prepared copies are made before, in a data
directory that is kept (--home) or thrown away.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

MARK = "measured "
SHOWN = ("load_s", "prefill_tokens_per_s", "decode_tokens_per_s", "anonymous_mb", "peak_anonymous_mb")

GENAI = """
import json, sys, threading, time
import numpy as np
import onnxruntime_genai as genai
folder, threads, prompt_tokens, new_tokens = sys.argv[1], *map(int, sys.argv[2:5])
def anonymous_mb():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1000 for line in file if line.startswith("RssAnon"))
peak, done = [0.0], threading.Event()
def watch():
    while not done.wait(0.02):
        peak[0] = max(peak[0], anonymous_mb())
threading.Thread(target=watch, daemon=True).start()
start_s = time.perf_counter()
config = genai.Config(folder)
config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
model = genai.Model(config)
params = genai.GeneratorParams(model)
params.set_search_options(max_length=prompt_tokens + new_tokens + 1, do_sample=False)
load_s = time.perf_counter() - start_s
def run():
    generator = genai.Generator(model, params)
    ids = np.random.default_rng(0).integers(3, 250, prompt_tokens, dtype=np.int32)
    begun_s = time.perf_counter()
    generator.append_tokens(ids)
    generator.generate_next_token()
    first_s = time.perf_counter()
    for _ in range(new_tokens - 1):
        generator.generate_next_token()
    return first_s - begun_s, (time.perf_counter() - first_s) / (new_tokens - 1)
run()
first_s, token_s = run()
done.set()
print("measured " + json.dumps({"load_s": load_s, "prefill_tokens_per_s": prompt_tokens / first_s,
      "decode_tokens_per_s": 1 / token_s, "anonymous_mb": anonymous_mb(), "peak_anonymous_mb": peak[0]}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--own", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--measure-ours", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure_ours:
        print(MARK + json.dumps(measure_ours(arguments)))
        return
    if not arguments.peer_python:
        parser.error("--peer-python is needed")
    with tempfile.TemporaryDirectory() as temporary:
        compare(arguments, arguments.home or Path(temporary))


def measure_ours(arguments: argparse.Namespace) -> dict[str, float]:
    import numpy as np

    from pocketseek.runtime.load import load
    from pocketseek.types import Request, SamplingParams

    prompt_tokens, new_tokens = arguments.prompt_tokens, arguments.new_tokens
    peak_mb, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak_mb[0] = max(peak_mb[0], anonymous_mb())

    threading.Thread(target=watch, daemon=True).start()
    start_s = time.perf_counter()
    with load(arguments.model, num_threads=arguments.threads, prefix_cache=False, speculation=False) as engine:
        load_s = time.perf_counter() - start_s
        ids = tuple(np.random.default_rng(0).integers(3, 250, prompt_tokens).tolist())
        for _ in range(2):
            begun_s = time.perf_counter()
            stream = engine.stream(Request(ids, new_tokens, SamplingParams(temperature=0.0), logprobs=False))
            next(stream)
            first_s = time.perf_counter()
            num_more = sum(event.token_id is not None for event in stream)
            ended_s = time.perf_counter()
        done.set()
        return {
            "load_s": load_s,
            "prefill_tokens_per_s": prompt_tokens / (first_s - begun_s),
            "decode_tokens_per_s": num_more / (ended_s - first_s),
            "anonymous_mb": anonymous_mb(),
            "peak_anonymous_mb": peak_mb[0],
        }


def anonymous_mb() -> float:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1000 for line in file if line.startswith("RssAnon"))


def compare(arguments: argparse.Namespace, home: Path) -> None:
    figures = [str(number) for number in (arguments.threads, arguments.prompt_tokens, arguments.new_tokens)]
    sides = {
        "genai": [arguments.peer_python, "-c", GENAI, str(arguments.model), *figures],
        "ours": ours(arguments, arguments.model),
    }
    if arguments.own:
        sides["ours, own export"] = ours(arguments, arguments.own)
    environment = {**os.environ, "POCKETSEEK_HOME": str(home), "POCKETSEEK_TEMPERATURE_LIMIT": "off"}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for name, command in sides.items():
        if name != "genai":
            run(command, environment)  # makes the prepared copy
    for number in range(arguments.rounds):
        names = list(sides)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            found[name].append(run(sides[name], environment))
            print(f"round {number + 1}: {name}: {found[name][-1]}", file=sys.stderr)
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in SHOWN} for name, runs in found.items()
    }
    print_table(medians)
    print(json.dumps({"threads": arguments.threads, "rounds": arguments.rounds, "medians": medians, "runs": found}))


def ours(arguments: argparse.Namespace, model: Path) -> list[str]:
    command = [sys.executable, __file__, "--measure-ours", "--model", str(model), "--threads", str(arguments.threads)]
    return [*command, "--prompt-tokens", str(arguments.prompt_tokens), "--new-tokens", str(arguments.new_tokens)]


def run(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith(MARK)), None)
    if line is None:
        sys.exit(done.stderr[-2000:] or "nothing was measured")
    measured: dict[str, float] = json.loads(line.removeprefix(MARK))
    return measured


def print_table(medians: dict[str, dict[str, float]]) -> None:
    print(f"{'':24}" + "".join(f"{name:>20}" for name in medians))
    for key in SHOWN:
        values = [medians[name][key] for name in medians]
        ratios = ["" if number == 0 else f" ({value / values[0]:.2f}x)" for number, value in enumerate(values)]
        cells = [f"{value:.2f}{ratio}" for value, ratio in zip(values, ratios, strict=True)]
        print(f"{key:24}" + "".join(f"{cell:>20}" for cell in cells))


if __name__ == "__main__":
    main()
