"""/v1/chat/completions about documents: OpenAI's form, with `citations` beside the choices.

As a stream: pieces as ever; while all of a document is read, pieces without text that have `progress`; and the one with
the finish_reason has what a whole reply has besides: `citations`, `not_in_document`, `coverage`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from pocketseek.apps.doc.summary_events import Progress
from pocketseek.apps.serve.bodies import ChatBody
from pocketseek.apps.serve.chat_forms import Choice, Head, chunk, finish_reason, piece_chunks, tool_parts
from pocketseek.apps.serve.document_answer import DocumentAnswer, Outcome, progress_value
from pocketseek.apps.serve.document_question import document_task
from pocketseek.apps.serve.endpoint import Call
from pocketseek.apps.serve.event_stream import DONE, event, send_events
from pocketseek.apps.serve.replies import RefusedError, describe_error, json_reply
from pocketseek.types import TextEvent

_PROGRESS_EVERY_S = 0.5


async def answer_from_documents(call: Call, body: ChatBody, model: str, files: tuple[str, ...]) -> None:
    if call.services.files is None:
        raise RefusedError(400, "this server keeps no files; leave out documents", code="unsupported_parameter")
    store = await asyncio.to_thread(call.services.files.of, call.caller)
    async with call.services.leases.engine(model) as engine:
        by = call.service(body.user, body.priority)
        task = document_task(body, files, store, call.services, model, engine, by)
        async with DocumentAnswer(engine, task) as answer:
            await answer.started()
            call.services.metrics.count_answers(model, 1)
            reply = _Reply(answer, Head(model))
            if body.stream:
                with_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
                await send_events(call.send, reply.chunks(with_usage=with_usage))
            else:
                await call.reply(json_reply(await reply.whole()))


class _Reply:
    """One answer on its way to a client."""

    def __init__(self, answer: DocumentAnswer, head: Head) -> None:
        self._answer = answer
        self._head = head
        self._choice = Choice()
        self._last = TextEvent()
        self._started_s = self._told_s = time.monotonic()

    async def whole(self) -> dict[str, object]:
        async for batch in self._answer.batches():
            for _, piece in batch:
                if isinstance(piece, TextEvent):
                    self._add(piece)
        self._answer.raise_error()
        facts = (await self._outcome()).facts()
        value = {"choices": [self._choice.value(0)], "usage": self._usage()}
        return self._head.value("chat.completion") | value | facts

    async def chunks(self, *, with_usage: bool) -> AsyncIterator[bytes]:
        common = self._head.value("chat.completion.chunk") | ({"usage": None} if with_usage else {})
        data = bytearray(chunk(common, 0, {"role": "assistant", "content": ""}))
        async for batch in self._answer.batches():
            for _, piece in batch:
                data += (
                    self._progress_chunk(common, piece) if isinstance(piece, Progress) else self._text(common, piece)
                )
            if data:
                yield bytes(data)
                data.clear()
        if self._answer.error is not None:
            if data:  # nothing was sent yet
                raise self._answer.error
            yield event(describe_error(self._answer.error)[1])
            return
        facts = (await self._outcome()).facts()
        yield chunk(common, 0, {}, finish_reason(self._last, has_calls=False), more=facts)
        if with_usage:
            yield event(common | {"choices": [], "usage": self._usage()})
        yield DONE

    def _text(self, common: dict[str, object], piece: TextEvent) -> bytes:
        """The end comes with what the answer was made from."""
        self._add(piece)
        unfinished = TextEvent(piece.text, piece.reasoning, piece.num_tokens)
        return b"".join(piece_chunks(common, 0, unfinished, None))

    def _progress_chunk(self, common: dict[str, object], progress: Progress) -> bytes:
        now_s = time.monotonic()
        if now_s < self._told_s + _PROGRESS_EVERY_S:
            return b""
        self._told_s = now_s
        return chunk(common, 0, {}, more={"progress": progress_value(progress, now_s - self._started_s)})

    def _add(self, piece: TextEvent) -> None:
        self._choice.add(piece, tool_parts(piece, None))
        self._last = piece

    async def _outcome(self) -> Outcome:
        return await self._answer.outcome("".join(self._choice.text))

    def _usage(self) -> dict[str, object]:
        num_prompt, num_tokens = self._answer.num_prompt_tokens, self._last.num_tokens
        return {
            "prompt_tokens": num_prompt,
            "completion_tokens": num_tokens,
            "total_tokens": num_prompt + num_tokens,
            "prompt_tokens_details": {"cached_tokens": self._last.num_cached_prompt_tokens},
            "completion_tokens_details": {"reasoning_tokens": self._last.num_reasoning_tokens},
        }
