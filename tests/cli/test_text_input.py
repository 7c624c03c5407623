"""Text from outside is UTF-8 or an error."""

from pathlib import Path

import pytest

from pocketseek.cli.text_input import read_text_file
from pocketseek.errors import FormatError


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"\xef\xbb\xbfabc")
    assert read_text_file(tmp_path / "t") == "abc"


def test_the_place_of_a_bad_byte_is_named(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"abc\xff")
    with pytest.raises(FormatError, match="byte 3"):
        read_text_file(tmp_path / "t")
