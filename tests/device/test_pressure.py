"""The kernel's figures on waiting."""

import pytest

from pocketseek.device.pressure import recent_share, stall_us

TEXT = b"some avg10=12.50 avg60=1.00 avg300=0.00 total=7172708731\nfull avg10=99.00 avg60=0.00 avg300=0.00 total=5\n"


def test_the_line_some_counts() -> None:
    assert (recent_share(TEXT), stall_us(TEXT)) == (0.125, 7172708731)


@pytest.mark.parametrize("value", [b"", b"x.1", b"1", b"-1.00", b"nan", b"101.00", b"1.", b"0x1.00", b"1.1e1"])
def test_a_share_that_is_none_is_unknown(value: bytes) -> None:
    assert recent_share(b"some avg10=" + value + b" total=1") is None


@pytest.mark.parametrize("text", [None, b"", b"some", b"full avg10=1.00 total=1"])
def test_anything_else_is_unknown(text: bytes | None) -> None:
    assert recent_share(text) is None
