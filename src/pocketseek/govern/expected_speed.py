"""How long a pass and a prompt are expected to take. The one estimate, for `--min-speed` and for what fits a device.

A token of an answer takes the longer of two times: storage's for the weights that are streamed, and the processor's for
reading all weights (and keys and values) from memory. A token of a prompt takes its multiply-adds. Rates are those that
passes were seen to reach, or that passes of a usual shape were measured to reach in each format; or else what a machine
reaches at most times the share that the kernels reach: those shares were measured on one kind of server
(docs/lab-notes.md) and are *unmeasured on a device*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

READ_SHARE = 0.85  # of what can be read from memory, a pass with one token reaches
MAPPED_SHARE = 0.93  # of what passes were measured to reach, they reach in the pages of a mapped file
KV_SHARE = 0.3  # of what can be read from memory, attention gets through in keys and values (1.5B 0.31, demo 0.23)
STREAM_SHARE = 0.9  # of what plain reads give, streaming beside computing reaches
LOAD_SHARE = 0.5  # of plain reads, page faults reach when a model is read for the first time
ATTENTION_SHARE = 0.4  # of the float peak: K and V are multiplied as floats
OPEN_S = 0.2  # the tokenizer and the rest, before weights are read
PASS_OVERHEAD_S = 0.0002  # planning, committing, handing on
SAMPLING_S_PER_ENTRY = 3e-9  # of the vocabulary, with peaked logits as text has them (0.43 ms for 152 000)
LAYER_S = 25e-6  # what one thread does alone in a layer: norms, rope, waiting for each other
LONG_READ_BYTES = 256 << 20  # of weights: from there on the speed that storage keeps up counts
PASS_TOKENS = 256  # of a prompt, in one pass

# Of the int8 peak (of the float peak for f16 and f32), passes of many tokens reach, attention apart. From the times of
# kernels (AVX-512: 85 % in q4p, 61 % in q4s, 55 % in q4a, 56 % in q8s, 88 % in f16) and what is beside them in a pass.
# Those of q6s are predicted from the number of instructions in its loops beside q4s and q8s.
_PREFILL_SHARES: Mapping[str, float] = {
    "q4p": 0.82,
    "q4s": 0.59,
    "q4a": 0.54,
    "q6s": 0.52,
    "q8s": 0.54,
    "f16": 0.87,
    "f32": 0.78,
}
_AVX2_SHARES: Mapping[str, float] = {
    "q4p": 0.55,
    "q4s": 0.55,
    "q4a": 0.52,
    "q6s": 0.40,
    "q8s": 0.32,
    "f16": 0.82,
    "f32": 0.74,
}
_FLOATS = frozenset({"f16", "f32"})


@dataclass(frozen=True)
class FormatRates:
    """read_bytes_per_s: of weights in this format by a pass with one token; multiply_adds_per_s: by one of many."""

    format: str
    read_bytes_per_s: float
    multiply_adds_per_s: float


@dataclass(frozen=True)
class MachineFigures:
    """What a machine reaches at most. flash, direct: (bytes of one read, bytes per second), the smallest read first, by
    one reader, through the page cache and past it.

    streaming_bytes_per_s: in the way that streaming reads; long_read_bytes_per_s: through the page cache, for seconds,
    which is less where something before the storage fills up. 0.0: not measured. Rates of arithmetic are None if they
    were not measured. passes: what passes reach, for the formats that were measured; layer_s: what a layer takes
    whatever its size. is_estimate: nothing was measured, memory's speed is the peak that is published of the chip, so
    that speeds are upper limits.
    """

    kernels: str
    num_threads: int
    read_bandwidth_bytes_per_s: float
    int8_multiply_adds_per_s: float | None
    f32_multiply_adds_per_s: float | None
    flash: tuple[tuple[int, float], ...] = ()
    direct: tuple[tuple[int, float], ...] = ()
    streaming_bytes_per_s: float = 0.0
    long_read_bytes_per_s: float = 0.0
    passes: tuple[FormatRates, ...] = ()
    layer_s: float = LAYER_S
    is_estimate: bool = False

    @property
    def flash_bytes_per_s(self) -> float:
        return max((rate for _, rate in self.flash), default=0.0)

    def read_s(self, weights: Sequence[tuple[str, float]], num_bytes: float) -> float:
        """Of all num_bytes from memory in a pass with one token. weights: bytes by format, of those in layers; what is
        not in layers is read as they are on average."""
        usual = READ_SHARE * self.read_bandwidth_bytes_per_s
        rates = {one.format: MAPPED_SHARE * one.read_bytes_per_s for one in self.passes}
        in_layers = sum(count for _, count in weights)
        if not in_layers:
            return num_bytes / usual
        return num_bytes / in_layers * sum(count / rates.get(name, usual) for name, count in weights)

    @property
    def best_read_bytes_per_s(self) -> float:
        """That can be kept up."""
        best = max((rate for _, rate in (*self.flash, *self.direct)), default=0.0)
        short = self.streaming_bytes_per_s or best
        return min(short, self.long_read_bytes_per_s) if self.long_read_bytes_per_s else short


@dataclass(frozen=True)
class PassTime:
    """computing_s: reading weights, keys and values from memory, which computing waits for. storage_s: streaming.
    waits: neither goes on while the other does, as with experts, which nobody can ask for before they are chosen."""

    computing_s: float
    storage_s: float
    waits: bool = False

    @property
    def seconds(self) -> float:
        return self.computing_s + self.storage_s if self.waits else max(self.computing_s, self.storage_s)

    @property
    def storage_bound(self) -> bool:
        return self.storage_s > self.computing_s


def pass_time(
    weights_bytes: float,
    streamed_bytes: float,
    *,
    memory_bytes_per_s: float,
    storage_bytes_per_s: float,
    kv_bytes: float = 0.0,
    waits: bool = False,
) -> PassTime:
    """Of a pass with one token. The rates are those that passes reach with weights. kv_bytes: of its context."""
    kv_bytes_per_s = KV_SHARE / READ_SHARE * memory_bytes_per_s
    return PassTime(
        weights_bytes / memory_bytes_per_s + kv_bytes / kv_bytes_per_s,
        streamed_bytes / storage_bytes_per_s if streamed_bytes > 0 else 0.0,
        waits,
    )


def decode_overhead_s(vocab_size: int, num_layers: int, layer_s: float = LAYER_S) -> float:
    """What a token of an answer takes beside reading, sampled."""
    return PASS_OVERHEAD_S + SAMPLING_S_PER_ENTRY * vocab_size + layer_s * num_layers


def prompt_token_s(
    multiply_adds: Sequence[tuple[str, int]], attention_multiply_adds: float, figures: MachineFigures
) -> float | None:
    """Of the arithmetic of one token of a prompt. multiply_adds: by format of the weights; None: not measured."""
    int8, floats = figures.int8_multiply_adds_per_s, figures.f32_multiply_adds_per_s
    if int8 is None or floats is None:
        return None
    shares = _AVX2_SHARES if figures.kernels == "avx2" else _PREFILL_SHARES
    rates = {name: share * (floats if name in _FLOATS else int8) for name, share in shares.items()}
    rates |= {one.format: one.multiply_adds_per_s for one in figures.passes}
    matrices_s = sum(count / rates[name] for name, count in multiply_adds)
    return matrices_s + attention_multiply_adds / (ATTENTION_SHARE * floats)


def load_to_first_token_s(weights_bytes: int, figures: MachineFigures) -> float | None:
    """With nothing of it in memory; None if storage was not measured."""
    if not figures.flash:
        return None
    rate = figures.flash_bytes_per_s
    if figures.long_read_bytes_per_s and weights_bytes >= LONG_READ_BYTES:
        rate = min(rate, figures.long_read_bytes_per_s)
    return OPEN_S + weights_bytes / (LOAD_SHARE * rate)
