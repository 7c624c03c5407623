"""The error tree and docs/errors.md say the same."""

import re
from pathlib import Path

import pytest

from pocketseek import errors
from pocketseek.errors import PocketseekError

DOCS = Path(__file__).parents[1] / "docs" / "errors.md"
ROW = re.compile(r"^\| `(\w+)` \| (\d+) \| (\d+) \|", re.MULTILINE)


def tree(root: type[PocketseekError] = PocketseekError) -> list[type[PocketseekError]]:
    return [root, *(found for child in root.__subclasses__() for found in tree(child))]


def test_every_class_is_documented_with_its_codes() -> None:
    documented = {name: (int(code), int(status)) for name, code, status in ROW.findall(DOCS.read_text("utf-8"))}
    assert documented == {kind.__name__: (kind.exit_code, kind.http_status) for kind in tree()}


def test_exit_codes_are_distinct_and_leave_the_shells_codes_alone() -> None:
    codes = [kind.exit_code for kind in tree()]
    assert len(set(codes)) == len(codes)
    assert all(0 < code < 126 for code in codes)


@pytest.mark.parametrize("kind", tree())
def test_every_class_lives_in_the_base_and_says_when_it_is_raised(kind: type[PocketseekError]) -> None:
    assert kind.__module__ == errors.__name__
    assert kind.__doc__
    assert 400 <= kind.http_status < 600
