"""The JSON that clients send, as far as it is used: unknown fields are ignored, wrong types are refused.

null means not given, as in OpenAI's API. docs/serve.md lists what is refused because leaving it out would change what
the answer means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from pocketseek.apps.doc.summary_events import LEAST_WORDS, LENGTHS, MEDIUM_WORDS, MOST_WORDS, SummaryOptions
from pocketseek.apps.serve.replies import RefusedError

MAX_CHOICES = 16
MAX_BATCH = 64
MAX_EMBEDDINGS = 2048
MAX_SPEECH_CHARS = 4096

_Count = Annotated[int, Meta(ge=1, le=MAX_CHOICES)]
_Tokens = Annotated[int, Meta(ge=0, le=1_000_000)]
_Temperature = Annotated[float, Meta(ge=0, le=2)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Top = Annotated[int, Meta(ge=0, le=20)]
_Text = Annotated[str, Meta(min_length=1)]
_Name = Annotated[str, Meta(min_length=1, max_length=256)]

B = TypeVar("B", bound=Struct)


class FileReference(Struct):
    """Of a file that was uploaded before."""

    file_id: _Name | None = None


class ContentPart(Struct, tag_field=None):
    """type: "text" or "file"; others (image_url, input_audio) are refused."""

    type: str
    text: str | None = None
    file: FileReference | None = None


class FunctionCall(Struct):
    name: _Name
    arguments: str = "{}"


class ToolCallBody(Struct):
    function: FunctionCall
    id: str = ""
    type: str = "function"


class MessageBody(Struct):
    """role "developer" is read as "system"."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCallBody] | None = None
    tool_call_id: str | None = None


class FunctionBody(Struct):
    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolBody(Struct):
    function: FunctionBody
    type: Literal["function"] = "function"


class NamedFunction(Struct):
    name: str


class ToolChoiceBody(Struct):
    function: NamedFunction
    type: Literal["function"] = "function"


class JsonSchemaBody(Struct):
    schema: dict[str, Any]
    name: str | None = None
    strict: bool | None = None


class ResponseFormatBody(Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaBody | None = None


class StreamOptionsBody(Struct):
    include_usage: bool | None = None


class AnswerBody(Struct, kw_only=True):
    """What both kinds of completion share. top_k, min_p, repetition_penalty and priority are extensions."""

    model: str | None = None
    n: _Count | None = None
    stop: _Text | Annotated[list[_Text], Meta(max_length=16)] | None = None
    seed: int | None = None
    max_tokens: _Tokens | None = None
    temperature: _Temperature | None = None
    top_p: _Share | None = None
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    min_p: _Share | None = None
    repetition_penalty: Annotated[float, Meta(ge=0.1, le=10)] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    logit_bias: dict[str, float] | None = None
    stream: bool | None = None
    stream_options: StreamOptionsBody | None = None
    user: str | None = None
    priority: Literal["interactive", "background"] | None = None


class SummaryBody(Struct, frozen=True):
    """length: a number is one of words, about. language: by default the document's."""

    focus: Annotated[str, Meta(max_length=4000)] | None = None
    length: Literal["short", "medium", "long"] | Annotated[int, Meta(ge=LEAST_WORDS, le=MOST_WORDS)] | None = None
    language: Literal["en", "zh"] | None = None

    def options(self) -> SummaryOptions:
        num_words = LENGTHS[self.length] if isinstance(self.length, str) else self.length or MEDIUM_WORDS
        return SummaryOptions(" ".join((self.focus or "").split()), num_words, self.language)


class ChatBody(AnswerBody, kw_only=True):
    """documents, document_mode and summary are extensions: ids of uploaded files to answer from, and how."""

    messages: Annotated[list[MessageBody], Meta(min_length=1, max_length=4096)]
    max_completion_tokens: _Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: _Top | None = None
    tools: Annotated[list[ToolBody], Meta(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoiceBody | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormatBody | None = None
    functions: list[Any] | None = None
    function_call: Any = None
    modalities: list[str] | None = None
    documents: Annotated[list[_Name], Meta(max_length=64)] | None = None
    document_mode: Literal["passages", "whole", "summary"] | None = None
    summary: SummaryBody | None = None


class ReadBody(Struct):
    """How an uploaded file is to be read once more."""

    password: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    ocr: bool | None = None
    comments: bool | None = None


class CompletionBody(AnswerBody, kw_only=True):
    prompt: str | Annotated[list[str | int | list[int]], Meta(min_length=1, max_length=1_000_000)]
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool | None = None
    best_of: int | None = None
    suffix: str | None = None


class SpeechBody(Struct, kw_only=True):
    """language is an extension: of the text, found out if not given. stream_format "sse" and voices are refused."""

    input: Annotated[str, Meta(min_length=1, max_length=MAX_SPEECH_CHARS)]
    model: Annotated[str, Meta(min_length=1, max_length=256)]
    voice: str | dict[str, str] | None = None
    response_format: Literal["wav", "pcm"] | None = None
    speed: Annotated[float, Meta(ge=0.25, le=4)] | None = None
    language: str | None = None
    stream_format: Literal["audio", "sse"] | None = None


class EmbeddingBody(Struct, kw_only=True):
    """priority is an extension."""

    input: str | Annotated[list[str | int | list[int]], Meta(min_length=1, max_length=1_000_000)]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    user: str | None = None
    priority: Literal["interactive", "background"] | None = None


def parse_body(data: bytes, kind: type[B]) -> B:
    """Raises RefusedError (400) that names the place in the body."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise RefusedError(400, f"{error}; see docs/serve-api.md for what is read", code="invalid_type") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(400, f"the body is no JSON ({error}); send a JSON object", code="invalid_json") from error


def refuse_if_given(values: Mapping[str, object]) -> None:
    """Fields that would change what an answer means and that nobody here follows: only an empty value passes."""
    for name, value in values.items():
        if value:
            raise RefusedError(400, f"{name} is not supported; leave it out", code="unsupported_parameter", param=name)


def prompts_of(
    value: str | list[str | int | list[int]], name: str, *, most: int = MAX_BATCH
) -> list[str | tuple[int, ...]]:
    """A text, texts, token ids, or lists of them. Raises RefusedError for a mixture."""
    if isinstance(value, str):
        return [value]
    ids = [item for item in value if isinstance(item, int)]
    if len(ids) == len(value):
        return [tuple(ids)]
    if ids or len(value) > most:
        raise RefusedError(
            400, f"{name} mixes kinds or has more than {most} items; send texts or token ids", code="invalid_value"
        )
    return [tuple(item) if isinstance(item, list) else str(item) for item in value]
