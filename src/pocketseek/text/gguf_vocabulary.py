"""The `tokenizer.ggml.*` keys of a GGUF file, checked: types, lengths, ids in range, names unique.

Whatever the metadata holds, `read_vocabulary` returns a consistent Vocabulary or raises FormatError (wrong, missing or
contradictory values) or UnsupportedError (a kind of tokenizer that pocketseek does not rebuild).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.text.special_tokens import END_OF_TURN_TOKENS, looks_special

MAX_TOKENS = 1_000_000
MAX_TOKEN_CHARS = 4096

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

_PREFIX = "tokenizer.ggml."
_REMEDY = "download the checkpoint again or convert it from Hugging Face"


@dataclass(frozen=True)
class Vocabulary:
    """tokens and types by id. kind "gpt2" comes with merges, "llama" (SentencePiece) with scores.

    types is one of the six numbers above for every token. special_ids: control and unknown tokens.
    """

    kind: Literal["gpt2", "llama"]
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[tuple[str, str], ...]
    scores: tuple[float, ...]
    special_ids: frozenset[int]
    bos_id: int | None
    eos_ids: tuple[int, ...]
    unknown_id: int | None
    add_bos: bool | None
    add_space_prefix: bool


def read_vocabulary(metadata: Mapping[str, object]) -> Vocabulary:
    """Everything the tokenizer needs. Raises FormatError or UnsupportedError."""
    kind = _kind(metadata)
    tokens = _tokens(metadata)
    types = _types(metadata, tokens)
    is_spm = kind == "llama"
    bos_id = _token_id(metadata, "bos", tokens, default=1 if is_spm else None)
    add_bos = _flag(metadata, "add_bos_token")
    if add_bos and bos_id is None:
        raise _wrong("add_bos_token", "is true but there is no bos_token_id")
    _flag(metadata, "add_eos_token")  # checked, not used: a prompt is never ended
    return Vocabulary(
        kind=kind,
        pre=_text(metadata, "pre") or "default",
        tokens=tokens,
        types=types,
        merges=() if is_spm else _merges(metadata),
        scores=_scores(metadata, tokens) if is_spm else (),
        special_ids=frozenset(token_id for token_id, kind in enumerate(types) if kind in (UNKNOWN, CONTROL)),
        bos_id=bos_id,
        eos_ids=_eos_ids(metadata, tokens, types, default=2 if is_spm else None),
        unknown_id=_token_id(metadata, "unknown", tokens, default=0 if is_spm else None),
        add_bos=add_bos,
        add_space_prefix=_flag(metadata, "add_space_prefix") is not False and is_spm,
    )


def text_value(metadata: Mapping[str, object], key: str) -> str | None:
    """The text under this full key, None if absent. Raises FormatError if it is something else."""
    value = metadata.get(key)
    if value is not None and not isinstance(value, str):
        raise FormatError(f"the GGUF's {key} is not text; {_REMEDY}")
    return value


def _kind(metadata: Mapping[str, object]) -> Literal["gpt2", "llama"]:
    kind = _text(metadata, "model")
    if kind is None:
        raise _wrong("model", "is missing: the file brings no tokenizer")
    if kind == "gpt2":
        return "gpt2"
    if kind == "llama":
        return "llama"
    raise UnsupportedError(
        f"the GGUF's tokenizer kind {kind[:80]!r} is not supported (gpt2 and llama are); "
        "convert the model's Hugging Face checkpoint, which brings its own tokenizer.json"
    )


def _tokens(metadata: Mapping[str, object]) -> tuple[str, ...]:
    tokens = tuple(_strings(metadata, "tokens"))
    if not 0 < len(tokens) <= MAX_TOKENS:
        raise _wrong("tokens", f"holds {len(tokens)} tokens, not 1 to {MAX_TOKENS}")
    if len(set(tokens)) != len(tokens):
        raise _wrong("tokens", "holds a token twice")
    if any(len(token) > MAX_TOKEN_CHARS for token in tokens):
        raise _wrong("tokens", f"holds a token of more than {MAX_TOKEN_CHARS} characters")
    return tokens


def _types(metadata: Mapping[str, object], tokens: tuple[str, ...]) -> tuple[int, ...]:
    if _PREFIX + "token_type" not in metadata:
        types = [NORMAL] * len(tokens)
    else:
        types = _integers(metadata, "token_type")
        _check_length("token_type", types, tokens)
    control = set(END_OF_TURN_TOKENS)
    return tuple(
        CONTROL if token in control or (kind != NORMAL and looks_special(token)) else _known_type(kind)
        for token, kind in zip(tokens, types, strict=True)
    )


def _known_type(kind: int) -> int:
    return kind if NORMAL <= kind <= BYTE else NORMAL


def _merges(metadata: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    merges = []
    for line in _strings(metadata, "merges"):
        left, _, right = line[1:].partition(" ")  # from 1: the left part may itself begin with a space
        if not right:
            raise _wrong("merges", f"holds {line[:80]!r}, which is not a pair")
        merges.append((line[0] + left, right))
    return tuple(merges)


def _scores(metadata: Mapping[str, object], tokens: tuple[str, ...]) -> tuple[float, ...]:
    scores = tuple(_numbers(metadata, "scores"))
    _check_length("scores", scores, tokens)
    if not all(math.isfinite(score) for score in scores):
        raise _wrong("scores", "holds a value that is not finite")
    return scores


def _eos_ids(
    metadata: Mapping[str, object], tokens: tuple[str, ...], types: tuple[int, ...], default: int | None
) -> tuple[int, ...]:
    ids = [_token_id(metadata, "eos", tokens, default)]
    ids += [_token_id(metadata, name, tokens, None) for name in ("eot", "eom")]
    control = {token: token_id for token_id, token in enumerate(tokens) if types[token_id] == CONTROL}
    ids += [control.get(name) for name in END_OF_TURN_TOKENS]
    return tuple(dict.fromkeys(token_id for token_id in ids if token_id is not None))


def _token_id(metadata: Mapping[str, object], name: str, tokens: tuple[str, ...], default: int | None) -> int | None:
    value = metadata.get(f"{_PREFIX}{name}_token_id")
    if value is None:
        return default if default is not None and default < len(tokens) else None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < len(tokens):
        raise _wrong(f"{name}_token_id", f"is {str(value)[:40]!r}, not the id of one of {len(tokens)} tokens")
    return value


def _text(metadata: Mapping[str, object], name: str) -> str | None:
    return text_value(metadata, _PREFIX + name)


def _flag(metadata: Mapping[str, object], name: str) -> bool | None:
    value = metadata.get(_PREFIX + name)
    if value is not None and not isinstance(value, bool):
        raise _wrong(name, "is neither true nor false")
    return value


def _list(metadata: Mapping[str, object], name: str) -> list[object]:
    value = metadata.get(_PREFIX + name)
    if not isinstance(value, list):
        raise _wrong(name, "is missing or not a list")
    return value


def _strings(metadata: Mapping[str, object], name: str) -> list[str]:
    values = [item for item in _list(metadata, name) if isinstance(item, str)]
    _check_all(metadata, name, len(values))
    return values


def _integers(metadata: Mapping[str, object], name: str) -> list[int]:
    values = [item for item in _list(metadata, name) if isinstance(item, int) and not isinstance(item, bool)]
    _check_all(metadata, name, len(values))
    return values


def _numbers(metadata: Mapping[str, object], name: str) -> list[float]:
    numbers = (int, float)
    values = [float(x) for x in _list(metadata, name) if isinstance(x, numbers) and not isinstance(x, bool)]
    _check_all(metadata, name, len(values))
    return values


def _check_all(metadata: Mapping[str, object], name: str, num_good: int) -> None:
    if num_good != len(_list(metadata, name)):
        raise _wrong(name, "holds a value of the wrong type")


def _check_length(name: str, values: Sequence[object], tokens: tuple[str, ...]) -> None:
    if len(values) != len(tokens):
        raise _wrong(name, f"has {len(values)} entries for {len(tokens)} tokens")


def _wrong(name: str, problem: str) -> FormatError:
    return FormatError(f"the GGUF's {_PREFIX}{name} {problem}; {_REMEDY}")
