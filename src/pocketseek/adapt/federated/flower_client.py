"""A device as Flower's ClientApp: two kinds of messages, a check-in and a round. Runs with Flower 1.42, and only there.

A round that the plan calls secure is answered under Flower's SecAgg+ or not at all, whoever asks. Keys and shares of
SecAgg+ live in the context that the caller keeps between messages.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.compat.common.recorddict_compat import fitres_to_recorddict, recorddict_to_fitins

from pocketseek.adapt.federated.phone import Change, Phone
from pocketseek.adapt.federated.plan import parse_plan
from pocketseek.errors import FormatError, UnsupportedError

CHECK_IN, PLAN, ROUND, REFUSAL = "check-in", "plan", "round", "refusal"
PhoneOf = Callable[[Context], Phone]


def client_app(phone_of: PhoneOf) -> ClientApp:
    """phone_of: the device that a context belongs to; in a simulation there are many in one process."""
    app = ClientApp()

    @app.query()
    def check_in(message: Message, context: Context) -> Message:
        plan = parse_plan(_text(message.content.config_records[CHECK_IN], PLAN))
        reason = phone_of(context).refusal(plan)
        return Message(RecordDict({CHECK_IN: ConfigRecord({REFUSAL: reason or ""})}), reply_to=message)

    @app.train(mods=[_secure_if_asked])
    def train(message: Message, context: Context) -> Message:
        order = recorddict_to_fitins(message.content, keep_input=True)
        plan = parse_plan(str(order.config.get(PLAN, "")))
        if plan.secure and not _is_secure(message):
            raise UnsupportedError("the plan says secure aggregation and the server asks without it; nothing is sent")
        arrays = parameters_to_ndarrays(order.parameters)
        number = order.config.get(ROUND)
        if len(arrays) != 1 or not isinstance(number, int):
            raise FormatError("the server's message is none of a round; use the same version of pocketseek")
        change = phone_of(context).train(arrays[0].astype(np.float32), plan, number)
        return Message(fitres_to_recorddict(_answer(change), keep_input=False), reply_to=message)

    return app


def _answer(change: Change) -> FitRes:
    return FitRes(
        status=Status(Code.OK, ""),
        parameters=ndarrays_to_parameters([change.values]),
        num_examples=int(change.weight),
        metrics={"loss": float(change.loss), "tokens": int(change.num_tokens)},
    )


def _secure_if_asked(message: Message, context: Context, call_next: Callable[[Message, Context], Message]) -> Message:
    if not _is_secure(message):
        return call_next(message, context)
    _check_shares(message.content.config_records[RECORD_KEY_CONFIGS])
    return secaggplus_mod(message, context, call_next)


def _check_shares(config: ConfigRecord) -> None:
    """A server that may open a sum of one or two, or with the help of less than half, would see single changes."""
    if config.get(Key.STAGE) != Stage.SETUP:
        return
    clients, shares, threshold = (config.get(key) for key in (Key.SAMPLE_NUMBER, Key.SHARE_NUMBER, Key.THRESHOLD))
    if not (isinstance(clients, int) and isinstance(shares, int) and isinstance(threshold, int)):
        raise FormatError(
            "the server's set-up of secure aggregation cannot be read; use the same version of pocketseek"
        )
    if clients < 3 or not shares / 2 < threshold <= shares <= clients:
        raise UnsupportedError(
            f"the server's set-up of secure aggregation ({clients} clients, {threshold} of {shares} shares) hides too "
            "little; nothing is sent"
        )


def _is_secure(message: Message) -> bool:
    return message.metadata.message_type == MessageType.TRAIN and RECORD_KEY_CONFIGS in message.content.config_records


def _text(record: ConfigRecord, name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise FormatError("the server's message cannot be read; use the same version of pocketseek")
    return value
