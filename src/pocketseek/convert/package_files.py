"""The text files of a package: tokenizer.json, text.json, chat_template.jinja and sampling.json if there are any,
licences as found.

A tokenizer is taken over (safetensors) or rebuilt (GGUF), and loaded once, so that a broken one is found before
anything is written, and not by the first who wants to chat.
"""

from __future__ import annotations

from collections.abc import Mapping

from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.json_text import parse_json_object
from pocketseek.errors import FormatError, NotFoundError
from pocketseek.text.gguf_tokenizer import chat_template_from_gguf, text_settings_from_gguf, tokenizer_json_from_gguf
from pocketseek.text.hf_tokenizer import chat_template_from_hf, text_settings_from_hf
from pocketseek.text.sampling_file import (
    Recommended,
    recommended_from_gguf,
    recommended_from_hf,
    render_recommended,
)
from pocketseek.text.settings_file import render_text_settings
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import TextSettings

TOKENIZER_NAME = "tokenizer.json"
SETTINGS_NAME = "text.json"
TEMPLATE_NAME = "chat_template.jinja"
SAMPLING_NAME = "sampling.json"
_LICENCE_PREFIXES = ("LICENSE", "LICENCE", "NOTICE")


def collect_files(source: Source, vocab_size: int, recommended: Recommended | None = None) -> dict[str, bytes]:
    """Name -> contents. recommended: sampling to recommend instead of what the checkpoint does.

    Raises NotFoundError or FormatError if the tokenizer is missing, broken or too large.
    """
    tokenizer_json, settings, template = _from_gguf(source) if source.kind == "gguf" else _from_hf(source)
    num_tokens = Tokenizer.from_json(tokenizer_json, settings).vocab_size
    if num_tokens > vocab_size:
        raise FormatError(
            f"{source.path}: the tokenizer has {num_tokens} tokens but the embedding {vocab_size} rows; "
            "get the tokenizer that belongs to the model"
        )
    files = {TOKENIZER_NAME: tokenizer_json, SETTINGS_NAME: render_text_settings(settings)}
    if template is not None:
        files[TEMPLATE_NAME] = template.encode("utf-8")
    if advice := _recommended(source) if recommended is None else recommended:
        files[SAMPLING_NAME] = render_recommended(advice)
    licences = {name: data for name, data in source.files.items() if name.startswith(_LICENCE_PREFIXES)}
    return files | licences


def _recommended(source: Source) -> Recommended:
    if source.kind == "gguf":
        return recommended_from_gguf(source.metadata)
    return recommended_from_hf(_json_file(source, "generation_config.json"))


def _from_gguf(source: Source) -> tuple[bytes, TextSettings, str | None]:
    metadata = source.metadata
    return tokenizer_json_from_gguf(metadata), text_settings_from_gguf(metadata), chat_template_from_gguf(metadata)


def _from_hf(source: Source) -> tuple[bytes, TextSettings, str | None]:
    tokenizer_json = source.files.get(TOKENIZER_NAME)
    if tokenizer_json is None:
        raise NotFoundError(
            f"{source.path} has no {TOKENIZER_NAME}; make one with transformers "
            "(AutoTokenizer.from_pretrained(folder).save_pretrained(folder)) or download it with the model"
        )
    tokenizer_config = _json_file(source, "tokenizer_config.json")
    generation_config = _json_file(source, "generation_config.json")
    settings = text_settings_from_hf(tokenizer_config, generation_config, source.metadata, tokenizer_json)
    return tokenizer_json, settings, chat_template_from_hf(tokenizer_config, _template_file(source))


def _template_file(source: Source) -> str | None:
    data = source.files.get(TEMPLATE_NAME)
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{source.path}: {TEMPLATE_NAME} is not UTF-8; download it again") from error


def _json_file(source: Source, name: str) -> Mapping[str, object] | None:
    data = source.files.get(name)
    if data is None:
        return None
    try:
        return parse_json_object(data)
    except ValueError as error:
        raise FormatError(f"{source.path}: {name} is damaged ({error}); download it again") from error
