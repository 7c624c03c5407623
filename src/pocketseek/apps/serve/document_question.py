"""From a chat about documents, as a client sends it, to what is asked about which of them.

The last message is the question; the question and answer before it are what it follows. Files may be named in
`documents` and as parts of any user message (`{"type": "file", "file": {"file_id": "file-..."}}`).
"""

from __future__ import annotations

from collections.abc import Sequence

from pocketseek.apps.doc.exchanges import Exchange
from pocketseek.apps.serve.bodies import ChatBody, MessageBody, SummaryBody, refuse_if_given
from pocketseek.apps.serve.document_answer import DocumentTask, careful
from pocketseek.apps.serve.kept_files import FileStore
from pocketseek.apps.serve.questions import sampling_of, stop_of
from pocketseek.apps.serve.replies import RefusedError
from pocketseek.apps.serve.services import Services
from pocketseek.runtime.engine import Engine
from pocketseek.types import Service

_PARTS = ("text", "file")


def named_files(body: ChatBody) -> tuple[str, ...]:
    """Each once, in order; none: the chat is not about documents."""
    named = [*(body.documents or ())]
    for message in body.messages:
        for part in message.content if isinstance(message.content, list) else ():
            if part.type == "file":
                if part.file is None or part.file.file_id is None:
                    raise _wrong("a part of type 'file' needs a file_id; upload the file to /v1/files first")
                named.append(part.file.file_id)
    return tuple(dict.fromkeys(named))


def document_task(
    body: ChatBody,
    files: tuple[str, ...],
    store: FileStore,
    services: Services,
    model: str,
    engine: Engine,
    by: Service,
) -> DocumentTask:
    """Raises RefusedError."""
    refuse_if_given(
        {
            "n": (body.n or 1) > 1,
            "tools": body.tools,
            "response_format": body.response_format is not None and body.response_format.type != "text",
            "logprobs": body.logprobs,
            "logit_bias": body.logit_bias,
            "functions": body.functions,
            "function_call": body.function_call,
        }
    )
    mode = body.document_mode or "passages"
    question, earlier = ("", ()) if mode == "summary" else _question(body.messages)
    if body.summary is not None and mode != "summary":
        message = "summary says what a summary is to be like; give it with document_mode 'summary'"
        raise RefusedError(400, message, code="invalid_value", param="summary")
    max_tokens = body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens
    return DocumentTask(
        store,
        files,
        mode,
        question,
        earlier,
        model,
        services.model_identity,
        sampling_of(body, careful(engine.recommended_sampling)),
        by,
        max_tokens,
        stop_of(body),
        (body.summary or SummaryBody()).options(),
    )


def _question(messages: Sequence[MessageBody]) -> tuple[str, tuple[Exchange, ...]]:
    last = messages[-1]
    text = _text(last)
    if last.role != "user" or not text:
        raise _wrong("the last message must be a question with a text about the documents; send one")
    said = [message for message in messages[:-1] if message.role in ("user", "assistant")]
    if len(said) >= 2 and (said[-2].role, said[-1].role) == ("user", "assistant") and _text(said[-2]):
        return text, (Exchange(_text(said[-2]), _text(said[-1])),)
    return text, ()


def _text(message: MessageBody) -> str:
    content = message.content
    if content is None or isinstance(content, str):
        return (content or "").strip()
    for part in content:
        if part.type not in _PARTS or (part.type == "text" and part.text is None):
            raise _wrong(f"a part of type {part.type[:40]!r} is not supported; send parts of type 'text' and 'file'")
    return "\n".join(part.text or "" for part in content if part.type == "text").strip()


def _wrong(message: str) -> RefusedError:
    return RefusedError(400, message, code="invalid_value", param="messages")
