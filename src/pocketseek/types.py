"""Frozen values that cross rooms. No behaviour beyond small derived properties; no imports from other rooms.

Shapes are written (rows, columns) as numpy does; a weight matrix is (outputs, inputs).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pocketseek.shapes import MlaShape, MoeShape

RopeKind = Literal["none", "linear", "llama3", "yarn"]
FinishReason = Literal["stop", "length", "cancelled", "deadline", "error"]
Priority = Literal["interactive", "background"]
EngineKind = Literal["native", "onnx"]  # who computes: our own core, or ONNX Runtime
ConstraintKind = Literal["json_object", "json_schema", "regex", "lark"]
ToolForm = Literal["hermes", "deepseek", "deepseek_v31", "llama"]  # how a model writes tool calls, see docs/tools.md


@dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies were stretched. Already applied in the tensor `rope.inv_freq`; kept for the record.

    attention_factor multiplies cos and sin at run time (yarn's mscale; 1.0 for the other kinds).
    """

    kind: RopeKind = "none"
    factor: float = 1.0
    original_context: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float = 1.0


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a model: everything the runtime needs besides tensors and text files.

    moe: layers with experts. mla: attention over latents; then head_dim is that of a query, num_kv_heads is 1 (all
    heads share the latent).
    """

    family: str
    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    context_length: int
    rms_norm_eps: float
    rope_theta: float
    rope_scaling: RopeScaling = field(default_factory=RopeScaling)
    tied_embeddings: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    moe: MoeShape | None = None
    mla: MlaShape | None = None

    @property
    def queries_per_kv_head(self) -> int:
        return self.num_heads // self.num_kv_heads

    @property
    def rope_dim(self) -> int:
        """Values of a head that are rotated."""
        return self.mla.rope_dim if self.mla is not None else self.head_dim

    @property
    def is_sparse(self) -> bool:
        """Whether there are experts or latents, which not everything can do that dense models can."""
        return self.moe is not None or self.mla is not None

    def has_experts(self, layer: int) -> bool:
        return self.moe is not None and layer not in self.moe.dense_layers


@dataclass(frozen=True)
class TextSettings:
    """What the runtime must know about text beyond `tokenizer.json`; stored in the package as `text.json`.

    add_bos: `encode` puts bos_id in front of raw text (chat templates write their own).
    eos_ids: any of these ends an answer. reasoning_start/end: the tags that enclose reasoning, or empty.
    """

    bos_id: int | None = None
    eos_ids: tuple[int, ...] = ()
    add_bos: bool = False
    bos_token: str = ""
    eos_token: str = ""
    reasoning_start: str = "<think>"
    reasoning_end: str = "</think>"


@dataclass(frozen=True)
class ToolCall:
    """What an assistant asks to be done. arguments: JSON text, as the model wrote it. id: chosen by who parsed it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Tool:
    """A function that a model may ask for. parameters_json: a JSON schema of its arguments, an object."""

    name: str
    description: str = ""
    parameters_json: str = '{"type": "object", "properties": {}}'


@dataclass(frozen=True)
class Message:
    """One turn of a conversation: role is "system", "user", "assistant" or "tool".

    tool_calls: an assistant's. tool_call_id, name: of a "tool" message, whose content is the result of that call.
    """

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""


@dataclass(frozen=True)
class SamplingParams:
    """How the next token is chosen. temperature 0 is greedy; top_k 0, top_p 1 and min_p 0 switch those filters off.

    Penalties follow the OpenAI/Hugging Face meaning: repetition divides (multiplies, if negative) the logits of tokens
    seen in prompt and output; presence and frequency subtract for tokens seen in the output.
    seed None: a fresh one is drawn for the request.
    """

    temperature: float = 0.7
    top_k: int = 0
    top_p: float = 0.95
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None


@dataclass(frozen=True)
class Constraint:
    """What an answer must look like, see runtime/constrain.py. text: the JSON schema, the regular expression or the
    Lark grammar; "json_object" (any object) has none.
    """

    kind: ConstraintKind
    text: str = ""


@dataclass(frozen=True)
class Request:
    """One sequence to run. stop_ids end it (the id itself is not emitted as text).

    score_prompt: report the log-probability of every prompt token after the first (evaluation); used with max_tokens=0.
    score_from: of the prompt tokens from this position on only, so that what is before may be found computed.
    embed_prompt: report the mean of the prompt's last hidden states (runtime/pooling.py); only with max_tokens=0.
    logprobs: report the log-probability of every generated token, which takes a pass over the vocabulary.
    top_logprobs: 0 to 20 of the most likely tokens to report beside each generated one; needs logprobs.
    priority: somebody waits for it, or it may wait a moment, be merged with others and give way. Never changes a text.
    gathers: in the background, waits for others to be merged with; False: it gives way, but starts at once.
    client: whose it is; clients of one class get equal shares. deadline_s: seconds from submission after which the
    request ends with "deadline", whatever it has by then.
    constraint: only tokens that it allows are chosen; the answer ends with "stop" when nothing can follow.
    keep_on_disk: what was computed of the prompt may be kept there for the next one that begins so. kept_for: what it
    goes with when that is deleted (runtime/prefix/forgotten.py), the id of a conversation say.
    adapter: the name of an adapter of the model; empty: without; None: that of the engine that is asked.
    """

    prompt_ids: tuple[int, ...]
    max_tokens: int = 512
    sampling: SamplingParams = field(default_factory=SamplingParams)
    stop_ids: tuple[int, ...] = ()
    score_prompt: bool = False
    score_from: int = 0
    embed_prompt: bool = False
    logprobs: bool = True
    top_logprobs: int = 0
    priority: Priority = "interactive"
    gathers: bool = True
    client: str = ""
    deadline_s: float | None = None
    constraint: Constraint | None = None
    keep_on_disk: bool = True
    kept_for: str = ""
    adapter: str | None = None


@dataclass(frozen=True)
class Service:
    """How a request is to be served, for those who do not make `Request`s themselves; see there."""

    priority: Priority = "interactive"
    client: str = ""
    deadline_s: float | None = None
    keep_on_disk: bool = True
    kept_for: str = ""


@dataclass(frozen=True)
class TokenScore:
    """A token and the natural log of its probability under the model's distribution before sampling filters."""

    token_id: int
    logprob: float


@dataclass(frozen=True)
class TokenEvent:
    """One generated token, or the end of a request.

    token_id is None in an event that only finishes (max_tokens reached by 0, cancelled) and for a stop id.
    logprob is the natural log of the token's probability under the model's distribution before sampling filters; None
    if the request does without.
    top_logprobs: the most likely tokens at its place, best first, of equals the lower id; as many as were asked for.
    prompt_logprobs is set on the last event of a `score_prompt` request: a value for each prompt token after the first
    (and from `score_from` on).
    embedding: on the last event of an `embed_prompt` request that was not cut off: hidden_size float32 values.
    num_cached_prompt_tokens: prompt tokens that need not be computed; it says how an answer came about, not what it is.
    """

    token_id: int | None
    logprob: float | None = 0.0
    finish_reason: FinishReason | None = None
    prompt_logprobs: tuple[float, ...] | None = None
    num_cached_prompt_tokens: int = field(default=0, compare=False)
    top_logprobs: tuple[TokenScore, ...] = ()
    embedding: tuple[float, ...] | None = None


@dataclass(frozen=True)
class TokenDetail:
    """A token as text. data: the bytes that it stands for, maybe part of a character. top: as in TokenEvent, by bytes.

    is_reasoning: its text came out as reasoning; of a token that has a part in both, that of its first character.
    """

    token_id: int
    data: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...] = ()
    is_reasoning: bool = False


@dataclass(frozen=True)
class TextEvent:
    """A piece of an answer: `reasoning` is text inside the reasoning tags, `text` the answer proper; both in the event
    in which the one ends and the other begins.

    num_tokens: tokens generated so far. num_reasoning_tokens: those of them up to the end of the reasoning, tags
    included. The last event has a finish_reason. num_cached_prompt_tokens: as in TokenEvent.
    tokens: only if log-probabilities were asked for: those whose first character is in this piece, in order. What shows
    nothing (tags, special tokens, the space around reasoning, what a stop string cut away) is in no event's.
    """

    text: str = ""
    reasoning: str = ""
    num_tokens: int = 0
    finish_reason: FinishReason | None = None
    num_cached_prompt_tokens: int = field(default=0, compare=False)
    tokens: tuple[TokenDetail, ...] = ()
    num_reasoning_tokens: int = 0


@dataclass(frozen=True)
class Limits:
    """What the governor allows for the next pass. cores: those to compute on; empty: no restriction.

    max_pass_s: while interactive answers are written, prompt chunks are cut so that a pass stays below it (None: not).
    coalesce_s: how long background requests wait for others while no interactive one is here (0: not).
    num_pages: pages of KV memory; None: as many as the engine was opened with.
    weight_bytes: weights to keep in memory, streaming buffers included; None: all. max_pages: KV pages that could be
    had if somebody needed them; None: num_pages.
    duty: share of the time in which passes may run; the worker rests after each. background_duty: of that, while no
    interactive request is here. 0: nothing runs. background_waits: while interactive requests run.
    frequency_share: of the highest clock, as a cap on all cores, where the system lets us.
    may_hurry: a rest may end because somebody interactive arrives (it saves power, not the phone from heat).
    """

    num_threads: int
    max_tokens_per_pass: int = 256
    max_sequences: int = 16
    cores: tuple[int, ...] = ()
    max_pass_s: float | None = 0.25
    coalesce_s: float = 1.0
    num_pages: int | None = None
    weight_bytes: int | None = None
    max_pages: int | None = None
    duty: float = 1.0
    background_duty: float = 1.0
    background_waits: bool = False
    frequency_share: float = 1.0
    may_hurry: bool = True
