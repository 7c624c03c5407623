"""A GGUF file's tokenizer as `tokenizer.json`: byte-level BPE (`gpt2`) and SentencePiece-style (`llama`).

The result treats text as the model's own `tokenizer.json` does, rebuilt from `tokenizer.ggml.*` metadata: tokens keep
their ids, control and user-defined tokens become added tokens, the pre-tokenizer is looked up by name. Tokens marked
unused (padding of the embedding matrix) are left out; no text ever becomes or comes from them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pocketseek.errors import FormatError
from pocketseek.text.gguf_vocabulary import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Vocabulary,
    read_vocabulary,
    text_value,
)
from pocketseek.text.pre_tokenizers import JsonObject, byte_level, pre_tokenizer
from pocketseek.text.special_tokens import reasoning_tags
from pocketseek.text.spm_merges import merges_from_scores
from pocketseek.types import TextSettings

SPACE_MARK = "▁"
_CHAT_TEMPLATE_KEY = "tokenizer.chat_template"
_REMEDY = "download the checkpoint again or convert it from Hugging Face"


def tokenizer_json_from_gguf(metadata: Mapping[str, object]) -> bytes:
    """The bytes of a `tokenizer.json`. Raises FormatError or UnsupportedError."""
    vocabulary = read_vocabulary(metadata)
    parts = _sentencepiece(vocabulary) if vocabulary.kind == "llama" else _byte_level_bpe(vocabulary)
    parts = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": _added(vocabulary)} | parts
    try:
        return json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError as error:
        raise FormatError(f"a token of the GGUF is not valid Unicode; {_REMEDY}") from error


def text_settings_from_gguf(metadata: Mapping[str, object]) -> TextSettings:
    """Which ids begin and end a text, and the reasoning tags. Raises FormatError or UnsupportedError."""
    vocabulary = read_vocabulary(metadata)
    tokens, bos_id, eos_ids = vocabulary.tokens, vocabulary.bos_id, vocabulary.eos_ids
    start, end = reasoning_tags(set(tokens).__contains__, chat_template_from_gguf(metadata))
    return TextSettings(
        bos_id=bos_id,
        eos_ids=eos_ids,
        add_bos=bos_id is not None and _adds_bos(vocabulary),
        bos_token="" if bos_id is None else tokens[bos_id],
        eos_token=tokens[eos_ids[0]] if eos_ids else "",
        reasoning_start=start,
        reasoning_end=end,
    )


def chat_template_from_gguf(metadata: Mapping[str, object]) -> str | None:
    """The Jinja2 source of the chat template, None if the file brings none. Raises FormatError."""
    return text_value(metadata, _CHAT_TEMPLATE_KEY) or None


def _adds_bos(vocabulary: Vocabulary) -> bool:
    if vocabulary.add_bos is not None:
        return vocabulary.add_bos
    return vocabulary.kind == "llama" or pre_tokenizer(vocabulary.pre).add_bos


def _added(vocabulary: Vocabulary) -> list[JsonObject]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": token_id, "content": token} | flags | {"special": token_id in vocabulary.special_ids}
        for token_id, (token, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True))
        if kind in (UNKNOWN, CONTROL, USER_DEFINED) and token
    ]


def _byte_level_bpe(vocabulary: Vocabulary) -> JsonObject:
    words = pre_tokenizer(vocabulary.pre)
    return {
        "normalizer": words.normalizer,
        "pre_tokenizer": words.json,
        "post_processor": None,
        "decoder": byte_level(use_regex=True),
        "model": _bpe(_used_tokens(vocabulary), vocabulary.merges, ignore_merges=words.ignore_merges),
    }


def _used_tokens(vocabulary: Vocabulary) -> dict[str, int]:
    """Ids by token, after checking that every merge joins two tokens to a third."""
    ids = {token: token_id for token_id, token in enumerate(vocabulary.tokens)}
    named = {part for left, right in vocabulary.merges for part in (left, right, left + right)}
    if unknown := named - ids.keys():
        raise FormatError(
            f"the GGUF's tokenizer.ggml.merges name {min(unknown)[:80]!r}, which is not a token; {_REMEDY}"
        )
    return {
        token: token_id
        for token, token_id in ids.items()
        if token and (vocabulary.types[token_id] != UNUSED or token in named)
    }


def _sentencepiece(vocabulary: Vocabulary) -> JsonObject:
    tokens, types = vocabulary.tokens, vocabulary.types
    scores = {
        token: score
        for token, kind, score in zip(tokens, types, vocabulary.scores, strict=True)
        if token and kind in (NORMAL, USER_DEFINED)
    }
    ids = {token: token_id for token_id, token in enumerate(tokens) if token and types[token_id] != UNUSED}
    unknown = None if vocabulary.unknown_id is None else tokens[vocabulary.unknown_id]
    unknown = unknown if unknown in ids else None
    model = _bpe(ids, merges_from_scores(scores), ignore_merges=False)
    model |= {"unk_token": unknown, "fuse_unk": True, "byte_fallback": BYTE in types}
    prefix: list[JsonObject] = [{"type": "Prepend", "prepend": SPACE_MARK}] if vocabulary.add_space_prefix else []
    strip: list[JsonObject] = (
        [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if vocabulary.add_space_prefix else []
    )
    return {
        "normalizer": {"type": "Sequence", "normalizers": [*prefix, _replace(" ", SPACE_MARK)]},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [_replace(SPACE_MARK, " "), {"type": "ByteFallback"}, {"type": "Fuse"}, *strip],
        },
        "model": model,
    }


def _replace(old: str, new: str) -> JsonObject:
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def _bpe(ids: dict[str, int], merges: object, *, ignore_merges: bool) -> JsonObject:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": ignore_merges,
        "vocab": ids,
        "merges": merges,
    }
