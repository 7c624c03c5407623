"""Log-probabilities of an answer's tokens, as clients read them.

Chat answers: OpenAI's `logprobs.content`, and for what was reasoned DeepSeek's `logprobs.reasoning_content`. Raw
completions: OpenAI's older form of four lists. Only tokens that show are reported, see runtime/token_details.py.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable

from pocketseek.types import TokenDetail

Value = dict[str, object]


def chat_report(tokens: Iterable[TokenDetail]) -> Value:
    """The `logprobs` of a choice, or of a chunk of one."""
    values: dict[bool, list[Value]] = {False: [], True: []}
    for token in tokens:
        values[token.is_reasoning].append(_detail(token))
    report: Value = {"content": values[False] or None, "refusal": None}
    return report | {"reasoning_content": values[True]} if values[True] else report


def _detail(token: TokenDetail) -> Value:
    top = [_score(data, logprob) for data, logprob in token.top]
    return _score(token.data, token.logprob) | {"top_logprobs": top}


def _score(data: bytes, logprob: float) -> Value:
    return {"token": data.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(data)}


class TextReporter:
    """Of one raw completion: `report` for each of its pieces, in order. Offsets are characters of its text."""

    def __init__(self) -> None:
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def report(self, tokens: Iterable[TokenDetail]) -> Value:
        """The `logprobs` of a choice, or of a chunk of one."""
        names: list[str] = []
        scores: list[float] = []
        tops: list[dict[str, float]] = []
        offsets: list[int] = []
        for token in tokens:
            names.append(_name(token.data))
            scores.append(token.logprob)
            tops.append({_name(data): logprob for data, logprob in token.top})
            offsets.append(self._offset)
            self._offset += len(self._decoder.decode(token.data))
        return {"tokens": names, "token_logprobs": scores, "top_logprobs": tops, "text_offset": offsets}


def _name(data: bytes) -> str:
    """As OpenAI writes a token that is a part of a character: "bytes:\\xe2\\x80"."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
