"""Bytes that an update sends, next to general tools on the same pair of versions; processor time and memory to apply.

    python benchmarks/dequantised_checkpoint.py DEMO CHECKPOINT
    python benchmarks/update_changes.py CHECKPOINT TEXT WORK          (torch and transformers)
    python benchmarks/update_sizes.py CHECKPOINT WORK [--only a b] [--tools zstd xdelta3 bsdiff4]
        [--stages layer.5 layer.15 | --whole] [--quant q4] [--limit-s 600]

Versions, all converted with the same recipe but (e): (a) another chat template, (b) one layer trained, (c) a LoRA of
rank 16 merged, (d) all weights trained, (e) the same weights in q8, (f) as (d) with every change ten times as large.
Each of them is published beside its deltas and installed from there with `update` in a process of its own. General
tools get what differs in pairs: each chunk with that of the same stage and place in it, each file with that of the same
name; or, with --whole, each package as one file: manifest, files and chunks, in the manifest's order. bsdiff4 is the
Python library of that name; xdelta3 -9 and zstd -19 --patch-from are the programs, with a window of the whole file. A
tool that takes longer than --limit-s for one step is given up (-). Peak memory is that of the process that applies.
Prints tables and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from subprocess import PIPE

import numpy as np
import numpy.typing as npt
from random_checkpoint import TensorPlan, safetensors_header

from pocketseek.apps.repository.difference import compare
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.open import open_source
from pocketseek.package.manifest import read_manifest
from pocketseek.package.paths import MANIFEST_NAME, chunk_path, file_path

CASES = {
    "a": "another template",
    "b": "one layer trained",
    "c": "LoRA r=16 merged",
    "d": "all weights trained",
    "e": "the same in q8",
    "f": "(d) times ten",
}
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
APPLY = """
import sys
from pathlib import Path
from pocketseek.apps.repository.source import DirectorySource
from pocketseek.apps.repository.update import look, update
source = DirectorySource(Path(sys.argv[2]))
update(Path(sys.argv[1]), source, look(Path(sys.argv[1]), source).offer)
"""
WAIT = """
import os, sys
child = os.fork()
if not child:
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(child, 0)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""
BSDIFF = "import bsdiff4, sys; bsdiff4.file_diff(*sys.argv[1:4])"
BSPATCH = "import bsdiff4, sys; bsdiff4.file_patch(*sys.argv[1:4])"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--tools", nargs="*", choices=("zstd", "xdelta3", "bsdiff4"), default=["zstd", "xdelta3"])
    parser.add_argument("--stages", nargs="*", default=[], help="what the tools get; by default all that differs")
    parser.add_argument("--whole", action="store_true", help="the tools get each package as one file")
    parser.add_argument("--quant", default="q4")
    parser.add_argument("--limit-s", type=float, default=600.0, help="for a tool to make or apply one patch")
    arguments = parser.parse_args()
    base = package(with_template(arguments.checkpoint, arguments.work / "source", TEMPLATE), "base", arguments)
    rows = [measured(case, base, version(case, arguments), arguments) for case in arguments.only]
    show(rows, arguments.tools)
    show_tools(rows, arguments.tools)
    print(json.dumps({"rows": rows}))


def version(case: str, arguments: argparse.Namespace) -> Path:
    source = arguments.work / "source"
    if case == "a":
        source = with_template(arguments.checkpoint, arguments.work / "source-a", "{{ bos_token }}" + TEMPLATE)
        return package(source, "a", arguments)
    if case == "e":
        return package(source, "e", arguments, quant="q8")
    if case == "f":
        exaggerate(arguments.checkpoint, arguments.work / "full", arguments.work / "full10")
    trained = arguments.work / {"b": "layer", "c": "lora", "d": "full", "f": "full10"}[case]
    return package(with_template(trained, arguments.work / f"source-{case}", TEMPLATE), case, arguments)


def exaggerate(checkpoint: Path, trained: Path, out: Path, times: float = 10.0) -> None:
    """The checkpoint and so many times what training changed of it."""
    out.mkdir(parents=True, exist_ok=True)
    for path in trained.glob("*.json"):
        shutil.copy(path, out / path.name)
    with closing(open_source(checkpoint)) as before, closing(open_source(trained)) as after:
        names = list(before.tensors)
        shapes = [TensorPlan(name, name, before.tensors[name].shape) for name in names]
        with (out / "model.safetensors").open("wb") as file:
            file.write(safetensors_header(shapes, "F16"))
            for name in names:
                old, new = (whole_tensor(source, name) for source in (before, after))
                file.write((old + times * (new - old)).astype("<f2").data)


def whole_tensor(source: Source, name: str) -> npt.NDArray[np.float32]:
    return source.read_rows(name, 0, source.tensors[name].num_rows)


def with_template(checkpoint: Path, folder: Path, template: str) -> Path:
    """The checkpoint again, with a chat template."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in checkpoint.iterdir():
        if path.is_file() and not (folder / path.name).exists():
            os.symlink(path.absolute(), folder / path.name)
    config = json.loads((checkpoint / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": template}))
    return folder


def package(checkpoint: Path, name: str, arguments: argparse.Namespace, quant: str | None = None) -> Path:
    path: Path = arguments.work / "packages" / name
    if not path.exists():
        convert_checkpoint(checkpoint, path, models_dir=path.parent, quant=quant or arguments.quant, name="model")
    return path


def measured(case: str, base: Path, new: Path, arguments: argparse.Namespace) -> dict[str, object]:
    start_s = time.process_time()
    found = compare(base, new, out=new)
    make_s = time.process_time() - start_s
    installed = arguments.work / "installed" / "model"
    shutil.rmtree(installed.parent, ignore_errors=True)
    shutil.copytree(base, installed)
    applied = run([sys.executable, "-c", APPLY, str(installed), str(new)])
    assert applied is not None  # it has no limit
    apply_s, peak_bytes = applied
    assert (installed / MANIFEST_NAME).read_bytes() == (new / MANIFEST_NAME).read_bytes()
    row = {
        "case": case,
        "what": CASES[case],
        "whole_bytes": found.whole_bytes,
        "sent_bytes": found.sent_bytes,
        "stage_bytes": sum(stage.sent_bytes for stage in found.stages if stage.stage in arguments.stages),
        "make_s": make_s,
        "apply_s": apply_s,
        "apply_peak_bytes": peak_bytes,
        "changed_bytes": sum(stage.whole_bytes for stage in found.stages if stage.num_deltas or stage.num_whole),
    }
    shutil.rmtree(installed.parent)
    changed = pairs(base, new, arguments.stages)
    if arguments.whole:
        changed = [(as_one_file(base, arguments.work / "whole-old"), as_one_file(new, arguments.work / "whole-new"))]
    for tool in arguments.tools:
        row[tool] = general_tool(tool, changed, arguments.work, arguments.limit_s)
        print(row, file=sys.stderr, flush=True)
    return row


def as_one_file(package_dir: Path, out: Path) -> Path:
    """Everything that a published package has, without deltas and signature."""
    manifest = read_manifest(package_dir)
    files = [file_path(package_dir, entry.sha256) for entry in manifest.files.values()]
    chunks = [chunk_path(package_dir, chunk.sha256) for chunk in manifest.unique_chunks()]
    with out.open("wb") as whole:
        for path in (package_dir / MANIFEST_NAME, *files, *chunks):
            with path.open("rb") as part:
                shutil.copyfileobj(part, whole, 1 << 20)
    return out


def pairs(old_dir: Path, new_dir: Path, stages: Sequence[str] = ()) -> list[tuple[Path | None, Path]]:
    """What differs, in these stages or anywhere, with its counterpart."""
    old, new = read_manifest(old_dir), read_manifest(new_dir)
    known = {entry.sha256 for entry in (*old.chunks, *old.files.values())}
    found: list[tuple[Path | None, Path]] = []
    for stage in stages or dict.fromkeys(chunk.stage for chunk in new.chunks):
        befores = [chunk_path(old_dir, chunk.sha256) for chunk in old.chunks if chunk.stage == stage]
        afters = [chunk_path(new_dir, chunk.sha256) for chunk in new.chunks if chunk.stage == stage]
        found += [(before, after) for before, after in zip_longest(befores, afters) if after is not None]
    for name, entry in () if stages else new.files.items():
        counterpart = old.files.get(name)
        before = file_path(old_dir, counterpart.sha256) if counterpart is not None else None
        found.append((before, file_path(new_dir, entry.sha256)))
    return [(before, after) for before, after in found if after.name not in known]


def general_tool(
    tool: str, changed: Sequence[tuple[Path | None, Path]], work: Path, limit_s: float
) -> dict[str, float] | None:
    """Sums over the pairs; of memory the largest. None if it takes too long."""
    patch, result = work / "patch", work / "result"
    total = dict.fromkeys(("bytes", "make_s", "make_peak_bytes", "apply_s", "apply_peak_bytes"), 0.0)
    for before, after in changed:
        if before is None:
            total["bytes"] += after.stat().st_size
            continue
        for path in (patch, result):
            path.unlink(missing_ok=True)
        make, apply = commands(tool, str(before), str(after), str(patch), str(result))
        for what, command in (("make", make), ("apply", apply)):
            measured = run(command, limit_s)
            if measured is None:
                return None
            seconds, peak_bytes = measured
            total[f"{what}_s"] += seconds
            total[f"{what}_peak_bytes"] = max(total[f"{what}_peak_bytes"], peak_bytes)
        assert result.read_bytes() == after.read_bytes()
        total["bytes"] += patch.stat().st_size
    return total


def commands(tool: str, old: str, new: str, patch: str, result: str) -> tuple[list[str], list[str]]:
    if tool == "zstd":
        common = ["zstd", "-q", "-f", "--long=31", f"--patch-from={old}"]
        return [*common, "-19", new, "-o", patch], [*common, "-d", patch, "-o", result]
    if tool == "xdelta3":
        window = ["-B", str(1 << 28)]
        return ["xdelta3", "-9", "-f", *window, "-e", "-s", old, new, patch], [
            "xdelta3",
            "-f",
            *window,
            "-d",
            "-s",
            old,
            patch,
            result,
        ]
    return [sys.executable, "-c", BSDIFF, old, new, patch], [sys.executable, "-c", BSPATCH, old, result, patch]


def run(command: Sequence[str], limit_s: float | None = None) -> tuple[float, int] | None:
    """(processor seconds, peak resident bytes) of a program; None if it takes longer than the limit. Raises if it
    fails.

    It is started by a small process: a child begins with the peak of its parent."""
    words = [sys.executable, "-S", "-c", WAIT, *command]
    with subprocess.Popen(words, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True) as started:
        try:
            said, complaints = started.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)  # the program as well
            return None
    if started.returncode != 0:
        raise SystemExit(f"{command[0]} failed: {complaints}")
    seconds, peak_kib = said.split()[-2:]
    return float(seconds), int(peak_kib) * 1024


def show(rows: Sequence[dict[str, object]], tools: Sequence[str]) -> None:
    print("| change | whole | update | share | " + " | ".join(tools) + " | apply s | peak MB |")
    print("|" + " --- |" * (6 + len(tools)))
    for row in rows:
        whole, sent = int(str(row["whole_bytes"])), int(str(row["sent_bytes"]))
        others = [_tool_bytes(row[tool]) for tool in tools]
        peak = int(str(row["apply_peak_bytes"])) / 1e6
        cells = [f"({row['case']}) {row['what']}", f"{whole:,}", f"{sent:,}", f"{100 * sent / whole:.3f} %", *others]
        print("| " + " | ".join([*cells, f"{row['apply_s']:.1f}", f"{peak:.0f}"]) + " |")


def show_tools(rows: Sequence[dict[str, object]], tools: Sequence[str]) -> None:
    print("| change | tool | bytes | make s | make peak MB | apply s | apply peak MB |")
    print("|" + " --- |" * 7)
    for row in rows:
        for tool in tools:
            value = row[tool]
            if not isinstance(value, dict):
                print(f"| ({row['case']}) | {tool} |" + " - |" * 5)
                continue
            make_mb, apply_mb = value["make_peak_bytes"] / 1e6, value["apply_peak_bytes"] / 1e6
            times = f"{value['make_s']:.1f} | {make_mb:.0f} | {value['apply_s']:.2f} | {apply_mb:.0f}"
            print(f"| ({row['case']}) | {tool} | {int(value['bytes']):,} | {times} |")


def _tool_bytes(value: object) -> str:
    return f"{int(value['bytes']):,}" if isinstance(value, dict) else "-"


if __name__ == "__main__":
    main()
