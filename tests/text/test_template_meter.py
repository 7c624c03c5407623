import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.utils import Namespace

from pocketseek.text.template_meter import BASE_BUDGET, MAX_NUMBER_BITS, MAX_PADDING, STEP_COST, LimitError, Meter


def test_a_meter_allows_its_budget_and_no_more() -> None:
    meter = Meter(0)
    meter.spend(BASE_BUDGET - STEP_COST)
    with pytest.raises(LimitError, match="loops too long"):
        meter.spend(0)


def test_a_longer_conversation_has_a_larger_budget() -> None:
    meter = Meter(1000)
    meter.spend(BASE_BUDGET)
    meter.spend(1000)


def test_steps_that_cost_nothing_else_run_out_too() -> None:
    meter = Meter(0)
    for _ in range(BASE_BUDGET // STEP_COST):
        meter.spend(0)
    with pytest.raises(LimitError):
        meter.spend(0)


nested = st.recursive(
    st.text(max_size=5) | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


def num_nodes(value: object) -> int:
    if isinstance(value, dict):
        return 1 + sum(num_nodes(item) for pair in value.items() for item in pair)
    return 1 + sum(map(num_nodes, value)) if isinstance(value, list) else 1


@given(nested)
def test_looking_at_all_of_a_value_costs_at_least_a_step_for_each_part(value: object) -> None:
    meter, other = Meter(0), Meter(0)
    meter.deep(value)
    for _ in range(num_nodes(value)):
        other.spend(0)
    assert meter._left <= other._left


def test_a_list_that_holds_itself_many_times_over_costs_what_printing_it_would() -> None:
    value: list[object] = []
    for _ in range(40):
        value = [value, value]
    with pytest.raises(LimitError):
        Meter(0).deep(value)


def test_a_value_that_holds_itself_is_nested_too_deeply() -> None:
    namespace = Namespace()
    namespace["self"] = [namespace]
    with pytest.raises(LimitError, match="nests"):
        Meter(0).deep(namespace)


def test_counted_values_are_the_same_values() -> None:
    counted = Meter(0).each([1, 2, 3])
    assert list(counted) == list(counted) == [1, 2, 3]
    assert len(counted) == 3
    with pytest.raises(TypeError):
        len(Meter(0).each(number for number in [1]))


def test_limits_of_widths_and_numbers() -> None:
    meter = Meter(0)
    meter.padding(MAX_PADDING)
    meter.number(MAX_NUMBER_BITS)
    for width in (MAX_PADDING + 1, -MAX_PADDING - 1, "5", None):
        with pytest.raises(LimitError):
            meter.padding(width)
    with pytest.raises(LimitError):
        meter.number(MAX_NUMBER_BITS + 1)


@pytest.mark.parametrize("pattern", ["%5d", "%s is 100%", "**%s**", "%(name)s", "1234"])
def test_ordinary_formats_are_allowed(pattern: str) -> None:
    Meter(0).formatted(pattern, "x")


@pytest.mark.parametrize("pattern", ["{}", '{{"a": "{}"}}', "{0[a]:>10}", "{name!r}", "1234", "{{:{{5000}}}}"])
def test_ordinary_brace_formats_are_allowed(pattern: str) -> None:
    Meter(0).brace_formatted(pattern, "x")


@pytest.mark.parametrize("pattern", ["%1000d", "%-0100000d", "%.5000f", "%*d", "%.*f"])
def test_extreme_formats_are_refused(pattern: str) -> None:
    with pytest.raises(LimitError, match="width"):
        Meter(0).formatted(pattern, "x")


@pytest.mark.parametrize("pattern", ["{:10000}", "{:{}}", "{a:.99999}", "{:>{width}}"])
def test_extreme_brace_formats_are_refused(pattern: str) -> None:
    with pytest.raises(LimitError, match="width"):
        Meter(0).brace_formatted(pattern, "x")
