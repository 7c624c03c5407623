"""Bytes that an update sends, next to general tools on the same pair of versions; time and memory to apply.

    python benchmarks/dequantised_checkpoint.py DEMO CHECKPOINT
    python benchmarks/update_changes.py CHECKPOINT TEXT WORK          (torch and transformers)
    python benchmarks/update_sizes.py CHECKPOINT WORK [--only a b] [--tools zstd xdelta3 bsdiff4] [--quant q4]

Versions, all converted with the same recipe but (e): (a) another chat template, (b) one layer trained, (c) a LoRA of
rank 16 merged, (d) all weights trained, (e) the same weights in q8. Each of them is published beside its deltas and
installed from there with `update` in a process of its own. General tools get each version as one file: the package's files one
after another, in the order of the manifest. bsdiff4 is the Python library of that name; xdelta3 -9 and zstd -19
--patch-from are the programs. Peak memory is that of the process that applies. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pocketseek.apps.repository.difference import compare
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.package.manifest import read_manifest
from pocketseek.package.paths import CHUNKS_NAME, FILES_NAME, MANIFEST_NAME, SIGNATURE_NAME

CASES = {
    "a": "another template",
    "b": "one layer trained",
    "c": "LoRA r=16 merged",
    "d": "all weights trained",
    "e": "the same in q8",
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
import os, sys, time
start_s = time.perf_counter()
child = os.fork()
if not child:
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(child, 0)
print(time.perf_counter() - start_s, usage.ru_maxrss)
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
    parser.add_argument("--quant", default="q4")
    arguments = parser.parse_args()
    base = package(with_template(arguments.checkpoint, arguments.work / "source", TEMPLATE), "base", arguments)
    rows = [measured(case, base, version(case, arguments), arguments) for case in arguments.only]
    show(rows, arguments.tools)
    print(json.dumps({"rows": rows}))


def version(case: str, arguments: argparse.Namespace) -> Path:
    source = arguments.work / "source"
    if case == "a":
        source = with_template(arguments.checkpoint, arguments.work / "source-a", "{{ bos_token }}" + TEMPLATE)
        return package(source, "a", arguments)
    if case == "e":
        return package(source, "e", arguments, quant="q8")
    trained = arguments.work / {"b": "layer", "c": "lora", "d": "full"}[case]
    return package(with_template(trained, arguments.work / f"source-{case}", TEMPLATE), case, arguments)


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
    start_s = time.perf_counter()
    found = compare(base, new, out=new)
    make_s = time.perf_counter() - start_s
    installed = arguments.work / "installed" / "model"
    shutil.rmtree(installed.parent, ignore_errors=True)
    shutil.copytree(base, installed)
    apply_s, peak_bytes = run([sys.executable, "-c", APPLY, str(installed), str(new)])
    assert (installed / MANIFEST_NAME).read_bytes() == (new / MANIFEST_NAME).read_bytes()
    row = {
        "case": case,
        "what": CASES[case],
        "whole_bytes": found.whole_bytes,
        "sent_bytes": found.sent_bytes,
        "make_s": make_s,
        "apply_s": apply_s,
        "apply_peak_bytes": peak_bytes,
        "changed_bytes": sum(stage.whole_bytes for stage in found.stages if stage.num_deltas or stage.num_whole),
    }
    shutil.rmtree(installed.parent)
    old_file, new_file = (one_file(path, arguments.work / f"{path.name}.bin") for path in (base, new))
    for tool in arguments.tools:
        row[tool] = general_tool(tool, old_file, new_file, arguments.work)
        print(row, file=sys.stderr, flush=True)
    new_file.unlink()
    return row


def general_tool(tool: str, old: Path, new: Path, work: Path) -> dict[str, object]:
    patch, result = work / "patch", work / "result"
    for path in (patch, result):
        path.unlink(missing_ok=True)
    make, apply = commands(tool, str(old), str(new), str(patch), str(result))
    make_s, make_peak_bytes = run(make)
    apply_s, peak_bytes = run(apply)
    assert result.read_bytes() == new.read_bytes()
    return {
        "bytes": patch.stat().st_size,
        "make_s": make_s,
        "make_peak_bytes": make_peak_bytes,
        "apply_s": apply_s,
        "apply_peak_bytes": peak_bytes,
    }


def commands(tool: str, old: str, new: str, patch: str, result: str) -> tuple[list[str], list[str]]:
    if tool == "zstd":
        common = ["zstd", "-q", "-f", "--long=31", f"--patch-from={old}"]
        return [*common, "-19", new, "-o", patch], [*common, "-d", patch, "-o", result]
    if tool == "xdelta3":
        window = ["-B", str(1 << 30)]
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


def run(command: Sequence[str]) -> tuple[float, int]:
    """(seconds, peak resident bytes) of a program. Raises if it fails.

    It is started by a small process: a child begins with the peak of its parent."""
    done = subprocess.run([sys.executable, "-S", "-c", WAIT, *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed: {done.stderr}")
    seconds, peak_kib = done.stdout.split()[-2:]
    return float(seconds), int(peak_kib) * 1024


def one_file(package_dir: Path, path: Path) -> Path:
    if path.exists():
        return path
    manifest = read_manifest(package_dir)
    names = [MANIFEST_NAME, SIGNATURE_NAME]
    names += [f"{FILES_NAME}/{entry.sha256}" for entry in manifest.files.values()]
    names += [f"{CHUNKS_NAME}/{entry.sha256}" for entry in manifest.unique_chunks()]
    with path.open("wb") as file:
        for name in names:
            if (package_dir / name).exists():
                file.write((package_dir / name).read_bytes())
    return path


def show(rows: Sequence[dict[str, object]], tools: Sequence[str]) -> None:
    print("| change | whole | update | share | " + " | ".join(tools) + " | apply s | peak MB |")
    print("|" + " --- |" * (6 + len(tools)))
    for row in rows:
        whole, sent = int(str(row["whole_bytes"])), int(str(row["sent_bytes"]))
        others = [f"{_tool_bytes(row[tool]):,}" for tool in tools]
        peak = int(str(row["apply_peak_bytes"])) / 1e6
        cells = [f"({row['case']}) {row['what']}", f"{whole:,}", f"{sent:,}", f"{100 * sent / whole:.3f} %", *others]
        print("| " + " | ".join([*cells, f"{row['apply_s']:.1f}", f"{peak:.0f}"]) + " |")


def _tool_bytes(value: object) -> int:
    assert isinstance(value, dict)
    return int(value["bytes"])


if __name__ == "__main__":
    main()
