"""Runs an export as a program would that knows docs/onnx.md only: model.json, and the files that it names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime

from pocketseek.text.settings_file import parse_text_settings
from pocketseek.text.tokenizer import Tokenizer


def greedy(folder: Path, text: str, num_tokens: int) -> str:
    """What a program knows that has read docs/onnx.md: model.json and the files it names."""
    description = json.loads((folder / "model.json").read_text())
    settings = parse_text_settings((folder / "text.json").read_bytes())
    tokenizer = Tokenizer.from_json((folder / "tokenizer.json").read_bytes(), settings)
    sessions = [onnxruntime.InferenceSession(str(folder / stage["file"])) for stage in description["stages"]]
    model = description["model"]
    values: dict[str, np.ndarray] = {}
    for layer in range(model["num_layers"]):
        for kind in ("key", "value"):
            empty = np.zeros((1, model["num_kv_heads"], 0, model["head_dim"]), np.float32)
            values[f"past_key_values.{layer}.{kind}"] = empty
    ids = list(tokenizer.encode(text))
    new, total, answer = ids, 0, []
    for _ in range(num_tokens):
        total += len(new)
        values["input_ids"], values["attention_mask"] = np.array([new]), np.ones((1, total), np.int64)
        values["logit_rows"] = np.array([len(new) - 1])
        for stage, session in zip(description["stages"], sessions, strict=True):
            outputs = session.run(stage["outputs"], {name: values[name] for name in stage["inputs"]})
            values |= dict(zip(stage["outputs"], outputs, strict=True))
        values |= {
            name.replace("present", "past_key_values"): value
            for name, value in values.items()
            if name.startswith("present")
        }
        new = [int(values["logits"][0, 0].argmax())]
        answer += new
    return tokenizer.decode(answer)
