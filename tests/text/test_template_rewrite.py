import pytest
from jinja2 import nodes

from pocketseek.text.template_meter import LimitError
from pocketseek.text.template_rewrite import DEEP, EACH, MAX_ELIFS, SHALLOW, Metering, check_nesting
from pocketseek.text.template_sandbox import MeteredEnvironment

ENVIRONMENT = MeteredEnvironment({})


def filters_in(source: str) -> list[str]:
    tree = Metering().visit(ENVIRONMENT.parse(source))
    return [node.name for node in tree.find_all(nodes.Filter)]


@pytest.mark.parametrize(
    ("source", "filters"),
    [
        ("text", [DEEP]),
        ("{{ a }}", [DEEP]),
        ("{% for a in b %}{% endfor %}", [EACH]),
        ("{% set x = a ~ b %}", [DEEP, DEEP]),
        ("{% if a == b %}{% endif %}", [DEEP, DEEP]),
        ("{% if a < b < c %}{% endif %}", [DEEP, DEEP, DEEP]),
        ("{% set x = a[1:] %}", [SHALLOW]),
        ("{% set x = a[1] %}", []),
        ("{% set x = [a] %}", [DEEP]),
        ("{% set x = (a, b) %}", [DEEP]),
        ("{% set x = {'a': b} %}", [DEEP]),
        ("{% set x, y = z %}", []),
    ],
)
def test_what_repeats_copies_or_compares_is_wrapped(source: str, filters: list[str]) -> None:
    assert filters_in(source) == filters


@pytest.mark.parametrize("name", [EACH, SHALLOW, DEEP])
def test_a_template_cannot_name_the_wrapping_filters(name: str) -> None:
    tree = ENVIRONMENT.parse("{{ a |" + name + " }}")
    assert [node.name for node in tree.find_all(nodes.Filter)] == [name.strip()]


def test_a_generation_tag_is_its_contents() -> None:
    tree = ENVIRONMENT.parse("{% generation %}a{{ b }}{% endgeneration %}")
    assert [type(node) for node in tree.body] == [nodes.Output]


def test_ordinary_nesting_passes() -> None:
    check_nesting(ENVIRONMENT.parse("{% if a %}" * 20 + "{{ 1" + " + 1" * 50 + " }}" + "{% endif %}" * 20))


@pytest.mark.parametrize(
    "source", ["{{ 1" + " + 1" * 200 + " }}", "{% if a %}" + "{% elif a %}" * (MAX_ELIFS + 1) + "{% endif %}"]
)
def test_deep_nesting_is_refused(source: str) -> None:
    with pytest.raises(LimitError, match="nested"):
        check_nesting(ENVIRONMENT.parse(source))
