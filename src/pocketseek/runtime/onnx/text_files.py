"""Tokenizer, chat template and recommended sampling that lie beside an ONNX model.

Exports of ours have text.json, chat_template.jinja and sampling.json as packages do. Beside other models lie Hugging
Face's files: tokenizer.json, tokenizer_config.json, generation_config.json, and genai_config.json with the ids that end
a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pocketseek.errors import NotFoundError
from pocketseek.runtime.onnx.foreign_json import read_bytes, read_object_if_there
from pocketseek.runtime.onnx.model_files import CONFIG_FILE, GENAI_FILE
from pocketseek.text.chat_template import DEFAULT_TEMPLATE, ChatTemplate
from pocketseek.text.hf_tokenizer import chat_template_from_hf, text_settings_from_hf
from pocketseek.text.sampling_file import parse_recommended, recommended_from_hf, render_recommended
from pocketseek.text.settings_file import MAX_BYTES, parse_text_settings
from pocketseek.text.tokenizer import MAX_JSON_BYTES, Tokenizer
from pocketseek.types import SamplingParams, TextSettings

_TEMPLATE_FILE, _TEXT_FILE, _SAMPLING_FILE = "chat_template.jinja", "text.json", "sampling.json"
_MAX_TEMPLATE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class TextParts:
    tokenizer: Tokenizer
    template: ChatTemplate
    sampling: SamplingParams


def read_text_parts(folder: Path) -> TextParts:
    """Raises NotFoundError without a tokenizer.json, FormatError, UnsupportedError, StorageError."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise NotFoundError(f"{folder} has no tokenizer.json; copy the one of the original model there")
    tokenizer_json = read_bytes(path, MAX_JSON_BYTES)
    settings = _text_settings(folder, tokenizer_json)
    source = read_template(folder)
    return TextParts(
        Tokenizer.from_json(tokenizer_json, settings),
        ChatTemplate(source or DEFAULT_TEMPLATE, settings.bos_token, settings.eos_token),
        read_recommended(folder),
    )


def read_template(folder: Path) -> str | None:
    """The source of the chat template; None: the model only continues texts."""
    path = folder / _TEMPLATE_FILE
    if path.is_file():
        return read_bytes(path, _MAX_TEMPLATE_BYTES).decode("utf-8", "replace")
    return chat_template_from_hf(_values(folder / "tokenizer_config.json"), None)


def read_recommended(folder: Path) -> SamplingParams:
    path = folder / _SAMPLING_FILE
    if path.is_file():
        return parse_recommended(read_bytes(path, MAX_BYTES))
    recommended = recommended_from_hf(_values(folder / "generation_config.json"))
    return parse_recommended(render_recommended(recommended))


def _text_settings(folder: Path, tokenizer_json: bytes) -> TextSettings:
    own = folder / _TEXT_FILE
    if own.is_file():
        return parse_text_settings(read_bytes(own, MAX_BYTES))
    config = _values(folder / CONFIG_FILE) or {}
    return text_settings_from_hf(
        _with_template(folder, _values(folder / "tokenizer_config.json")),
        _values(folder / "generation_config.json"),
        {**config, **_genai_ids(folder)},
        tokenizer_json,
    )


def _with_template(folder: Path, tokenizer_config: Mapping[str, object] | None) -> Mapping[str, object] | None:
    """The reasoning tags are looked for in the template, which may lie in a file of its own."""
    template = read_template(folder)
    return tokenizer_config if template is None else {**(tokenizer_config or {}), "chat_template": template}


def _genai_ids(folder: Path) -> Mapping[str, object]:
    """bos_token_id and eos_token_id as the builder wrote them (the latter may be several)."""
    config = read_object_if_there(folder / GENAI_FILE)
    model = config.inner("model").values if config is not None else {}
    return {name: model[name] for name in ("bos_token_id", "eos_token_id") if model.get(name) is not None}


def _values(path: Path) -> Mapping[str, object] | None:
    found = read_object_if_there(path)
    return None if found is None else found.values
