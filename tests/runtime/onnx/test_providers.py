"""Which execution provider computes, with made-up ones that fail."""

from __future__ import annotations

import pytest

from pocketseek.device.execution_provider import ExecutionProvider
from pocketseek.errors import FormatError, UnsupportedError, UsageError
from pocketseek.runtime.onnx.providers import PROVIDERS, ProviderChoice, find_provider, open_first, order_of

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
    assert [choice.name for choice in order_of(PHONE)] == ["QNN", "CPU"]
    assert [choice.name for choice in order_of(PC)] == ["CPU"]
    assert order_of(PC)[0].reason == "no npu"


def test_a_provider_that_works_is_used_and_nothing_else_is_tried() -> None:
    opened, choice = open_first(order_of(PHONE), EVERY, works_with("QNN"))
    assert (opened, choice) == ("opened with QNN", ProviderChoice("QNN", "npu by qnn"))


def test_one_that_fails_is_told_in_a_line_and_the_next_is_used() -> None:
    opened, choice = open_first(order_of(PHONE), EVERY, works_with("CPU"))
    assert (opened, choice.name, choice.reason) == ("opened with CPU", "CPU", "last resort")
    (failure,) = choice.failures
    assert (failure.name, failure.problem) == ("QNN", "QNN: backend not found")


def test_one_that_this_build_lacks_is_not_even_opened() -> None:
    tried: list[str] = []
    _, choice = open_first(order_of(PHONE), [PROVIDERS["CPU"]], lambda name: tried.append(name))
    assert tried == ["CPU"]
    assert "built without QNN (it has CPU)" in choice.failures[0].problem


def test_one_that_was_asked_for_is_used_or_the_error_is_told() -> None:
    with pytest.raises(UnsupportedError, match="backend"):
        open_first(order_of(PC, "qnn"), EVERY, works_with("CPU"))
    with pytest.raises(UnsupportedError, match="built without CoreML"):
        open_first(order_of(PC, "CoreML"), [PROVIDERS["CPU"]], works_with("CPU"))


def test_a_broken_model_is_not_the_providers_fault() -> None:
    def open_with(name: str) -> str:
        raise FormatError("broken")

    with pytest.raises(FormatError):
        open_first(order_of(PHONE), EVERY, open_with)


@pytest.mark.parametrize(("typed", "name"), [("xnnpack", "XNNPACK"), ("CPU", "CPU"), ("nnapi", "NNAPI")])
def test_names_are_found_in_any_case(typed: str, name: str) -> None:
    assert find_provider(typed) == name


def test_unknown_names_are_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="choose one of QNN, NNAPI"):
        find_provider("TPU")
