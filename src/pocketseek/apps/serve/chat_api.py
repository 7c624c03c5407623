"""/v1/chat/completions, whole and as a stream: OpenAI's form, with DeepSeek's `reasoning_content`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from starlette.routing import Route

from pocketseek.apps.serve.asking import Asked, Cost
from pocketseek.apps.serve.bodies import ChatBody, parse_body
from pocketseek.apps.serve.chat_forms import Choice, Head, chunk, piece_chunks, tool_parts
from pocketseek.apps.serve.document_chat import answer_from_documents
from pocketseek.apps.serve.document_question import named_files
from pocketseek.apps.serve.endpoint import Call, Endpoint
from pocketseek.apps.serve.event_stream import DONE, event, send_events
from pocketseek.apps.serve.questions import Question, chat_question, offered_tools
from pocketseek.apps.serve.replies import describe_error, json_reply
from pocketseek.apps.tool_calls import ToolCallParser


def chat_routes() -> list[Route]:
    return [Route("/v1/chat/completions", Endpoint(_chat), methods=["POST"])]


async def _chat(call: Call) -> None:
    data = call.take_body()
    body = parse_body(data, ChatBody)
    name = call.services.model_name(call.caller, body.model)
    call.services.log.question(call.caller, name, data)
    del data
    if files := named_files(body):
        await answer_from_documents(call, body, name, files)
        return
    async with call.services.leases.engine(name) as engine:
        question = chat_question(body, engine, call.service(body.user, body.priority))
        async with Asked(engine, question) as asked:
            await asked.started()
            parsers = [ToolCallParser(engine.tool_form) if offered_tools(body) else None for _ in range(question.count)]
            head = Head(name)
            call.services.metrics.count_answers(name, question.count)
            if body.stream:
                with_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
                await send_events(call.send, _chunks(asked, question, head, parsers, with_usage=with_usage))
            else:
                await call.reply(json_reply(await _whole(asked, question, head, parsers)))


# -- whole ------------------------------------------------------------------------------------------------------------


async def _whole(
    asked: Asked, question: Question, head: Head, parsers: Sequence[ToolCallParser | None]
) -> dict[str, object]:
    choices = [Choice(tokens=[] if asked.with_tokens else None) for _ in range(question.count)]
    cost = Cost(asked.num_prompt_tokens, question.count)
    async for batch in asked.batches():
        for index, piece in batch:
            cost.see(index, piece)
            choices[index].add(piece, tool_parts(piece, parsers[index]))
    asked.raise_error()
    values = [choice.value(index) for index, choice in enumerate(choices)]
    return head.value("chat.completion") | {"choices": values, "usage": cost.usage()}


# -- as a stream ------------------------------------------------------------------------------------------------------


async def _chunks(
    asked: Asked, question: Question, head: Head, parsers: Sequence[ToolCallParser | None], *, with_usage: bool
) -> AsyncIterator[bytes]:
    """A role for each answer, then pieces, at last the usage if it is wanted; or an error, and then the end."""
    common = head.value("chat.completion.chunk") | ({"usage": None} if with_usage else {})
    cost = Cost(asked.num_prompt_tokens, question.count)
    data = bytearray().join(chunk(common, i, {"role": "assistant", "content": ""}) for i in range(question.count))
    async for batch in asked.batches():
        for index, piece in batch:
            cost.see(index, piece)
            for one in piece_chunks(common, index, piece, parsers[index]):
                data += one
        yield bytes(data)
        data.clear()
    if asked.error is not None:
        if data:  # nothing was sent yet
            raise asked.error
        yield event(describe_error(asked.error)[1])
        return
    if with_usage:
        yield event(common | {"choices": [], "usage": cost.usage()})
    yield DONE
