"""`bench` prints a table or one JSON object with every figure."""

from collections.abc import Callable
from pathlib import Path

from pocketseek.errors import NotFoundError, UsageError

SMALL = ("--prompt-tokens", "16", "--new-tokens", "4", "--repeats", "1")


def test_json_has_every_figure(run: Callable, tiny_package: Path) -> None:
    facts = run("bench", tiny_package, *SMALL, "--json").json
    assert facts["model"] == str(tiny_package)
    for name in ("load_s", "first_token_s", "prefill_tokens_per_s", "decode_tokens_per_s", "peak_rss_bytes"):
        assert facts[name] > 0, name


def test_the_only_installed_model_is_taken_by_default(run: Callable, installed: Path) -> None:
    assert "decode, 4 tokens\t" in run("bench", *SMALL).out


def test_nothing_installed_is_an_error_for_a_script(run: Callable) -> None:
    assert run("bench", *SMALL).code == NotFoundError.exit_code


def test_senseless_figures_are_refused(run: Callable, tiny_package: Path) -> None:
    assert run("bench", tiny_package, "--new-tokens", "1").code == UsageError.exit_code
