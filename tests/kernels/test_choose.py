"""Which kernels are used, and why."""

from __future__ import annotations

import pytest

from pocketseek.errors import UsageError
from pocketseek.kernels.choose import choose_kernels, supported_sets


def test_the_best_set_of_this_processor_is_the_default() -> None:
    choice = choose_kernels()
    assert choice.name == supported_sets()[-1]
    assert choice.name in choice.reason


@pytest.mark.parametrize("name", ["reference", "scalar"])
def test_an_override_is_followed(name: str) -> None:
    assert choose_kernels(name).name == name


def test_unknown_kernels_are_refused_with_the_known_names() -> None:
    with pytest.raises(
        UsageError, match="choose one of reference, scalar, avx2, avx-vnni, avx512, neon-dotprod, neon-i8mm"
    ):
        choose_kernels("neural")
