"""The kernel's figures on waiting."""

import pytest

from pocketseek.device.pressure import recent_share, stall_us

TEXT = b"some avg10=12.50 avg60=1.00 avg300=0.00 total=7172708731\nfull avg10=99.00 avg60=0.00 avg300=0.00 total=5\n"


def test_the_line_some_counts() -> None:
    assert (recent_share(TEXT), stall_us(TEXT)) == (0.125, 7172708731)


@pytest.mark.parametrize(
    "text", [None, b"", b"some", b"some avg10=", b"some avg10=x.1", b"some avg10=1", b"some avg10=-1.00", b"some avg10=nan",
             b"some avg10=101.00", b"full avg10=1.00 total=1"]
)  # fmt: skip
def test_anything_else_is_unknown(text: bytes | None) -> None:
    assert recent_share(text) is None
