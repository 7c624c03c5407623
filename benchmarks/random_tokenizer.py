"""A tokenizer of any size for random checkpoints: bytes, two merges, fillers, two special tokens at the end.

It is byte-level BPE in the manner of Qwen2, so every text can be encoded; the fillers exist to give the vocabulary the
size of the model that is imitated, and no text ever becomes one of them.
"""

from __future__ import annotations

import json

NUM_BYTES = 256
MERGES = ("t h", "th e")
SMALLEST_VOCABULARY = NUM_BYTES + len(MERGES) + 2

NORMAL, CONTROL = 1, 3  # GGUF token types


def tokens(vocab_size: int) -> list[str]:
    """Texts by id. The last two are the special tokens, see `bos_id` and `eos_id`."""
    if vocab_size < SMALLEST_VOCABULARY:
        raise SystemExit(f"a vocabulary of {vocab_size} is too small; use at least {SMALLEST_VOCABULARY}")
    known = [*_byte_letters(), *(merge.replace(" ", "") for merge in MERGES)]
    fillers = [f"<filler {index}>" for index in range(len(known), vocab_size - 2)]
    return [*known, *fillers, "<|begin|>", "<|end|>"]


def bos_id(vocab_size: int) -> int:
    return vocab_size - 2


def eos_id(vocab_size: int) -> int:
    return vocab_size - 1


def gguf_metadata(vocab_size: int) -> dict[str, object]:
    """The tokenizer.* keys of a GGUF file."""
    types = [NORMAL] * (vocab_size - 2) + [CONTROL] * 2
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": tokens(vocab_size),
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": list(MERGES),
        "tokenizer.ggml.bos_token_id": bos_id(vocab_size),
        "tokenizer.ggml.eos_token_id": eos_id(vocab_size),
        "tokenizer.ggml.add_bos_token": False,
    }


def tokenizer_json(vocab_size: int) -> bytes:
    """The same as a Hugging Face tokenizer.json."""
    texts = tokens(vocab_size)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": index, "content": texts[index], **flags} for index in (bos_id(vocab_size), eos_id(vocab_size))]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    vocab = {text: index for index, text in enumerate(texts[:-2])}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocab, "merges": [merge.split(" ") for merge in MERGES]},
    }
    return json.dumps(document).encode()


def _byte_letters() -> list[str]:
    """The printable stand-in of every byte, as GPT-2 chose them: itself, or the next code from 256 on."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    letters, spare = [], NUM_BYTES
    for byte in range(NUM_BYTES):
        letters.append(chr(byte) if byte in printable else chr(spare))
        spare += byte not in printable
    return letters
