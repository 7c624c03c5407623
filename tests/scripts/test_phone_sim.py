"""The page that scripts/phone-sim wrote is of a run that went well."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "phone-sim.md").read_text(encoding="utf-8")


def test_nothing_failed_but_what_has_to_be_refused() -> None:
    commands = re.findall(r"^(?:outside )?\$ (.*?)^# exit code (\d+)", PAGE, re.MULTILINE | re.DOTALL)
    assert len(commands) > 15
    (refused,) = [command for command, code in commands if code != "0"]
    assert "lies on shared storage" in refused


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
