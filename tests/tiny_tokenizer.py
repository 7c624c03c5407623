"""A byte-level BPE tokenizer of about 300 tokens, as `tokenizer.json` and as GGUF metadata."""

from __future__ import annotations

import json
from dataclasses import dataclass

BOS, EOS = "<|begin|>", "<|end|>"
SPECIAL_TOKENS = (BOS, EOS, "<|system|>", "<|user|>", "<|assistant|>", "<think>", "</think>")
_WORDS = (
    "the",
    " the",
    "and",
    " and",
    "ing",
    " is",
    " of",
    " to",
    "er",
    "ou",
    "cap",
    " capital",
    "France",
    " Paris",
    "你",
)
_NORMAL, _CONTROL, _UNUSED = 1, 3, 5
_QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_characters() -> list[str]:
    """The printable character that stands for each byte in byte-level BPE."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in visible else chr(next(others)) for byte in range(256)]


@dataclass(frozen=True)
class TinyTokenizer:
    """tokens by id: 256 bytes, merged pieces, special tokens. pre: the GGUF name of what splits text into words."""

    pre: str
    tokens: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]

    @property
    def json(self) -> bytes:
        """The contents of tokenizer.json."""
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        splits = {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": _QWEN2_SPLIT}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
            ],
        }
        num_plain = len(self.tokens) - len(SPECIAL_TOKENS)
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        parts: dict[str, object] = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {"id": num_plain + number, "content": token} | flags for number, token in enumerate(SPECIAL_TOKENS)
            ],
            "normalizer": {"type": "NFC"} if self.pre == "qwen2" else None,
            "pre_tokenizer": splits if self.pre == "qwen2" else byte_level,
            "post_processor": None,
            "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "vocab": {token: token_id for token_id, token in enumerate(self.tokens[:num_plain])},
                "merges": [" ".join(pair) for pair in self.merges],
            },
        }
        return json.dumps(parts, ensure_ascii=False).encode("utf-8")

    def gguf_metadata(self, vocab_size: int, *, add_bos: bool) -> dict[str, object]:
        """The tokenizer.ggml.* keys; ids up to vocab_size are filled with unused tokens, as converters do."""
        unused = [f"[PAD{token_id}]" for token_id in range(len(self.tokens), vocab_size)]
        num_plain = len(self.tokens) - len(SPECIAL_TOKENS)
        return {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": self.pre,
            "tokenizer.ggml.tokens": [*self.tokens, *unused],
            "tokenizer.ggml.token_type": [_NORMAL] * num_plain
            + [_CONTROL] * len(SPECIAL_TOKENS)
            + [_UNUSED] * len(unused),
            "tokenizer.ggml.merges": [" ".join(pair) for pair in self.merges],
            "tokenizer.ggml.bos_token_id": self.tokens.index(BOS),
            "tokenizer.ggml.eos_token_id": self.tokens.index(EOS),
            "tokenizer.ggml.add_bos_token": add_bos,
        }


def tiny_tokenizer(pre: str = "gpt-2") -> TinyTokenizer:
    characters = byte_characters()
    merges: list[tuple[str, str]] = []
    for word in _WORDS:
        letters = [characters[byte] for byte in word.encode("utf-8")]
        merged = letters[0]
        for letter in letters[1:]:
            if (merged, letter) not in merges:
                merges.append((merged, letter))
            merged += letter
    pieces = list(dict.fromkeys(left + right for left, right in merges))
    return TinyTokenizer(pre, (*characters, *pieces, *SPECIAL_TOKENS), tuple(merges))
