"""What the names of tokens say about them; the same rules for GGUF and Hugging Face checkpoints.

Checkpoints flag their control tokens carelessly: for `tokenizer.json`, DeepSeek's `<｜User｜>` is an ordinary token,
and many files name only one of the two or three tokens that end an answer. The names are reliable, so they decide too.
"""

from __future__ import annotations

import re
from collections.abc import Callable

REASONING_START = "<think>"
REASONING_END = "</think>"

# An answer is over when one of these control tokens comes, whatever the checkpoint says about eos.
END_OF_TURN_TOKENS = (
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|EOT|>",
    "<end_of_turn>",
    "<｜end▁of▁sentence｜>",
)

# DeepSeek's marks around tool calls. They are special tokens in its vocabularies, and yet shown in answers: whoever
# offers tools finds the calls by them (apps/tool_calls.py).
TOOL_TAGS = (
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁sep｜>",
)

_MARKER = re.compile(r"<\|[^|\s]+\|>|<｜[^｜\s]+｜>|<(?:start|end)_of_turn>")


def looks_special(token: str) -> bool:
    """True for names that mark roles and borders, `<|...|>` and `<｜...｜>`: such tokens never come from plain text."""
    return _MARKER.fullmatch(token) is not None


def reasoning_tags(has_token: Callable[[str], bool], chat_template: str | None) -> tuple[str, str]:
    """The tags around reasoning if the model has them as tokens or its template knows them, else two empty strings."""
    known = (has_token(REASONING_START) and has_token(REASONING_END)) or REASONING_END in (chat_template or "")
    return (REASONING_START, REASONING_END) if known else ("", "")
