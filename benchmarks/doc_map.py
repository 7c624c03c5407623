"""Notes on the chunks of a document: side by side against one after the other, and against llama.cpp's own batches.

    python benchmarks/doc_map.py [--peer llama.cpp=PYTHON] [--model demo|1.5b|GGUF] [--text FILE ...] [--chunks 8]
        [--chunk-tokens 1700] [--new-tokens 128] [--threads 2] [--rounds 3] [--quant keep] [--no-speculation]

The prompts are those of `pocketseek doc summarize`, cut by chunk.py from the text (default: docs/*.md of this project);
everybody gets the same token ids and writes the same number of tokens, greedily, the end token being one like others.

    parallel   all chunks as background requests at once
    serial     one request after the other
    llama.cpp  prompts in batches of 512 tokens, then one token of every chunk in each batch; the beginning that all
               share is computed once there, too

Every round starts a fresh process for each, the order alternating. Loading is not counted. Prompt tokens that were
computed are reported: the shared beginning is to be in them once (but for the tokens after its last full page of 64).
Figures are medians; ends in a JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import engines
import models_on_disk
from doc_map_job import MapJob
from engines import Engine
from process_monitor import children_cpu_s, machine_busy_s

from pocketseek.apps.doc.chunk import Chunk, chunks
from pocketseek.apps.doc.document import Block, Document, Place
from pocketseek.apps.doc.summary_prompts import language_of, note_prompt
from pocketseek.package.reader import Package
from pocketseek.runtime.opening import template_of
from pocketseek.runtime.prompt import encode_prompt
from pocketseek.text.settings_file import parse_text_settings
from pocketseek.text.tokenizer import Tokenizer

HERE = Path(__file__).resolve().parent
PAGE_TOKENS = 64
NOTE_WORDS = 128


def document_of(files: Sequence[Path]) -> Document:
    texts = [text.strip() for file in files for text in file.read_text("utf-8").split("\n\n") if text.strip()]
    return Document("text", "text/plain", tuple(Block("paragraph", text, Place(None, None, 1)) for text in texts))


def prompts_of(package: Path, document: Document, num_chunks: int, chunk_tokens: int) -> list[tuple[int, ...]]:
    """Token ids of the first full chunks."""
    with Package.open(package) as opened:
        settings = parse_text_settings(opened.file("text.json"))
        tokenizer = Tokenizer.from_json(opened.file("tokenizer.json"), settings)
        template = template_of(opened, settings)
    language = language_of(document.text)

    def encoded(chunk: Chunk) -> tuple[int, ...]:
        text = document.text[chunk.context_start : chunk.stop]
        return encode_prompt(note_prompt(language, NOTE_WORDS, "", (), text), tokenizer, template)

    found = chunks(
        document,
        lambda text: len(tokenizer.encode(text, add_special=False, parse_special=False)),
        max_tokens=chunk_tokens,
        count_prompt=lambda chunk: len(encoded(chunk)),
    )
    if len(found) <= num_chunks:
        raise SystemExit(f"the text has only {len(found)} chunks; give a longer one, or fewer --chunks")
    return [encoded(chunk) for chunk in found[:num_chunks]]


def num_shared(prompts: Sequence[Sequence[int]]) -> int:
    return next(index for index, ids in enumerate(zip(*prompts, strict=False)) if len(set(ids)) > 1)


def run_worker(engine: Engine, script: str, job: MapJob, home: Path) -> dict[str, Any]:
    environment = os.environ | {"POCKETSEEK_HOME": str(home)}
    command = [engine.python, str(HERE / script)]
    done = subprocess.run(command, input=job.to_json(), stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{script} failed; its message stands above")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_rounds(
    ways: dict[str, tuple[Engine, str, MapJob]], num_rounds: int, home: Path
) -> dict[str, list[dict[str, Any]]]:
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for number in range(num_rounds):
        for name in list(ways) if number % 2 == 0 else list(ways)[::-1]:
            print(f"round {number + 1} of {num_rounds}: {name}", file=sys.stderr, flush=True)
            engine, script, job = ways[name]
            results[name].append(run_worker(engine, script, job, home))
    return results


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=lambda text: engines.parse_peer(text, (engines.LLAMA_CPP,)))
    parser.add_argument("--model", default="demo")
    parser.add_argument("--quant", default="keep", help="what ours is converted to (default: the same weights)")
    parser.add_argument("--text", type=Path, nargs="+", default=sorted((HERE.parent / "docs").glob("*.md")))
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--chunk-tokens", type=int, default=1700)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--speculation", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--cache", type=Path, default=models_on_disk.DEFAULT_CACHE)
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    gguf = models_on_disk.gguf_for(args.model, args.cache)
    package = engines.ours().model_for(gguf, args.cache, args.quant)
    prompts = prompts_of(package, document_of(args.text), args.chunks, args.chunk_tokens)
    shared = num_shared(prompts)
    job = MapJob(str(package), tuple(prompts), shared, args.new_tokens, args.chunks, args.threads, args.speculation)
    ways = {
        "parallel": (engines.ours(), "own_doc_map.py", job),
        "serial": (engines.ours(), "own_doc_map.py", replace(job, at_once=1)),
    }
    if args.peer:
        ways["llama.cpp"] = (args.peer, "peer_doc_map.py", replace(job, model=str(gguf)))
    models_on_disk.read_into_page_cache(package)
    busy_s, own_s = machine_busy_s(), children_cpu_s()
    results = run_rounds(ways, args.rounds, args.cache / "doc-map-home")
    other_s = (machine_busy_s() - busy_s) - (children_cpu_s() - own_s)
    report(args, prompts, shared, results, other_s)


def report(
    args: argparse.Namespace,
    prompts: Sequence[Sequence[int]],
    shared: int,
    results: dict[str, list[dict[str, Any]]],
    other_s: float,
) -> None:
    num_tokens = sum(map(len, prompts))
    seconds = {name: statistics.median(one["seconds"] for one in runs) for name, runs in results.items()}
    computed = {name: runs[0]["computed_prompt_tokens"] for name, runs in results.items()}
    same = results["parallel"][0]["answers"] == results["serial"][0]["answers"]
    print(
        f"{args.model}: {len(prompts)} prompts of {num_tokens / len(prompts):.0f} tokens, {shared} of them shared, "
        f"{args.new_tokens} new tokens each, {args.threads} threads, {args.rounds} rounds"
    )
    for name, median_s in seconds.items():
        rate = (num_tokens + len(prompts) * args.new_tokens) / median_s
        print(
            f"{name:10}{median_s:>8.1f} s {rate:>7.0f} tokens/s   {median_s / seconds['parallel']:>5.2f} x parallel   "
            f"{computed[name]} prompt tokens computed"
        )
    once = num_tokens - (len(prompts) - 1) * (shared // PAGE_TOKENS * PAGE_TOKENS)
    print(f"with the full pages of the shared beginning computed once: {once}; answers alike: {same}")
    print(f"processor seconds that others used meanwhile: {other_s:.1f}")
    facts = {"benchmark": "doc_map", "model": args.model, "chunks": len(prompts), "prompt_tokens": num_tokens}
    facts |= {"shared_tokens": shared, "new_tokens": args.new_tokens, "threads": args.threads, "rounds": args.rounds}
    facts |= {"seconds": seconds, "computed_prompt_tokens": computed, "computed_once": once, "same_answers": same}
    facts |= {"speculation": args.speculation, "other_processor_s": other_s}
    facts |= {"all_seconds": {name: [one["seconds"] for one in runs] for name, runs in results.items()}}
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
