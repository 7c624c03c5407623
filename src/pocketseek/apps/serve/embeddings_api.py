"""/v1/embeddings: texts as vectors, in OpenAI's form.

A vector is the mean of the last hidden states over all tokens of the text, after the final norm, scaled to length 1 as
OpenAI's are. The models served are made for writing, not for this: fine for grouping and for finding similar texts on
the phone itself, behind a model that was trained for it. The answer says so in `pooling`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence

import numpy as np
from starlette.routing import Route

from pocketseek.apps.serve.bodies import MAX_EMBEDDINGS, EmbeddingBody, parse_body, prompts_of
from pocketseek.apps.serve.bridge import EventBridge
from pocketseek.apps.serve.endpoint import Call, Endpoint
from pocketseek.apps.serve.replies import RefusedError, json_reply
from pocketseek.runtime.embedding import Embedding, PendingEmbedding
from pocketseek.runtime.engine import Engine
from pocketseek.types import Service

POOLING = "mean of the last hidden states, scaled to length 1"
_AT_ONCE = 32  # texts in the engine: enough to fill passes, and little to let go of when the client leaves

_Text = str | tuple[int, ...]


def embedding_routes() -> list[Route]:
    return [Route("/v1/embeddings", Endpoint(_embed), methods=["POST"])]


async def _embed(call: Call) -> None:
    data = call.take_body()
    body = parse_body(data, EmbeddingBody)
    name = call.services.model_name(call.caller, body.model)
    call.services.log.question(call.caller, name, data)
    del data
    texts = prompts_of(body.input, "input", most=MAX_EMBEDDINGS)
    vectors: list[Embedding] = []
    num_tokens = 0
    async with call.services.leases.engine(name) as engine:
        service = call.service(body.user, body.priority)
        for first in range(0, len(texts), _AT_ONCE):
            group = texts[first : first + _AT_ONCE]
            async with _Asked(engine, group, service) as asked:
                vectors += await asked.vectors()
                num_tokens += asked.num_tokens
            _check_dimensions(body, vectors[0])
    call.services.metrics.count_embeddings(name, len(texts))
    as_text = body.encoding_format == "base64"
    values = [
        {"object": "embedding", "index": index, "embedding": _base64(vector) if as_text else vector.tolist()}
        for index, vector in enumerate(map(_scaled, vectors))
    ]
    usage = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    await call.reply(json_reply({"object": "list", "data": values, "model": name, "pooling": POOLING, "usage": usage}))


class _Asked(EventBridge[Embedding]):
    """Some texts that are read together."""

    def __init__(self, engine: Engine, texts: Sequence[_Text], service: Service) -> None:
        self._engine = engine
        self._texts = texts
        self._service = service
        self.num_tokens = 0
        super().__init__(self._ask)

    async def vectors(self) -> list[Embedding]:
        """In the order of the texts."""
        found: dict[int, Embedding] = {}
        async for batch in self.batches():
            found.update(batch)
        self.raise_error()
        return [found[index] for index in range(len(self._texts))]

    def _ask(self, announce: Callable[[], None]) -> list[PendingEmbedding]:
        prompts = [self._engine.encode(text) for text in self._texts]  # all of them, before any is read
        self.num_tokens = sum(len(prompt.token_ids) for prompt in prompts)
        return [self._engine.start_embedding(one, service=self._service, announce=announce) for one in prompts]


def _check_dimensions(body: EmbeddingBody, vector: Embedding) -> None:
    if body.dimensions is not None and body.dimensions != len(vector):
        message = f"this model's vectors have {len(vector)} dimensions; leave `dimensions` out"
        raise RefusedError(400, message, code="unsupported_parameter", param="dimensions")


def _scaled(vector: Embedding) -> Embedding:
    length = float(np.linalg.norm(vector.astype(np.float64)))
    return (vector / length).astype(np.float32) if length else vector


def _base64(vector: Embedding) -> str:
    """Of float32 values, little end first."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
