"""The page that scripts/phone-sim wrote is of a run that went well."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "phone-sim.md").read_text(encoding="utf-8")


def test_every_command_ended_well_but_the_one_that_is_refused() -> None:
    codes = re.findall(r"^# exit code (\d+)", PAGE, re.MULTILINE)
    assert len(codes) > 15
    assert [code for code in codes if code != "0"] == ["1"]
    assert "shared storage" in PAGE


def test_what_a_reader_looks_for_is_there() -> None:
    for words in (
        "Last run: ",
        "Ready. Now",
        "pocketseek generate demo",
        '"role":"assistant"',
        "doc summarize",
        "voice listen",
    ):
        assert words in PAGE, words


def test_its_beginning_is_the_one_in_the_tree() -> None:
    assert PAGE.startswith((ROOT / "scripts" / "phone-sim-head.md").read_text(encoding="utf-8"))
