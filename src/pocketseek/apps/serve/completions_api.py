"""/v1/completions: raw texts are continued. Several prompts in one request are asked one beside the other."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from starlette.routing import Route

from pocketseek.apps.serve.asking import Asked, Cost
from pocketseek.apps.serve.bodies import MAX_BATCH, CompletionBody, parse_body, prompts_of, refuse_if_given
from pocketseek.apps.serve.chat_forms import FINGERPRINT, finish_reason
from pocketseek.apps.serve.endpoint import Call, Endpoint
from pocketseek.apps.serve.event_stream import DONE, event, send_events
from pocketseek.apps.serve.questions import completion_question
from pocketseek.apps.serve.replies import RefusedError, describe_error, json_reply
from pocketseek.apps.serve.token_report import TextReporter, Value
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import TextEvent, TokenDetail

_Common = dict[str, object]


def completion_routes() -> list[Route]:
    return [Route("/v1/completions", Endpoint(_complete), methods=["POST"])]


async def _complete(call: Call) -> None:
    data = call.take_body()
    body = parse_body(data, CompletionBody)
    refuse_if_given({"logit_bias": body.logit_bias, "suffix": body.suffix, "best_of": (body.best_of or 1) > 1})
    if body.echo and body.logprobs is not None:
        message = "log-probabilities of the prompt are not reported; leave echo or logprobs out"
        raise RefusedError(400, message, code="unsupported_parameter", param="echo")
    name = call.services.model_name(call.caller, body.model)
    call.services.log.question(call.caller, name, data)
    del data
    prompts, count = prompts_of(body.prompt, "prompt"), body.n or 1
    if len(prompts) * count > MAX_BATCH:
        raise RefusedError(400, f"more than {MAX_BATCH} answers in one request; ask for fewer", code="invalid_value")
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(call.services.leases.engine(name))
        service = call.service(body.user, body.priority)
        answers = [Asked(engine, completion_question(body, prompt, engine, service)) for prompt in prompts]
        for asked in answers:
            await stack.enter_async_context(asked)
        for asked in answers:
            await asked.started()
            call.services.metrics.count_answers(name, count)
        common: _Common = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": name,
            "system_fingerprint": FINGERPRINT,
        }
        echoes = [_echo(prompt, engine.tokenizer) if body.echo else "" for prompt in prompts]
        if body.stream:
            with_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
            await send_events(call.send, _chunks(answers, count, echoes, common, with_usage=with_usage))
        else:
            await call.reply(json_reply(await _whole(answers, count, echoes, common)))


def _echo(prompt: str | tuple[int, ...], tokenizer: Tokenizer) -> str:
    return prompt if isinstance(prompt, str) else tokenizer.decode(prompt)


@dataclass
class _Written:
    """An answer that is being put together."""

    text: list[str]
    tokens: list[TokenDetail] = field(default_factory=list)
    finish_reason: str = "stop"

    def add(self, piece: TextEvent) -> None:
        self.text.append(piece.reasoning + piece.text)
        self.tokens += piece.tokens
        self.finish_reason = finish_reason(piece, has_calls=False)

    def value(self, index: int, *, with_tokens: bool) -> dict[str, object]:
        report = TextReporter().report(self.tokens) if with_tokens else None
        return _choice(index, "".join(self.text), self.finish_reason, report)


async def _whole(answers: list[Asked], count: int, echoes: list[str], common: _Common) -> dict[str, object]:
    choices: list[dict[str, object]] = []
    costs = []
    for asked, echo in zip(answers, echoes, strict=True):
        cost = Cost(asked.num_prompt_tokens, count)
        written = [_Written([echo]) for _ in range(count)]
        async for batch in asked.batches():
            for index, piece in batch:
                cost.see(index, piece)
                written[index].add(piece)
        asked.raise_error()
        costs.append(cost)
        choices += [one.value(len(choices) + i, with_tokens=asked.with_tokens) for i, one in enumerate(written)]
    return common | {"choices": choices, "usage": _sum_usage(costs)}


async def _chunks(
    answers: list[Asked], count: int, echoes: list[str], common: _Common, *, with_usage: bool
) -> AsyncIterator[bytes]:
    """The answers to one prompt after those to the one before; all are being written meanwhile."""
    costs: list[Cost] = []
    was_sent = False
    for number, (asked, echo) in enumerate(zip(answers, echoes, strict=True)):
        cost = Cost(asked.num_prompt_tokens, count)
        costs.append(cost)
        reporters = [TextReporter() if asked.with_tokens else None for _ in range(count)]
        data = bytearray()
        if echo:  # with the first piece, so that what fails before has its own status
            data += b"".join(
                event(common | {"choices": [_choice(number * count + i, echo, None)]}) for i in range(count)
            )
        async for batch in asked.batches():
            for index, piece in batch:
                cost.see(index, piece)
                reason = finish_reason(piece, has_calls=False) if piece.finish_reason is not None else None
                reporter = reporters[index]
                report = reporter.report(piece.tokens) if reporter is not None else None
                choice = _choice(number * count + index, piece.reasoning + piece.text, reason, report)
                data += event(common | {"choices": [choice]})
            was_sent = True
            yield bytes(data)
            data.clear()
        if asked.error is not None and not was_sent:
            raise asked.error
        if asked.error is not None:
            yield event(describe_error(asked.error)[1])
            return
    if with_usage:
        yield event(common | {"choices": [], "usage": _sum_usage(costs)})
    yield DONE


def _choice(index: int, text: str, reason: str | None, report: Value | None = None) -> dict[str, object]:
    return {"index": index, "text": text, "logprobs": report, "finish_reason": reason}


def _sum_usage(costs: list[Cost]) -> dict[str, object]:
    prompt, written = sum(cost.num_prompt_tokens for cost in costs), sum(cost.num_tokens for cost in costs)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": sum(cost.num_cached_tokens for cost in costs)},
        "completion_tokens_details": {"reasoning_tokens": sum(cost.num_reasoning_tokens for cost in costs)},
    }
