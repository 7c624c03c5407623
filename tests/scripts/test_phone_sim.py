"""The page that scripts/phone-sim wrote is of a run that went well."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "phone-sim.md").read_text(encoding="utf-8")


# What the page says of itself that it failed; a run in which it did not is fine, too.
TOLD = ("git clone --quiet /clone.git /sdcard", "cat /tmp/notification-removed", "pocketseek voice listen")


def test_what_failed_is_what_the_page_says_failed() -> None:
    commands = re.findall(r"^(?:outside )?\$ (.*?)^# exit code (\d+)", PAGE, re.MULTILINE | re.DOTALL)
    assert len(commands) > 15
    failed = [command for command, code in commands if code != "0"]
    assert [command for command in failed if not any(told in command for told in TOLD)] == []
    assert any("lies on shared storage" in command for command in failed)


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
