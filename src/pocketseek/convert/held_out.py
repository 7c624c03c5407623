"""What a conversion costs in quality, on text that it has not seen: the package against its source.

The text goes through both models layer by layer, in float32 and with the weights as they are stored: the source's as
its own format stands for, the package's as the runtime will read them. So memory holds one layer and the text's hidden
states twice, whatever the model weighs. What the runtime does besides, rounding activations to int8, is not in it
(`eval --against` has it: docs/convert.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.calibration_text import WINDOW, check_is_text
from pocketseek.convert.layer_math import Attention, Floats
from pocketseek.convert.layer_walk import Layer, logits_of
from pocketseek.convert.static_walk import FloatWeights, table_name
from pocketseek.errors import UsageError
from pocketseek.kernels.divergence import Comparison, Divergence
from pocketseek.package.manifest import JsonValue
from pocketseek.text.tokenizer import Tokenizer

DEFAULT_TOKENS = 2048  # of each kind
FEWEST_TOKENS = 64
_LOGITS_BYTES = 128 << 20  # of one model, together
_HEAD_VALUES = 64 << 20  # of the head, together: 256 MB

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class HeldOutText:
    """windows (number, length): of one kind of text, all texts with the same length."""

    kind: str
    windows: NDArray[np.int32]


def held_out_texts(
    texts: Mapping[str, str], tokenizer: Tokenizer, *, context_length: int, max_tokens: int = DEFAULT_TOKENS
) -> list[HeldOutText]:
    """By kind; max_tokens of each at most, in windows spread evenly over it. Raises UsageError for a text that is too
    short, FormatError for what is none."""
    for kind, text in texts.items():
        check_is_text(text, f"the text {kind!r} to check with")
    encoded = {kind: np.array(tokenizer.encode(text), np.int32) for kind, text in texts.items()}
    for kind, ids in encoded.items():
        if len(ids) < FEWEST_TOKENS:
            raise UsageError(
                f"the text {kind!r} to check with has {len(ids)} tokens, {FEWEST_TOKENS} are the least; give more text"
            )
    length = min(WINDOW, context_length, max_tokens, *map(len, encoded.values()))
    return [HeldOutText(kind, _windows(ids, length, max_tokens)) for kind, ids in encoded.items()]


def read_by_model(text: HeldOutText, tokenizer: Tokenizer) -> str:
    """The parts of a text that are measured on."""
    return "\n".join(tokenizer.decode(window.tolist(), skip_special=False) for window in text.windows)


def measure_held_out(
    source: FloatWeights, package: FloatWeights, texts: Sequence[HeldOutText], progress: Progress | None = None
) -> dict[str, JsonValue]:
    """For the manifest. progress(done, total) counts layers of both models, and the head's rows as one more each."""
    windows = np.concatenate([text.windows for text in texts])
    num_layers = source.model.num_layers
    total = 2 * num_layers + 2
    hidden: list[Floats] = []
    for weights in (source, package):
        done = len(hidden) * num_layers

        def tell(layer: int, done: int = done) -> None:
            _tell(progress, done + layer, total)

        hidden.append(_walked(weights, windows, tell))
    found = _compared(source, package, hidden[0], hidden[1], texts)
    _tell(progress, total, total)
    return {
        "window": int(windows.shape[1]),
        "kinds": {text.kind: _rounded(one) for text, one in zip(texts, found[:-1], strict=True)},
        "all": _rounded(found[-1]),
    }


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _windows(ids: NDArray[np.int32], length: int, max_tokens: int) -> NDArray[np.int32]:
    count = max(1, min(max_tokens, len(ids)) // length)
    starts = np.linspace(0, len(ids) - length, count).astype(int)
    return np.stack([ids[start : start + length] for start in starts])


def _walked(weights: FloatWeights, windows: NDArray[np.int32], tell: Callable[[int], None]) -> Floats:
    """The hidden states after the last layer (tokens, size), before the norm."""
    config = weights.model
    attention = Attention(config, weights.inv_freq, windows.shape[1])
    hidden = weights.rows(table_name(weights), windows.reshape(-1))
    for layer in range(config.num_layers):
        tell(layer)
        Layer.of(weights, layer, attention).run(hidden, windows.shape[1])
    return hidden


def _compared(
    source: FloatWeights, package: FloatWeights, ours: Floats, theirs: Floats, texts: Sequence[HeldOutText]
) -> list[Comparison]:
    """Of each kind and of all. ours: the source's hidden states."""
    heads = [_Head(source), _Head(package)]
    everything, found, first = Divergence(), [], 0
    for text in texts:
        one, length = Divergence(), text.windows.shape[1]
        for window in text.windows:
            for rows in heads[0].chunks(length):
                part = slice(first + rows.start, first + rows.stop)
                reference, model = heads[0].logits(ours[part]), heads[1].logits(theirs[part])
                following = window[rows.start + 1 : rows.stop + 1].tolist()
                for into in (one, everything):
                    into.add(model, reference, following)
            first += length
        found.append(one.comparison())
    return [*found, everything.comparison()]


class _Head:
    """Its matrix is kept if it is small, and decoded a part at a time again and again if not."""

    def __init__(self, weights: FloatWeights) -> None:
        self._weights = weights
        size = weights.model.vocab_size * weights.model.hidden_size
        self._kept = weights.matrix("head.weight") if size <= _HEAD_VALUES else None

    def chunks(self, length: int) -> Iterator[slice]:
        step = max(1, min(length, _LOGITS_BYTES // (4 * self._weights.model.vocab_size)))
        for start in range(0, length, step):
            yield slice(start, min(start + step, length))

    def logits(self, hidden: Floats) -> Floats:
        config = self._weights.model
        if self._kept is not None:
            return logits_of(self._weights, hidden, self._kept)
        result = np.empty((len(hidden), config.vocab_size), np.float32)
        step = _HEAD_VALUES // config.hidden_size
        for start in range(0, config.vocab_size, step):
            ids = np.arange(start, min(start + step, config.vocab_size), dtype=np.int32)
            part = logits_of(self._weights, hidden, self._weights.rows("head.weight", ids))
            result[:, start : start + len(ids)] = part
        return result


def _rounded(found: Comparison) -> dict[str, JsonValue]:
    """perplexity, source_perplexity: of the text. kl: of the source's distributions to the package's, in nats."""
    values = asdict(found)
    values["source_perplexity"] = values.pop("reference_perplexity")
    return {name: value if isinstance(value, int) else float(f"{value:.5g}") for name, value in values.items()}
