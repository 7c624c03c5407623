"""`adapter_config.json` as PEFT writes it: what of it matters here, and a clear refusal of what is not done.

A key that is unknown here and says something (neither null, false, 0 nor empty) is refused: a newer PEFT may mean by it
that outputs are computed in another way.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pocketseek.convert.sources.byte_file import quoted
from pocketseek.convert.sources.json_text import read_json_object
from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.package.adapter_layout import MAX_RANK

_Value = TypeVar("_Value")

CONFIG_NAME = "adapter_config.json"
_MAX_BYTES = 4 << 20
_MAX_PATTERNS = 65_536

# Say nothing about what is computed.
_HARMLESS = frozenset(
    {
        *("alpha_pattern", "arrow_config", "auto_mapping", "base_model_name_or_path", "bias", "corda_config"),
        *(
            "ensure_weight_tying",
            "eva_config",
            "exclude_modules",
            "inference_mode",
            "init_lora_weights",
            "layers_pattern",
        ),
        *("layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout", "megatron_core", "peft_type"),
        *("peft_version", "qalora_group_size", "r", "rank_pattern", "revision", "runtime_config", "target_modules"),
        *("task_type", "use_rslora"),
    }
)
_REFUSED = {
    "use_dora": "DoRA scales the columns of the weights themselves; train without use_dora",
    "use_qalora": "QALoRA pools its inputs; train without use_qalora",
    "modules_to_save": "whole layers come with it (modules_to_save); train without",
    "lora_bias": "its B has a bias (lora_bias); train without",
    "fan_in_fan_out": "its matrices are transposed (fan_in_fan_out); this is for other architectures",
    "layer_replication": "it repeats layers of the base model (layer_replication); use a plain adapter",
    "trainable_token_indices": "it changes rows of the embedding (trainable_token_indices); train without",
    "target_parameters": "it raises parameters of experts (target_parameters); target other matrices only",
    "alora_invocation_tokens": "it begins in the middle of a text (activated LoRA); use a plain adapter",
}
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")  # ways to begin that subtract from the base's weights


@dataclass(frozen=True)
class PeftConfig:
    """rank, alpha: where no pattern says otherwise. rslora: alpha is divided by the root of the rank, not by the rank.

    ranks, alphas: by module names or their ends. base: what PEFT was given as the model's name or path.
    """

    rank: int
    alpha: float
    rslora: bool
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    base: str = ""

    def rank_of(self, module: str) -> int:
        return _match(self.ranks, module, self.rank)

    def scale_of(self, module: str) -> float:
        """module: its whole name, "model.layers.0.self_attn.q_proj"."""
        rank, alpha = self.rank_of(module), _match(self.alphas, module, self.alpha)
        return alpha / math.sqrt(rank) if self.rslora else alpha / rank


def read_peft_config(path: Path) -> PeftConfig:
    """Raises NotFoundError, FormatError (damaged), UnsupportedError (not done here) or StorageError."""
    return parse_peft_config(read_json_object(path, _MAX_BYTES), str(path))


def parse_peft_config(value: Mapping[str, object], where: str) -> PeftConfig:
    kind = value.get("peft_type")
    if kind != "LORA":
        raise UnsupportedError(f"{where}: peft_type is {quoted(str(kind))}; only LORA adapters can be used")
    for name, reason in _REFUSED.items():
        if value.get(name):
            raise UnsupportedError(f"{where}: {reason}")
    if value.get("bias", "none") != "none":
        raise UnsupportedError(f"{where}: it trains biases; train with bias='none'")
    start = value.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        raise UnsupportedError(
            f"{where}: it began with {quoted(start)}, which changes the base model; convert it with "
            "save_pretrained(path_initial_model_for_weight_conversion=...) of PEFT"
        )
    unknown = sorted(name for name, said in value.items() if said and name not in _HARMLESS and name not in _REFUSED)
    if unknown:
        raise UnsupportedError(f"{where}: unknown setting {quoted(unknown[0])}; update pocketseek or train without it")
    return PeftConfig(
        rank=_rank(value.get("r"), f"{where}: r"),
        alpha=_number(value.get("lora_alpha"), f"{where}: lora_alpha"),
        rslora=bool(value.get("use_rslora")),
        ranks={key: _rank(rank, f"{where}: rank_pattern") for key, rank in _patterns(value, "rank_pattern", where)},
        alphas={key: _number(one, f"{where}: alpha_pattern") for key, one in _patterns(value, "alpha_pattern", where)},
        base=str(value.get("base_model_name_or_path") or "")[:200],
    )


_PLAIN = re.compile(r"\^?[A-Za-z0-9_.]{1,256}")


def _patterns(value: Mapping[str, object], name: str, where: str) -> list[tuple[str, object]]:
    """PEFT takes regular expressions. This file comes from anywhere: names, and dots with a backslash, have to do."""
    patterns = value.get(name) or {}
    if not isinstance(patterns, dict) or len(patterns) > _MAX_PATTERNS:
        raise FormatError(f"{where}: {name} is not a table of names; get an undamaged adapter")
    plain = [(key.replace("\\.", "."), said) for key, said in patterns.items()]
    wrong = next((key for key, _ in plain if not _PLAIN.fullmatch(key)), None)
    if wrong is not None:
        raise UnsupportedError(f"{where}: {name} has {quoted(wrong)}; only names of modules can be used there")
    return plain


def _match(patterns: Mapping[str, _Value], module: str, otherwise: _Value) -> _Value:
    for key, said in patterns.items():
        if module == key.removeprefix("^") or (not key.startswith("^") and module.endswith(f".{key}")):
            return said
    return otherwise


def _rank(value: object, where: str) -> int:
    if type(value) is not int or value < 1:
        raise FormatError(f"{where} is not a whole number above 0; get an undamaged adapter")
    if value > MAX_RANK:
        raise UnsupportedError(f"{where} is {value}; ranks up to {MAX_RANK} can be used")
    return value


def _number(value: object, where: str) -> float:
    if type(value) not in (int, float) or not math.isfinite(float(str(value))) or abs(float(str(value))) > 1e9:
        raise FormatError(f"{where} is not a number; get an undamaged adapter")
    return float(str(value))
