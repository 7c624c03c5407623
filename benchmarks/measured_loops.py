"""Build and run tile_speed.cpp: what the kernels reach on this x86 machine, next to what predict_cores.py predicts."""

from __future__ import annotations

import platform
import shlex
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from native_loops import LANGUAGE, NATIVE, common_options, compile_source, output_of, sources

PROGRAM = Path(__file__).with_name("tile_speed.cpp")
LABELS = {"tile": "{}", "pair": "{} pair"}


@dataclass(frozen=True)
class Measurement:
    """Multiply-adds per cycle by (set, kernel, rows; 0 for pair) and of the bare dot product by set; the clock."""

    processor: str
    rates: dict[tuple[str, str, int], float]
    peaks: dict[str, float]
    ghz: float


def can_measure() -> bool:
    return platform.machine() in ("x86_64", "AMD64")


def measure(compiler: str) -> Measurement:
    with tempfile.TemporaryDirectory() as directory:
        text = output_of([str(build(compiler, Path(directory)))])
    rates, peaks, clocks = {}, {}, []
    for line in text.splitlines():
        kind, set_name, name, rows, rate, ghz = line.split()
        if kind == "peak":
            peaks[set_name] = float(rate)
        else:
            rates[set_name, LABELS[kind].format(name), int(rows)] = float(rate)
        clocks.append(float(ghz))
    return Measurement(processor_name(), rates, peaks, statistics.median(clocks))


def build(compiler: str, directory: Path) -> Path:
    """Compile tile_speed.cpp with every x86 instruction set; returns the program."""
    program, objects = directory / "tile_speed", []
    for source in [source for source in sources() if not source.is_arm]:
        objects.append(str(directory / f"{source.path.stem}.o"))
        compile_source(compiler, source, "-c", "-o", objects[-1])
    plain = [str(file) for file in (PROGRAM, NATIVE / "dispatch.cpp", NATIVE / "isa_scalar.cpp")]
    flags = [*LANGUAGE, *common_options(), "-DPOCKETSEEK_X86", f"-I{NATIVE}"]
    output_of([*shlex.split(compiler), *flags, *plain, *objects, "-o", str(program)])
    return program


def processor_name() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
