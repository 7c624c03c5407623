"""Which family a checkpoint belongs to."""

from __future__ import annotations

from collections.abc import Mapping

from pocketseek.convert.families import deepseek, deepseek_v2, deepseek_v3, llama, qwen2, qwen3, qwen3_moe
from pocketseek.convert.families.base import Planner
from pocketseek.convert.families.fields import Fields
from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.byte_file import quoted
from pocketseek.errors import FormatError, UnsupportedError

PLANNERS: Mapping[str, Planner] = {
    "llama": llama.plan,
    "qwen2": qwen2.plan,
    "qwen3": qwen3.plan,
    "qwen3_moe": qwen3_moe.plan,
    "deepseek_v2": deepseek_v2.plan,
    "deepseek_v3": deepseek_v3.plan,
}
_HF_ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "Qwen3MoeForCausalLM": "qwen3_moe",
    "DeepseekV2ForCausalLM": "deepseek_v2",
    "DeepseekV3ForCausalLM": "deepseek_v3",
}
# GGUF files of V2 and V3 share an architecture; its planner finds out which of them it is.
_GGUF_ARCHITECTURES = {deepseek.GGUF_ARCHITECTURE: "deepseek_v2", qwen3_moe.GGUF_ARCHITECTURE: "qwen3_moe"}


def choose_planner(source: Source) -> Planner:
    """By `general.architecture` (GGUF), else by the first of `architectures`, else by `model_type` (config.json).

    Raises UnsupportedError naming what is supported, FormatError if the checkpoint does not say what it is.
    """
    return PLANNERS[_checked(*_name_of(source), str(source.path))]


def check_config(config: Mapping[str, object], where: str) -> None:
    """Of a config.json alone, before its weights are fetched: as `choose_planner`."""
    _checked(*_name_in_config(Fields(f"{where}: config.json", config)), where)


def _checked(name: str, said: str, where: str) -> str:
    if name not in PLANNERS:
        raise UnsupportedError(
            f"{where}: architecture {quoted(said)} is not supported; use a model of {', '.join(PLANNERS)}"
        )
    return name


def _name_of(source: Source) -> tuple[str, str]:
    """The family's name ("" if unknown) and what the checkpoint says."""
    if source.kind == "gguf":
        said = Fields(str(source.path), source.metadata).text("general.architecture")
        return _GGUF_ARCHITECTURES.get(said, said), said
    return _name_in_config(Fields(f"{source.path}: config.json", source.metadata))


def _name_in_config(config: Fields) -> tuple[str, str]:
    architectures = config.texts("architectures")
    if architectures:
        return _HF_ARCHITECTURES.get(architectures[0], ""), architectures[0]
    if not config.has("model_type"):
        raise FormatError(f"{config.where} names no architecture; get a complete checkpoint")
    said = config.text("model_type")
    return said, said
