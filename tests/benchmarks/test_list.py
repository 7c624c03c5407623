"""benchmarks/README.md tells every file that is there, once, and none that is not."""

import re
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_list_has_every_file_once() -> None:
    listed = re.findall(r"^\| \*?`([^`]+)`\*? \|", (BENCHMARKS / "README.md").read_text("utf-8"), re.MULTILINE)
    files = [path.name for path in BENCHMARKS.iterdir() if path.is_file() and not path.name.startswith(".")]
    assert sorted([*listed, "README.md"]) == sorted(files)
