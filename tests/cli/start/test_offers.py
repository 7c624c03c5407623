"""What a newcomer is offered, by what was measured."""

from dataclasses import replace

from pocketseek.cli.start.offers import best_to_fetch, make_offers
from pocketseek.govern.model_verdict import ModelNeeds, ModelVerdict

GB = 10**9
NEEDS = ModelNeeds(
    name="r1-1.5b",
    quant="q4",
    parameters=1_500_000_000,
    package_bytes=GB,
    weights_bytes=GB,
    multiply_adds=(),
    attention_multiply_adds=0,
    page_bytes=(("f16", 1),),
    base_bytes=1,
    context_length=4096,
    vocab_size=1,
    num_layers=1,
    checkpoint_bytes=3 * GB,
)


def verdict(name: str, parameters: float, rate: float | None, **changes: object) -> ModelVerdict:
    needs = replace(NEEDS, name=name, parameters=int(parameters))
    found = ModelVerdict(needs, "resident", 1, 1, 1, conversion_bytes=4 * GB, decode_tokens_per_s=rate)
    return replace(found, **changes)  # type: ignore[arg-type]


def fetched(*verdicts: ModelVerdict, free_bytes: int | None = None) -> str | None:
    best = best_to_fetch(verdicts, free_bytes)
    return None if best is None else best.needs.name


SMALL, LARGE = verdict("r1-1.5b", 1.5e9, 20.0), verdict("r1-7b", 7e9, 6.0)


def test_the_largest_that_is_as_fast_as_reading_is_offered() -> None:
    assert fetched(SMALL, LARGE, verdict("r1-14b", 14e9, 3.0)) == "r1-7b"


def test_where_none_is_that_fast_the_fastest_is_offered() -> None:
    assert fetched(verdict("r1-7b", 7e9, 1.0), verdict("r1-1.5b", 1.5e9, 4.0)) == "r1-1.5b"


def test_where_no_speed_is_known_the_smallest_is_offered() -> None:
    assert fetched(verdict("r1-7b", 7e9, None), verdict("r1-1.5b", 1.5e9, None)) == "r1-1.5b"


def test_half_of_an_upper_limit_is_believed() -> None:
    assert fetched(SMALL, replace(LARGE, decode_tokens_per_s=9.0, is_estimate=True)) == "r1-1.5b"
    assert fetched(SMALL, replace(LARGE, decode_tokens_per_s=11.0, is_estimate=True)) == "r1-7b"


def test_what_cannot_be_converted_in_the_free_storage_is_not_offered() -> None:
    assert fetched(SMALL, replace(LARGE, conversion_bytes=20 * GB), free_bytes=10 * GB) == "r1-1.5b"
    assert fetched(SMALL, free_bytes=GB) is None


def test_models_for_programs_the_demo_and_what_does_not_run_are_not_offered() -> None:
    assert fetched(verdict("deepseek-coder-1.3b", 1.3e9, 30.0), verdict("demo", 1e8, 90.0)) is None
    assert fetched(replace(SMALL, fit="no memory")) is None


def test_what_is_smaller_than_what_is_here_is_not_offered() -> None:
    here = replace(LARGE, needs=replace(LARGE.needs, is_installed=True))
    assert fetched(here, SMALL) is None


def test_installed_models_come_first_and_the_page_after_them() -> None:
    here = replace(SMALL, needs=replace(SMALL.needs, is_installed=True))
    acts = [(offer.act, offer.model) for offer in make_offers([here, LARGE], None, installed=["r1-1.5b"])]
    assert acts[:3] == [("talk", "r1-1.5b"), ("page", ""), ("fetch", "r1-7b")]
    assert acts[-1] == ("leave", "")


def test_a_newcomer_is_recommended_one() -> None:
    first = make_offers([SMALL], None, installed=[])[0]
    assert (first.act, first.is_recommended) == ("fetch", True)
