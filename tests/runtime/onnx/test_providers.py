"""Which execution provider computes, with made-up ones that fail."""

from __future__ import annotations

import pytest

from pocketseek.device.execution_provider import ExecutionProvider
from pocketseek.errors import FormatError, UnsupportedError, UsageError
from pocketseek.runtime.onnx.model_files import ModelForm
from pocketseek.runtime.onnx.providers import (
    PROVIDERS,
    ProviderChoice,
    find_provider,
    open_first,
    order_of,
    provider_error,
)

PHONE = ExecutionProvider("QNN", "npu by qnn")
PC = ExecutionProvider("CPU", "no npu")
EVERY = tuple(PROVIDERS.values())


def works_with(*names: str):
    def open_with(name: str) -> str:
        if name not in names:
            raise UnsupportedError(f"{name}: backend not\nfound")
        return f"opened with {name}"

    return open_with


def test_the_devices_own_provider_is_first_and_the_cpu_last() -> None:
    assert [choice.name for choice in order_of(PHONE, available=EVERY)] == ["QNN", "XNNPACK", "CPU"]
    assert [choice.name for choice in order_of(PC, available=EVERY)] == ["CPU"]
    assert order_of(PC, available=EVERY)[0].reason == "no npu"


def test_a_provider_that_works_is_used_and_nothing_else_is_tried() -> None:
    opened, choice = open_first(order_of(PHONE, available=EVERY), EVERY, works_with("QNN"))
    assert (opened, choice) == ("opened with QNN", ProviderChoice("QNN", "npu by qnn"))


def test_those_that_fail_are_told_in_a_line_and_the_next_is_used() -> None:
    opened, choice = open_first(order_of(PHONE, available=EVERY), EVERY, works_with("CPU"))
    assert (opened, choice.name, choice.reason) == ("opened with CPU", "CPU", "last resort")
    assert [(failure.name, failure.problem) for failure in choice.failures] == [
        ("QNN", "QNN: backend not found"),
        ("XNNPACK", "XNNPACK: backend not found"),
    ]


def test_a_problem_is_told_without_the_remedy_that_was_taken() -> None:
    def open_with(name: str) -> str:
        if name == "CPU":
            return name
        raise provider_error(name, "refused", "no backend\nlibQnnHtp.so")

    _, choice = open_first(order_of(PHONE, available=EVERY), EVERY, open_with)
    first = choice.failures[0]
    assert (first.kind, first.detail) == ("refused", "no backend libQnnHtp.so")
    assert first.problem == "QNN cannot run the model: no backend libQnnHtp.so"
    with pytest.raises(UnsupportedError, match=r"libQnnHtp\.so; use --provider CPU$"):
        open_first(order_of(PC, "QNN", available=EVERY), EVERY, open_with)


@pytest.mark.parametrize(
    ("lacking", "form", "names", "reason"),
    [
        ((), "static fixed", ["QNN", "XNNPACK", "CPU"], "npu by qnn"),
        ((), "static", ["XNNPACK", "CPU"], "last resort"),
        (("XNNPACK",), "static", ["CPU"], "needs fixed shapes"),
        ((), "blocks", ["CPU"], "model for cpu"),
        (("QNN",), "unknown", ["XNNPACK", "CPU"], "last resort"),
        (("QNN", "XNNPACK"), "static fixed", ["CPU"], "not built in"),
    ],
)
def test_what_a_build_lacks_or_cannot_take_a_model_is_not_tried_and_the_first_reason_is_told(
    lacking: tuple[str, ...], form: ModelForm, names: list[str], reason: str
) -> None:
    available = [ort_name for name, ort_name in PROVIDERS.items() if name not in lacking]
    order = order_of(PHONE, available=available, form=form)
    assert [choice.name for choice in order] == names
    assert order[0].reason == reason


def test_openvino_is_for_intel_where_it_is_built_in() -> None:
    first, last = order_of(PC, available=EVERY, form="static", is_intel=True)
    assert (first.name, first.reason, last.name) == ("OpenVINO", "intel by openvino", "CPU")
    assert [choice.name for choice in order_of(PC, available=EVERY, form="blocks", is_intel=True)] == ["CPU"]
    (only,) = order_of(PC, available=[PROVIDERS["CPU"]], is_intel=True)
    assert (only.name, only.reason) == ("CPU", "no npu")


def test_one_that_was_asked_for_is_used_or_the_error_is_told() -> None:
    with pytest.raises(UnsupportedError, match="backend"):
        open_first(order_of(PC, "qnn", available=EVERY), EVERY, works_with("CPU"))
    with pytest.raises(UnsupportedError, match="built without CoreML"):
        open_first(order_of(PC, "CoreML", available=EVERY), [PROVIDERS["CPU"]], works_with("CPU"))


def test_a_broken_model_is_not_the_providers_fault() -> None:
    def open_with(name: str) -> str:
        raise FormatError("broken")

    with pytest.raises(FormatError):
        open_first(order_of(PHONE, available=EVERY), EVERY, open_with)


@pytest.mark.parametrize(("typed", "name"), [("xnnpack", "XNNPACK"), ("CPU", "CPU"), ("nnapi", "NNAPI")])
def test_names_are_found_in_any_case(typed: str, name: str) -> None:
    assert find_provider(typed) == name


def test_unknown_names_are_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="choose one of QNN, NNAPI"):
        find_provider("TPU")
