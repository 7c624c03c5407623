"""The sampler against a slow, obvious one in plain Python, and the distribution that it draws from."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import pocketseek.runtime.sampling as sampling_module
from pocketseek.errors import ModelOutputError, UsageError
from pocketseek.kernels.choose import supported_sets
from pocketseek.kernels.contract import LogitsMath
from pocketseek.kernels.logits import NumpyLogits
from pocketseek.kernels.native import NativeLogits
from pocketseek.runtime.counter_random import uniform
from pocketseek.runtime.sampling import Sampler, log_probability, most_likely, validate_sampling
from pocketseek.types import SamplingParams, TokenScore

CORE = NativeLogits(supported_sets()[-1])
MATHS: tuple[LogitsMath, ...] = (CORE, NumpyLogits())
GREEDY = SamplingParams(temperature=0.0)
PLAIN = SamplingParams(temperature=1.0, top_p=1.0)

rows = hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(-30, 30, width=32))
# Few distinct values: many ties, at the best token and at the borders of the filters.
tied_rows = hnp.arrays(np.float32, st.integers(1, 60), elements=st.sampled_from([-3.0, 0.0, 0.5, 2.0]))
params = st.builds(
    SamplingParams,
    temperature=st.floats(0.05, 2.0),
    top_k=st.integers(0, 70),
    top_p=st.floats(0.01, 1.0),
    min_p=st.one_of(st.just(0.0), st.floats(0.0, 1.0)),
)


def choose(logits: np.ndarray, sampling: SamplingParams, seed: int = 1, position: int = 1) -> int:
    """The token at an absolute position, after a prompt of zeros."""
    return Sampler(sampling, seed, [0] * position, logits_math=CORE).choose(logits, []).token_id


def slow_penalised(
    logits: Sequence[float], sampling: SamplingParams, prompt: Sequence[int], output: Sequence[int]
) -> list[float]:
    scores = list(logits)
    for token in {*prompt, *output}:
        factor = sampling.repetition_penalty
        scores[token] = scores[token] * factor if scores[token] < 0 else scores[token] / factor
    for token in set(output):
        scores[token] -= sampling.presence_penalty + sampling.frequency_penalty * list(output).count(token)
    return scores


def slow_ranking(logits: Sequence[float], sampling: SamplingParams) -> list[tuple[int, float]]:
    """Tokens that top-k leaves, best first and equal ones by id, with their weights relative to the best."""
    order = sorted(range(len(logits)), key=lambda token: (-logits[token], token))[: sampling.top_k or len(logits)]
    best = logits[order[0]]
    return [(token, math.exp((logits[token] - best) / sampling.temperature)) for token in order]


def slow_kept_counts(weights: Sequence[float], sampling: SamplingParams) -> set[int]:
    """How many of the ranked tokens top-p and min-p keep; more than one answer where rounding decides."""
    counts = set()
    for slack in (-1e-6, 0.0, 1e-6):
        wanted = min(1.0, sampling.top_p + slack) * sum(weights)
        nucleus = next((n for n in range(1, len(weights) + 1) if sum(weights[:n]) >= wanted), len(weights))
        if sampling.top_p == 1.0:
            nucleus = len(weights)
        counts.add(min(nucleus, sum(weight >= sampling.min_p * (1 + slack) for weight in weights) or 1))
    return counts


def assert_slow_one_agrees(logits: np.ndarray, sampling: SamplingParams, seed: int) -> None:
    chosen, random = choose(logits, sampling, seed), uniform(seed, 1)
    ranking = slow_ranking([float(value) for value in logits], sampling)
    rank = [token for token, _ in ranking].index(chosen)
    weights = [weight for _, weight in ranking]
    for count in slow_kept_counts(weights, sampling):
        total = sum(weights[:count])
        low, high = sum(weights[:rank]) / total, sum(weights[: rank + 1]) / total
        if rank < count and low - 1e-5 <= random <= high + 1e-5:
            return
    pytest.fail(f"token {chosen} of rank {rank} is not what {random} stands for")


@given(st.one_of(rows, tied_rows), params, st.integers(0, 2**64 - 1))
def test_draw_agrees_with_the_slow_sampler(logits: np.ndarray, sampling: SamplingParams, seed: int) -> None:
    assert_slow_one_agrees(logits, sampling, seed)


@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("sampling", [SamplingParams(), PLAIN, SamplingParams(top_k=50), SamplingParams(min_p=0.02)])
def test_draw_agrees_with_the_slow_sampler_on_a_large_vocabulary(scale: float, sampling: SamplingParams) -> None:
    logits = np.random.default_rng(5).standard_normal(1500, np.float32) * np.float32(scale)
    for seed in range(3):
        assert_slow_one_agrees(logits, sampling, seed)


@given(
    hnp.arrays(np.float32, 12, elements=st.floats(-30, 30, width=32)),
    st.builds(
        SamplingParams,
        temperature=st.just(0.0),
        repetition_penalty=st.floats(0.1, 10.0),
        presence_penalty=st.floats(-2, 2),
        frequency_penalty=st.floats(-2, 2),
    ),
    st.lists(st.integers(0, 11), min_size=1, max_size=20),
    st.lists(st.integers(0, 11), max_size=20),
)
def test_penalties_agree_with_the_slow_ones(
    logits: np.ndarray, sampling: SamplingParams, prompt: list[int], output: list[int]
) -> None:
    chosen = Sampler(sampling, 0, prompt).choose(logits, output).token_id
    slow = slow_penalised([float(value) for value in logits], sampling, prompt, output)
    assert slow[chosen] >= max(slow) - 1e-4 * (1 + abs(max(slow)))


@given(st.one_of(rows, tied_rows))
def test_greedy_takes_the_lowest_id_of_the_best(logits: np.ndarray) -> None:
    assert choose(logits, GREEDY) == list(logits).index(max(logits))


@given(rows, params)
def test_same_seed_and_position_give_the_same_token(logits: np.ndarray, sampling: SamplingParams) -> None:
    assert choose(logits, sampling, 9, 4) == choose(logits.copy(), sampling, 9, 4)


def test_only_the_absolute_position_counts_not_what_is_prompt_and_what_output() -> None:
    logits = np.zeros(1000, np.float32)
    early = Sampler(PLAIN, 3, [1]).choose(logits, [2, 3, 4])
    assert early == Sampler(PLAIN, 3, [1, 2, 3]).choose(logits, [4])


def test_choosing_does_not_change_the_logits() -> None:
    logits = np.arange(9, dtype=np.float32)
    sampling = SamplingParams(repetition_penalty=2.0, presence_penalty=1.0, frequency_penalty=1.0, top_k=3)
    Sampler(sampling, 1, [1, 2]).choose(logits, [3])
    assert (logits == np.arange(9)).all()


def test_logits_may_be_read_only() -> None:
    logits = np.arange(9, dtype=np.float32)
    logits.flags.writeable = False
    assert Sampler(SamplingParams(temperature=0, repetition_penalty=1.5), 1, [8]).choose(logits, []).token_id == 7


def test_tiny_temperature_is_greedy() -> None:
    logits = np.array([0.0, 1.0, 0.999], np.float32)
    assert {choose(logits, SamplingParams(temperature=5e-324), seed) for seed in range(50)} == {1}


def test_top_k_one_is_greedy() -> None:
    logits = np.array([1.0, 3.0, 3.0, 2.0], np.float32)
    assert {choose(logits, SamplingParams(temperature=2.0, top_k=1), seed) for seed in range(50)} == {1}


def test_top_k_keeps_the_lowest_ids_of_equals() -> None:
    sampling = SamplingParams(temperature=1.0, top_k=3, top_p=1.0)
    logits = np.array([0.0, 1.0, 1.0, 1.0, 1.0], np.float32)
    assert {choose(logits, sampling, seed) for seed in range(100)} == {1, 2, 3}


def test_masked_tokens_are_never_chosen() -> None:
    logits = np.array([-np.inf, 0.0, -np.inf, 0.0], np.float32)
    assert {choose(logits, PLAIN, seed) for seed in range(100)} == {1, 3}


def test_rank_never_passes_the_last_token_with_weight() -> None:
    logits = np.array([0.0, -1e4, -1e4], np.float32)  # the others' weights are exactly 0
    assert {choose(logits, PLAIN, seed) for seed in range(200)} == {0}


@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("sampling", [PLAIN, SamplingParams(), SamplingParams(min_p=1e-4), SamplingParams(top_k=900)])
def test_sorting_only_the_head_changes_nothing(
    scale: float, sampling: SamplingParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = np.random.default_rng(6).standard_normal(5000, np.float32) * np.float32(scale)
    with_heads = [choose(logits, sampling, seed) for seed in range(60)]
    monkeypatch.setattr(sampling_module, "_HEADS", ())
    assert with_heads == [choose(logits, sampling, seed) for seed in range(60)]


@pytest.mark.parametrize("random", [0.0, 1.0 - 2.0**-53])
@pytest.mark.parametrize("sampling", [PLAIN, SamplingParams(), SamplingParams(top_k=2, min_p=0.5)])
def test_extreme_draws_stay_within_the_tokens_that_have_weight(
    random: float, sampling: SamplingParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling_module, "uniform", lambda seed, position: random)
    for size in range(1, 200):  # the wide range makes sums in different orders differ in their last bits
        logits = np.random.default_rng(size).standard_normal(size, np.float32) * np.float32(10)
        logits[1::2] = -1e5
        assert choose(logits, sampling) % 2 == 0


def chi_square(observed: np.ndarray, probabilities: np.ndarray) -> float:
    expected = probabilities * observed.sum()
    return float(((observed - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("along", ["seed", "position"])
def test_frequencies_follow_the_softmax_along(along: str) -> None:
    logits = np.array([0.0, 1.0, -1.0, 0.5, 0.0, 1.5, -0.5, 0.2], np.float32)
    drawn = [choose(logits, PLAIN, i, 1) if along == "seed" else choose(logits, PLAIN, 1, 1 + i) for i in range(4000)]
    weights = np.exp(logits.astype(np.float64))
    observed = np.bincount(drawn, minlength=8)
    assert chi_square(observed, weights / weights.sum()) < 33  # 7 degrees of freedom: beyond this once in 40 000


def test_frequencies_follow_temperature_and_filters() -> None:
    logits = np.array([0.0, 1.0, 2.0, 3.0, -5.0], np.float32)
    sampling = SamplingParams(temperature=2.0, top_k=4, top_p=0.9, min_p=0.3)
    drawn = [choose(logits, sampling, seed) for seed in range(4000)]
    weights = np.exp(np.array([-1.0, -0.5, 0.0]))  # ids 1, 2, 3: top-k drops 4, top-p and min-p drop 0
    observed = np.bincount(drawn, minlength=5)
    assert observed[[0, 4]].tolist() == [0, 0]
    assert chi_square(observed[1:4], weights / weights.sum()) < 23  # 2 degrees of freedom: once in 100 000


def test_the_core_and_numpy_draw_the_same_tokens() -> None:
    logits = np.random.default_rng(12).standard_normal(5000, np.float32) * np.float32(3)
    for seed in range(60):
        choices = [Sampler(SamplingParams(), seed, [], logits_math=math).choose(logits, []) for math in MATHS]
        assert choices[0].token_id == choices[1].token_id
        assert choices[0].logprob == pytest.approx(choices[1].logprob, abs=1e-6)


@given(hnp.arrays(np.float32, st.integers(1, 50), elements=st.floats(-1e4, 1e4, width=32)), st.data())
def test_log_probability_agrees_with_float64(logits: np.ndarray, data: st.DataObject) -> None:
    token = data.draw(st.integers(0, len(logits) - 1))
    exact = logits.astype(np.float64)
    expected = exact[token] - exact.max() - np.log(np.exp(exact - exact.max()).sum())
    assert log_probability(logits, token, CORE) == pytest.approx(expected, abs=1e-6, rel=1e-6)


def test_reported_logprob_is_of_the_raw_distribution() -> None:
    logits = np.array([0.0, 2.0, 1.0], np.float32)
    sampling = SamplingParams(temperature=0.1, top_k=1, repetition_penalty=10.0)
    choice = Sampler(sampling, 1, [1]).choose(logits, [])
    assert choice.token_id == 2
    assert choice.logprob == pytest.approx(1.0 - math.log(1 + math.e + math.e**2), abs=1e-6)


@given(tied_rows | rows, st.integers(1, 70))
def test_the_most_likely_are_those_of_a_full_sort_with_equals_by_id(logits: np.ndarray, count: int) -> None:
    assert most_likely(logits, count) == sorted(range(len(logits)), key=lambda token: (-logits[token], token))[:count]


@pytest.mark.parametrize("num_values", [511, 512, 513, 20 * 512, 20 * 512 + 1, 50_000])
@pytest.mark.parametrize("decimals", [0, 1, 7])
def test_the_most_likely_of_a_large_vocabulary_are_those_of_a_full_sort(num_values: int, decimals: int) -> None:
    logits = np.random.default_rng(num_values).standard_normal(num_values).round(decimals).astype(np.float32)
    order = sorted(range(num_values), key=lambda token: (-logits[token], token))
    for count in (1, 2, 20):
        assert most_likely(logits, count) == order[:count]


@given(rows, params, st.integers(1, 20))
def test_the_most_likely_are_reported_beside_the_same_token(
    logits: np.ndarray, sampling: SamplingParams, count: int
) -> None:
    plain = Sampler(sampling, 3, [0], logits_math=CORE).choose(logits, [])
    choice = Sampler(sampling, 3, [0], top_logprobs=count, logits_math=CORE).choose(logits, [])
    assert (choice.token_id, choice.logprob) == (plain.token_id, plain.logprob)
    assert choice.top == tuple(
        TokenScore(token_id, log_probability(logits, token_id, CORE)) for token_id in most_likely(logits, count)
    )


def test_a_constraint_and_penalties_leave_the_most_likely_as_the_model_has_them() -> None:
    logits = np.array([1.0, 5.0, 3.0, 4.0], np.float32)
    sampling = SamplingParams(temperature=0.0, repetition_penalty=9.0)
    choice = Sampler(sampling, 1, [1], top_logprobs=2).choose(logits, [3], np.array([0, 2]))
    assert (choice.token_id, [score.token_id for score in choice.top]) == (2, [1, 3])
    assert choice.logprob == log_probability(logits, 2)


def test_without_logprobs_the_same_token_is_chosen() -> None:
    logits = np.random.default_rng(8).standard_normal(300, np.float32)
    choices = [Sampler(SamplingParams(), 5, [1], logprobs=wanted).choose(logits, []) for wanted in (True, False)]
    assert choices[0].token_id == choices[1].token_id
    assert choices[0].logprob is not None
    assert choices[1].logprob is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("sampling", [GREEDY, SamplingParams(), SamplingParams(repetition_penalty=1.1)])
def test_unusable_logits_are_reported(bad: float, sampling: SamplingParams) -> None:
    logits = np.array([0.0, bad, 1.0], np.float32)
    with pytest.raises(ModelOutputError):
        choose(logits, sampling)
    with pytest.raises(ModelOutputError):
        log_probability(logits, 0)


def test_logits_that_mask_everything_are_reported() -> None:
    with pytest.raises(ModelOutputError):
        choose(np.full(3, -np.inf, np.float32), PLAIN)


@given(hnp.arrays(np.float32, 6, elements=st.floats(width=32)), params)
def test_any_logits_give_a_token_or_a_clear_error(logits: np.ndarray, sampling: SamplingParams) -> None:
    assume(not np.isnan(logits).any() and not np.isposinf(logits).any() and np.isfinite(logits).any())
    assert logits[choose(logits, sampling)] > -math.inf


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("temperature", "top_p", "min_p") for value in (-0.1, 2.1, -math.inf)),
        *(("repetition_penalty", value) for value in (0.0, 0.09, 10.1, -1)),
        *((name, value) for name in ("presence_penalty", "frequency_penalty") for value in (-2.1, 2.1)),
        *((name, math.nan) for name in ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty")),
        *((name, math.inf) for name in ("temperature", "top_p", "min_p", "repetition_penalty", "frequency_penalty")),
        *((name, "0.5") for name in ("temperature", "top_p", "top_k", "seed")),
        *((name, True) for name in ("temperature", "top_p", "top_k", "seed")),
        *((name, None) for name in ("temperature", "top_k", "min_p")),
        *((name, 10**400) for name in ("temperature", "top_k", "seed")),
        *(("top_k", value) for value in (-1, 1.0, 1_000_001)),
        *(("seed", value) for value in (-1, 2**64, 1.5)),
        ("top_p", 0.0),
        ("temperature", "x" * 1000),
    ],
)
def test_invalid_values_are_refused_in_one_line_with_name_and_range(name: str, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        validate_sampling(SamplingParams(**{name: value}))  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.startswith(name)
    assert "; use " in message
    assert "\n" not in message
    assert len(message) < 160


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParams(),
        SamplingParams(temperature=0, top_p=1, min_p=0, repetition_penalty=1, presence_penalty=-2, frequency_penalty=2),
        SamplingParams(temperature=2.0, top_k=1_000_000, min_p=1.0, repetition_penalty=0.1, seed=2**64 - 1),
    ],
)
def test_borders_of_the_ranges_are_allowed(sampling: SamplingParams) -> None:
    validate_sampling(sampling)


def test_frequency_counts_uses_and_presence_does_not() -> None:
    logits = np.zeros(4, np.float32)
    logits[1] = 1.5
    often = SamplingParams(temperature=0.0, frequency_penalty=1.0)
    once = SamplingParams(temperature=0.0, presence_penalty=1.0)
    assert Sampler(often, 0, [0]).choose(logits, [1]).token_id == 1
    assert Sampler(often, 0, [0]).choose(logits, [1, 1]).token_id != 1
    assert Sampler(once, 0, [0]).choose(logits, [1, 1, 1]).token_id == 1
