"""PREDICTS, without running it, how many multiply-adds per cycle our inner loops reach on phone cores.

    python benchmarks/predict_cores.py --osaca-python ~/osaca/bin/python [--cores n1 v2 spr] [--rows 1 4 8]

The loops are those that the compiler makes of native/isa_*.cpp. OSACA (no dependency of ours, in an environment of its
own: `python3 -m venv ~/osaca && ~/osaca/bin/pip install osaca`) says how long a core's busiest port needs for one turn.
Neoverse N1 is nearly Cortex-A76 and A78, Neoverse V2 nearly Cortex-X3. The same is done for Sapphire Rapids, where the
kernels are also MEASURED (one thread, hot in cache, in cycles): how far measured and predicted are apart there is the
only evidence of what such a prediction is worth.

Not in the model: memory and caches, the front end (shown apart: what decoding alone allows), how far the core looks
ahead, mispredicted branches, heat. A loop with an instruction that neither OSACA nor core_forms.py knows gets no
figure. docs/benchmarks.md says how to read the table. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core_forms import CORES, Core, forms_of, per_cycle
from inner_loops import multiply_adds_of
from measured_loops import Measurement, can_measure, measure
from native_loops import Kernel, Source, kernels_of, output_of, sources

WORKER = Path(__file__).with_name("osaca_worker.py")
REMEDY = "python3 -m venv ~/osaca && ~/osaca/bin/pip install osaca, then pass --osaca-python ~/osaca/bin/python"


@dataclass(frozen=True)
class Prediction:
    """One loop on one core. Rates are multiply-adds per cycle, None where there is none to give."""

    core: str
    set_name: str
    kernel: str
    rows: int
    multiply_adds: int
    blocks_per_turn: float
    num_instructions: int
    num_branches: int
    port_cycles: float
    carried_cycles: float
    critical_path_cycles: float
    peak: float
    decode_limit: float
    predicted: float | None
    unknown: list[str]
    measured: float | None


def main() -> None:
    args = parse_arguments()
    check_osaca(args.osaca_python)
    cores = [core for core in CORES if core.arch in args.cores]
    used = [source for source in sources() if any(runs_on(source, core) for core in cores)]
    kernels = {source: choose_rows(kernels_of(compiler_for(source, args), source), args.rows) for source in used}
    wants_x86 = any(not core.is_arm for core in cores)
    measurement = measure(args.x86_compiler) if wants_x86 and can_measure() and not args.no_measure else None
    predictions = []
    for core in cores:
        for source in (source for source in used if runs_on(source, core)):
            say(f"predicting {len(kernels[source])} loops of {source.path.name} on {core.name}")
            predictions += predict(args.osaca_python, core, kernels[source], measurement)
        print_table(core, [p for p in predictions if p.core == core.arch])
    print_measurement(measurement)
    print(json.dumps(summary(args, measurement, predictions)))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--osaca-python", default=sys.executable, help="interpreter of an environment with osaca")
    parser.add_argument("--cores", nargs="+", choices=[c.arch for c in CORES], default=[c.arch for c in CORES])
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 4, 8], help="rows of a pass (default: 1 4 8)")
    parser.add_argument("--arm-compiler", default="aarch64-linux-gnu-g++", help="may have options of its own")
    parser.add_argument("--x86-compiler", default="g++")
    parser.add_argument("--no-measure", action="store_true", help="predict only")
    return parser.parse_args()


def check_osaca(python: str) -> None:
    probe = "import importlib.util; print(importlib.util.find_spec('osaca') is not None)"
    if output_of([python, "-c", probe]).strip() != "True":
        raise SystemExit(f"{python} has no osaca. {REMEDY}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def compiler_for(source: Source, args: argparse.Namespace) -> str:
    return str(args.arm_compiler if source.is_arm else args.x86_compiler)


def runs_on(source: Source, core: Core) -> bool:
    return source.is_arm == core.is_arm and (core.has_i8mm or not source.uses_i8mm)


def choose_rows(kernels: list[Kernel], wanted: list[int]) -> list[Kernel]:
    """For every wanted row count the loop that does it or the most rows below; of pair loops the largest."""
    groups: dict[tuple[str, bool], list[Kernel]] = {}
    for kernel in kernels:
        groups.setdefault((kernel.label, kernel.is_pair), []).append(kernel)
    chosen = []
    for (_, is_pair), group in groups.items():
        if is_pair:
            chosen.append(max(group, key=lambda kernel: (kernel.loop.multiply_adds, kernel.rows)))
            continue
        most_tiles = max(kernel.num_tiles for kernel in group)  # fewer are what a matrix has left at its end
        group = [kernel for kernel in group if kernel.num_tiles == most_tiles]
        counts = {max((kernel.rows for kernel in group if kernel.rows <= limit), default=0) for limit in wanted}
        chosen += [kernel for kernel in group if kernel.rows in counts]
    return sorted(chosen, key=lambda kernel: (kernel.label, kernel.rows))


def predict(python: str, core: Core, kernels: list[Kernel], measurement: Measurement | None) -> list[Prediction]:
    """Ask OSACA about every loop, in one process, since reading its database takes seconds."""
    loops = ["\n".join(kernel.loop.instructions) + "\n" for kernel in kernels]
    request = json.dumps({"arch": core.arch, "forms": forms_of(core.arch), "loops": loops})
    answers = [json.loads(line) for line in output_of([python, str(WORKER)], request).splitlines()]
    rates = measurement.rates if measurement and not core.is_arm else {}
    return [prediction_of(core, kernel, answer, rates) for kernel, answer in zip(kernels, answers, strict=True)]


def prediction_of(
    core: Core, kernel: Kernel, answer: dict[str, Any], rates: dict[tuple[str, str, int], float]
) -> Prediction:
    loop = kernel.loop
    cycles = max(answer["throughput"], answer["loop_carried"])
    complete = cycles > 0 and not answer["unknown"] and not answer["loop_carried_timed_out"]
    return Prediction(
        core=core.arch,
        set_name=kernel.set_name,
        kernel=kernel.label,
        rows=kernel.rows,
        multiply_adds=loop.multiply_adds,
        blocks_per_turn=kernel.blocks,
        num_instructions=len(loop.instructions),
        num_branches=loop.num_branches,
        port_cycles=answer["throughput"],
        carried_cycles=answer["loop_carried"],
        critical_path_cycles=answer["critical_path"],
        peak=max(multiply_adds_of(line) * per_cycle(core.arch, line) for line in loop.instructions),
        decode_limit=round(loop.multiply_adds * core.width / len(loop.instructions), 1),
        predicted=round(loop.multiply_adds / cycles, 1) if complete else None,
        unknown=sorted(set(answer["unknown"])) + ["(loop-carried analysis)"] * answer["loop_carried_timed_out"],
        measured=rates.get((kernel.set_name, kernel.label, 0 if kernel.is_pair else kernel.rows)),
    )


def print_table(core: Core, predictions: list[Prediction]) -> None:
    print(f"\nPREDICTION for {core.name} ({core.near}), multiply-adds per cycle; cycles of one turn of the loop")
    columns = f"{'set':<13}{'kernel':<10}{'rows':>4}{'instr.':>7}{'ports':>7}{'carried':>8}{'PREDICTED':>11}"
    print(f"{columns}{'of peak':>8}{'decode':>8}" + ("" if core.is_arm else f"{'MEASURED':>10}{'meas./pred.':>12}"))
    for p in predictions:
        print(row_of(p).rstrip())
    for title, lines in notes_of(predictions):
        if lines:
            print(f"{title}: {'; '.join(lines)}")


def row_of(p: Prediction) -> str:
    loop = f"{p.set_name:<13}{p.kernel:<10}{p.rows or '?':>4}{p.num_instructions:>7}"
    cycles = f"{p.port_cycles:>7.1f}{p.carried_cycles:>8.1f}"
    figure = f"{p.predicted:>11.1f}{p.predicted / p.peak:>8.0%}" if p.predicted else f"{'incomplete':>11}{'':>8}"
    measured = f"{p.measured:>10.1f}" if p.measured else ""
    quotient = f"{p.measured / p.predicted:>12.2f}" if p.measured and p.predicted else ""
    return f"{loop}{cycles}{figure}{p.decode_limit:>8.1f}{measured}{quotient}"


def notes_of(predictions: list[Prediction]) -> list[tuple[str, list[str]]]:
    """What to distrust: no data, code that is jumped over, multiply-adds that are no whole number of blocks."""

    def names(chosen: list[Prediction]) -> list[str]:
        return [f"{p.set_name} {p.kernel} {p.rows}" for p in chosen]

    unknown = sorted({instruction for p in predictions for instruction in p.unknown})
    odd = [p for p in predictions if p.rows and p.blocks_per_turn % 1]
    return [
        ("INCOMPLETE, no data (add them to benchmarks/core_forms.py)", unknown),
        ("jumps inside the loop, taken as straight code", names([p for p in predictions if p.num_branches > 1])),
        ("no whole number of blocks per turn (padded rows or part of a block)", names(odd)),
    ]


def print_measurement(measurement: Measurement | None) -> None:
    if measurement:
        peaks = ", ".join(f"{name} {rate:.1f}" for name, rate in measurement.peaks.items())
        print(f"\nMEASURED on {measurement.processor} at about {measurement.ghz:.1f} GHz, in cycles of that clock.")
        print(f"Its dot product instruction alone, multiply-adds per cycle: {peaks or 'not measured'}")
    print("A PREDICTION knows ports and latencies and takes caches for hot. Nothing here was run on a phone.\n")


def summary(args: argparse.Namespace, measurement: Measurement | None, predictions: list[Prediction]) -> dict[str, Any]:
    version = "from importlib.metadata import version; print(version('osaca'))"
    compilers = {args.arm_compiler if core.is_arm else args.x86_compiler for core in CORES if core.arch in args.cores}
    return {
        "benchmark": "predict_cores",
        "is_prediction": True,
        "osaca": output_of([args.osaca_python, "-c", version]).strip(),
        "compilers": sorted(output_of([*shlex.split(c), "--version"]).splitlines()[0] for c in compilers),
        "measured_on": measurement.processor if measurement else None,
        "measured_ghz": measurement.ghz if measurement else None,
        "measured_peaks": measurement.peaks if measurement else {},
        "predictions": [asdict(p) for p in predictions],
    }


if __name__ == "__main__":
    main()
