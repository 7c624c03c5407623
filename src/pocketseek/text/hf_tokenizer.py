"""Text settings and chat template of a Hugging Face checkpoint, gathered from the four files that may state them.

`tokenizer.json` is taken over unchanged. Which ids begin and end a text is said, not always consistently, in
tokenizer_config.json (by name), generation_config.json and config.json (by id); all ids that end a text are collected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from pocketseek.errors import FormatError
from pocketseek.text.special_tokens import END_OF_TURN_TOKENS, reasoning_tags
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import TextSettings

_REMEDY = "download the checkpoint again"
_ADDED_TOKENS = re.compile(rb'"added_tokens"\s*:\s*')
_MAX_ADDED_BYTES = 8 * 1024 * 1024

JsonObject = Mapping[str, object]


def text_settings_from_hf(
    tokenizer_config: JsonObject | None,
    generation_config: JsonObject | None,
    config: JsonObject,
    tokenizer_json: bytes,
) -> TextSettings:
    """Which ids begin and end a text, and the reasoning tags. Raises FormatError or UnsupportedError."""
    named = tokenizer_config or {}
    tokenizer = Tokenizer.from_json(tokenizer_json, TextSettings())
    _check_added_ids(tokenizer, tokenizer_json)
    bos_id = _bos_id(named, config, tokenizer)
    eos_ids = _eos_ids(named, generation_config or {}, config, tokenizer)
    bos_token = "" if bos_id is None else _spelling(tokenizer, bos_id)
    eos_token = _token_name(named, "eos_token") or (_spelling(tokenizer, eos_ids[0]) if eos_ids else "")
    template = chat_template_from_hf(tokenizer_config, None)
    start, end = reasoning_tags(lambda token: tokenizer.token_id(token) is not None, template)
    return TextSettings(
        bos_id=bos_id,
        eos_ids=eos_ids,
        add_bos=bos_id is not None and _adds_bos(named, tokenizer, bos_id),
        bos_token=bos_token,
        eos_token=eos_token,
        reasoning_start=start,
        reasoning_end=end,
    )


def chat_template_from_hf(tokenizer_config: JsonObject | None, chat_template_jinja: str | None) -> str | None:
    """The Jinja2 source: the file of its own, else the entry in tokenizer_config (of several, "default"). Or None."""
    if chat_template_jinja:
        return chat_template_jinja
    entry = (tokenizer_config or {}).get("chat_template")
    if isinstance(entry, list):
        entry = next((_template_of(item) for item in entry if _name_of(item) == "default"), None)
    if entry is not None and not isinstance(entry, str):
        raise FormatError(f"tokenizer_config.json's chat_template is not text; {_REMEDY}")
    return entry or None


def _name_of(item: object) -> object:
    return item.get("name") if isinstance(item, Mapping) else None


def _template_of(item: object) -> object:
    return item.get("template") if isinstance(item, Mapping) else None


def _bos_id(named: JsonObject, config: JsonObject, tokenizer: Tokenizer) -> int | None:
    """By name if tokenizer_config speaks of it at all (null there means none), else by the id in config."""
    if "bos_token" not in named:
        ids = _ids(config, "bos_token_id", tokenizer)
        return ids[0] if ids else None
    name = _token_name(named, "bos_token")
    return tokenizer.token_id(name) if name else None


def _eos_ids(
    named: JsonObject, generation_config: JsonObject, config: JsonObject, tokenizer: Tokenizer
) -> tuple[int, ...]:
    name = _token_name(named, "eos_token")
    ids = [tokenizer.token_id(name)] if name else []
    ids += _ids(generation_config, "eos_token_id", tokenizer) + _ids(config, "eos_token_id", tokenizer)
    ids += [tokenizer.special_tokens.get(token) for token in END_OF_TURN_TOKENS]
    return tuple(dict.fromkeys(token_id for token_id in ids if token_id is not None))


def _adds_bos(named: JsonObject, tokenizer: Tokenizer, bos_id: int) -> bool:
    """An explicit flag decides; without one, what tokenizer.json's own post-processor does."""
    flag = named.get("add_bos_token")
    if flag is None:
        return tokenizer.prefix_id == bos_id
    if not isinstance(flag, bool):
        raise FormatError(f"tokenizer_config.json's add_bos_token is neither true nor false; {_REMEDY}")
    return flag


def _token_name(named: JsonObject, key: str) -> str | None:
    """A token is given as text or as an object with its flags; null and "" mean none."""
    value = named.get(key)
    if isinstance(value, Mapping):
        value = value.get("content")
    if value is not None and not isinstance(value, str):
        raise FormatError(f"tokenizer_config.json's {key} is not text; {_REMEDY}")
    return value or None


def _ids(values: JsonObject, key: str, tokenizer: Tokenizer) -> list[int]:
    """One id or a list of them. An id outside the vocabulary (configs of resized models have them) names nothing."""
    value = values.get(key)
    ids = value if isinstance(value, list) else [] if value is None else [value]
    found = [token_id for token_id in ids if isinstance(token_id, int) and not isinstance(token_id, bool)]
    if len(found) != len(ids):
        raise FormatError(f"the checkpoint's {key} is not a token id; {_REMEDY}")
    return [token_id for token_id in found if tokenizer.token_bytes(token_id)]


def _spelling(tokenizer: Tokenizer, token_id: int) -> str:
    return tokenizer.token_bytes(token_id).decode("utf-8", errors="replace")


def _check_added_ids(tokenizer: Tokenizer, tokenizer_json: bytes) -> None:
    """The library numbers added tokens itself if the file leaves gaps, silently; then every id after would be wrong."""
    for entry in _added_entries(tokenizer_json):
        content, declared = entry.get("content"), entry.get("id")
        if isinstance(content, str) and content and tokenizer.token_id(content) != declared:
            raise FormatError(f"tokenizer.json gives {content[:80]!r} an id that is not its place; {_REMEDY}")


def _added_entries(tokenizer_json: bytes) -> list[JsonObject]:
    """Only this list is parsed here, not the 150,000 words after it."""
    place = _ADDED_TOKENS.search(tokenizer_json)
    if place is None:
        return []
    text = tokenizer_json[place.end() : place.end() + _MAX_ADDED_BYTES].decode("utf-8", errors="replace")
    try:
        entries, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"tokenizer.json's added_tokens are not valid JSON; {_REMEDY}") from error
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
