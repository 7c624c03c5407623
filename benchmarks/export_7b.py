"""Exports a 7B-class checkpoint of random weights as int8-static .ort files: sizes, time, peak memory, and an answer.

    python benchmarks/export_7b.py WORK_FOLDER [--shape r1-distill-qwen-7b] [--layers N] [--tokens 1024] [--format ort]

Needs about 15 GB for the checkpoint (kept, and used again if it is there) and 9 GB for the export, which is removed at
the end unless --keep is given. The export runs in a process of its own, whose memory is sampled; the answer (noise: the
weights are random) comes from a second one. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from process_monitor import MemorySampler
from random_checkpoint import SHAPES

HERE = Path(__file__).resolve().parent
EXPORT = """
import sys
from pathlib import Path
from pocketseek.convert.static_export import StaticOptions, export_static

source, target, text, format, tokens = sys.argv[1:]
export_static(
    source, target, calibration=[Path(text).read_text()], format=format,
    options=StaticOptions(calibration_tokens=int(tokens)),
    progress=lambda stage, done, total: print(f"{stage} {done}/{total}", file=sys.stderr, flush=True),
)
"""
ANSWER = """
import sys
from pathlib import Path
from onnx_stages import OnnxStages

stages = OnnxStages(Path(sys.argv[1]))
print(repr(stages.answer("one two three", 4)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("work", type=Path)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="r1-distill-qwen-7b")
    parser.add_argument("--layers", type=int, help="fewer layers than the shape has")
    parser.add_argument("--tokens", type=int, default=1024, help="of calibration")
    parser.add_argument("--format", choices=("onnx", "ort"), default="ort")
    parser.add_argument("--keep", action="store_true", help="the export, too")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    name = arguments.shape if arguments.layers is None else f"{arguments.shape}-{arguments.layers}"
    checkpoint, export, text = (arguments.work / part for part in (name, f"{name}-export", "text.txt"))
    if not (checkpoint / "model.safetensors").exists():
        command = [sys.executable, str(HERE / "random_checkpoint.py"), str(checkpoint), "--shape", arguments.shape]
        subprocess.run(command + (["--layers", str(arguments.layers)] if arguments.layers else []), check=True)
    text.write_text("".join(f"{number} green bottles hanging on the wall. " for number in range(4000)))
    start_s = time.monotonic()
    exported = watched(EXPORT, checkpoint, export, text, arguments.format, arguments.tokens)
    exported["seconds"] = round(time.monotonic() - start_s, 1)
    answered = watched(ANSWER, export)
    stages = sorted(export.glob(f"*.{arguments.format}"))
    files = {path.name: path.stat().st_size for path in stages}
    total = sum(path.stat().st_size for path in export.iterdir())
    checkpoint_bytes = (checkpoint / "model.safetensors").stat().st_size
    if not arguments.keep:
        shutil.rmtree(export)
    print(
        json.dumps(
            {
                "shape": name,
                "checkpoint_bytes": checkpoint_bytes,
                "export_bytes": total,
                "largest_file_bytes": max(files.values()),
                "num_stages": len(files),
                "export": exported,
                "answer": answered,
            }
        )
    )


def watched(program: str, *values: object) -> dict[str, object]:
    """Runs Python code in a process of its own: its output and peak memory."""
    command = [sys.executable, "-c", program, *map(str, values)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE)
    with process, MemorySampler(process.pid) as sampler:
        output, _ = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"a step failed with code {process.returncode}")
    return {
        "printed": output.strip(),
        "peak_anonymous_bytes": sampler.peak_anonymous_bytes,
        "peak_rss_bytes": sampler.peak_rss_bytes,
    }


if __name__ == "__main__":
    main()
