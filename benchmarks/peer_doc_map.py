"""The llama.cpp side of `doc_map.py`: its own batches, with what all prompts share computed once and copied.

Prompts are read one after the other in batches of 512 tokens, which is where it is fastest; then all sequences get a
token in each batch.
"""

from __future__ import annotations

import time

import doc_map_job
from doc_map_job import MapJob, MapResult
from llama_cpp_model import LlamaCppModel, system_info

UBATCH_TOKENS = 512


def run(job: MapJob) -> MapResult:
    positions = sum(map(len, job.prompts[: job.at_once])) + job.at_once * job.new_tokens + 1024
    model = LlamaCppModel(
        job.model, job.threads, positions, UBATCH_TOKENS, all_logits=False, num_sequences=max(2, job.at_once)
    )
    model.run(list(range(3, 67)), 0)
    model.forget()
    start_s = time.perf_counter()
    answers: list[tuple[int, ...]] = []
    computed = 0
    for first in range(0, len(job.prompts), job.at_once):
        group = job.prompts[first : first + job.at_once]
        answers += answered(model, group, job)
        computed += sum(map(len, group)) - job.shared_tokens * (len(group) - 1)
    return MapResult(f"llama.cpp, {system_info()}", time.perf_counter() - start_s, computed, tuple(answers))


def answered(model: LlamaCppModel, prompts: tuple[tuple[int, ...], ...], job: MapJob) -> list[tuple[int, ...]]:
    model.forget()
    shared = job.shared_tokens if len(prompts) > 1 else 0
    if shared:
        model.read(list(prompts[0][:shared]), 0, sequence=0)
    rows: list[list[int]] = []
    for sequence, prompt in enumerate(prompts):
        if shared and sequence:
            model.copy_positions(shared, source=0, target=sequence)
        rows.append([int(model.read(list(prompt[shared:]), shared, sequence).argmax())])
    lengths = [len(prompt) for prompt in prompts]
    for step in range(job.new_tokens - 1):
        logits = model.run_at([row[-1] for row in rows], [length + step for length in lengths])
        for row, values in zip(rows, logits, strict=True):
            row.append(int(values.argmax()))
    return [tuple(row) for row in rows]


if __name__ == "__main__":
    doc_map_job.main(run)
