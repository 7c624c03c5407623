"""Which provider of ONNX Runtime is named for a chip and a system."""

import pytest

from pocketseek.device.chips import Chip, find_chip
from pocketseek.device.execution_provider import choose_provider
from pocketseek.device.known import Known


def chip(name: str) -> Chip:
    found = find_chip([Known(name, "test")])
    assert found is not None
    return found.value


@pytest.mark.parametrize(
    ("name", "api_level", "provider", "reason"),
    [
        ("SM8650", 34, "QNN", "npu by qnn"),
        ("SM8650", 36, "QNN", "npu by qnn"),
        ("SM8650", None, "XNNPACK", "needs android"),
        ("MT6989", 34, "NNAPI", "chip by nnapi"),
        ("MT6989", 35, "XNNPACK", "nnapi deprecated"),
        ("MT6989", 26, "XNNPACK", "android too old"),
        ("kirin9000s", 31, "XNNPACK", "npu unreached"),
        ("T606", 33, "XNNPACK", "no npu"),
        ("T8130", None, "CoreML", "npu by coreml"),
    ],
)
def test_a_known_chip(name: str, api_level: int | None, provider: str, reason: str) -> None:
    one = chip(name)
    chosen = choose_provider("aarch64", one, api_level, has_npu=one.npu is not None)
    assert (chosen.name, chosen.reason) == (provider, reason)


def test_a_phone_with_an_unknown_chip_computes_on_its_cores() -> None:
    chosen = choose_provider("aarch64", None, 34, has_npu=False)
    assert (chosen.name, chosen.reason) == ("XNNPACK", "unknown chip")


def test_a_pc_computes_on_its_cores() -> None:
    assert choose_provider("x86_64", None, None, has_npu=False).name == "CPU"
    assert choose_provider("x86_64", None, None, has_npu=True).reason == "npu unreached"
