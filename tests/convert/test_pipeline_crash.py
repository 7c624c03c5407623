"""kill -9 during a conversion: the old package, the new one or none is there afterwards, and the next run works."""

from __future__ import annotations

import random
from datetime import date
from functools import partial
from pathlib import Path

import pytest
from package.crashes import count_lines, run_killed_at_line, run_killed_before_change
from tiny_models import tiny_gguf

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.package.store import ModelStore
from pocketseek.package.verify import verify_package

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

NUM_KILLS = 40
DAY = date(2025, 1, 31)


def convert(source: Path, models_dir: Path, quant: str = "keep") -> Path:
    return convert_checkpoint(source, models_dir=models_dir, name="m", quant=quant, converted_on=DAY)


def quant_installed(models_dir: Path) -> str | None:
    """The recipe of the model that is there, fully verified; None if there is none. Nothing is ever broken."""
    store = ModelStore(models_dir)
    assert store.list_broken() == []
    for model in store.list():
        verify_package(model.path, full=True)
        return str(model.manifest.recipe["quant"])
    return None


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tiny_gguf(tmp_path / "model.gguf")


def test_killed_at_random_lines_nothing_broken_is_seen_and_the_next_run_works(source: Path, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    num_lines = count_lines(partial(convert, source, tmp_path / "counted"))
    expected = (tmp_path / "counted" / "m" / "manifest.json").read_bytes()
    models_dir = tmp_path / "models"
    killed = 0
    for _ in range(NUM_KILLS):
        killed += run_killed_at_line(partial(convert, source, models_dir), rng.randrange(num_lines))
        assert quant_installed(models_dir) in (None, "keep")
    assert killed > NUM_KILLS // 2
    assert (convert(source, models_dir) / "manifest.json").read_bytes() == expected
    assert sorted(path.name for path in models_dir.iterdir() if not path.name.endswith("-lock")) == ["m"]


def test_killed_while_replacing_the_old_or_the_new_model_is_there(source: Path, tmp_path: Path) -> None:
    models_dir = tmp_path / "models"
    convert(source, models_dir, "keep")
    seen: list[str | None] = []
    change = 0
    while run_killed_before_change(partial(convert, source, models_dir, "q8"), change):
        seen.append(quant_installed(models_dir))
        if seen[-1] == "q8":
            convert(source, models_dir, "keep")
        change += 1
    assert quant_installed(models_dir) == "q8"
    assert set(seen) <= {"keep", "q8"}
    assert change > 20
