"""Hostile templates: each ends with TemplateError. That they end is the test; a budget stops them, not a clock."""

import resource
import threading

import pytest

from pocketseek.errors import TemplateError
from pocketseek.text.chat_template import ChatTemplate
from pocketseek.text.template_sandbox import MAX_SOURCE_CHARACTERS
from pocketseek.types import Message

HI = [Message("user", "hi")]
BIG = "{% set big = 'a' * 2000000 %}"


def grow(start: str, step: str, last: str) -> str:
    return (
        "{% set ns = namespace(v="
        + start
        + ") %}{% for i in range(200) %}{% set ns.v = "
        + step
        + " %}{% endfor %}"
        + last
    )


REACHING = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{% if ''.__class__ %}{% endif %}",
    "{% set x = ''['__class__'] %}",
    "{{ '' | attr('__class__') }}",
    "{{ messages | map(attribute='__class__') | list }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__self__ }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ self._TemplateReference__context }}",
    "{{ namespace.mro() }}",
    "{{ dict.fromkeys([1]) }}",
    "{{ (1).to_bytes(5, 'big') }}",
    "{{ 'a'.encode() }}",
    "{{ 'a'.translate({}) }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update({'role': 'system'}) }}",
]

ENDLESS = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}",
    "a loop that compares": "{% for a in range(99999) %}{% for b in range(99999) %}{% if a == b %}{% endif %}"
    "{% endfor %}{% endfor %}",
    "a loop that calls": "{% for a in range(99999) %}{% for b in range(99999) %}{% set x = messages.count(a) %}"
    "{% endfor %}{% endfor %}",
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "branching recursion": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(90) }}",
    "a recursive loop": "{% for x in range(99) recursive %}{{ loop(range(99)) }}{% endfor %}",
    "a recursive loop that branches": "{% for x in range(2) recursive %}{% if loop.depth < 90 %}{{ loop(range(2)) }}"
    "{% endif %}{% endfor %}",
    "a block that shows itself": "{% block b %}{{ self.b() }}{% endblock %}",
    "a huge range": "{% for a in range(10 ** 12) %}{% endfor %}",
    "lazy filters": "{{ range(99999) | map('string') | map('length') | select('odd') | list | length }}" * 50,
    "sorting": "{% for i in range(99999) %}{% set x = range(99999) | sort %}{% endfor %}",
}

HUGE = {
    "output": "{% for a in range(99999) %}{% for b in range(99999) %}aaaaaaaaaaaaaaaaaaaa{% endfor %}{% endfor %}",
    "a captured block": "{% set x %}{% for a in range(99999) %}{% for b in range(99999) %}aaaaaaaaaa{% endfor %}"
    "{% endfor %}{% endset %}",
    "a macro's text": "{% macro m() %}" + "x" * 50_000 + "{% endmacro %}"
    "{% for a in range(99999) %}{% set x = m() %}{% endfor %}",
    "doubling text by +": grow("'a'", "ns.v + ns.v", "{{ ns.v }}"),
    "doubling text by ~": grow("'a'", "ns.v ~ ns.v", "{{ ns.v }}"),
    "doubling text by join": grow("'a'", "[ns.v, ns.v] | join", "{{ ns.v }}"),
    "doubling text by %": grow("'a'", "'%s%s' % (ns.v, ns.v)", "{{ ns.v }}"),
    "doubling text by format": grow("'a'", "'{0}{0}'.format(ns.v)", "{{ ns.v }}"),
    "doubling text by replace": grow("'aa'", "ns.v.replace('a', 'aa')", "{{ ns.v }}"),
    "doubling a list": grow("[1]", "ns.v + ns.v", "{{ ns.v | length }}"),
    "a list of itself twice": grow("[1]", "[ns.v, ns.v]", "{{ ns.v }}"),
    "a tuple of itself twice": grow("1", "(ns.v, ns.v)", "{{ ns.v }}"),
    "a dict of itself twice": grow("1", "{'a': ns.v, 'b': ns.v}", "{{ ns.v | tojson }}"),
    "dict() of itself twice": grow("1", "dict(a=ns.v, b=ns.v)", "{{ ns.v | tojson }}"),
    "a namespace of itself twice": grow("1", "namespace(a=ns.v, b=ns.v)", "{{ ns.v }}"),
    "squaring a number": grow("3", "ns.v * ns.v", "{{ ns.v }}"),
    "text times a number": "{{ 'a' * 10 ** 9 }}",
    "a number times text": "{{ 10 ** 9 * 'a' }}",
    "a list times a number": "{{ [1] * 10 ** 9 }}",
    "a power": "{{ 10 ** 10000000 }}",
    "constants": "{{ 'a' | center(1000000000) }}",
    "center": "{{ 'a'.center(10 ** 9) }}",
    "ljust": "{{ 'a'.ljust(10 ** 9) }}",
    "rjust": "{{ 'a'.rjust(10 ** 9) }}",
    "zfill": "{{ 'a'.zfill(10 ** 9) }}",
    "a wide %": "{{ '%1000000000d' % 1 }}",
    "a precise %": "{{ '%.1000000000f' % 1 }}",
    "a * width": "{{ '%*d' % (10 ** 9, 1) }}",
    "a wide format filter": "{{ '%1000000000d' | format(1) }}",
    "a wide format": "{{ '{:1000000000}'.format(1) }}",
    "a nested width": "{{ '{:{}}'.format(1, 10 ** 9) }}",
    "indent": "{{ 'a\nb' | indent(10 ** 9) }}",
    "indent by text": BIG + "{{ 'a\nb\nc\nd\ne\nf\n' | indent(big) }}",
    "tojson indent": "{{ [[[1]]] | tojson(indent=10 ** 9) }}",
    "batch": "{{ [1] | batch(10 ** 9, 'x') | list }}",
    "slice": "{{ [1] | slice(10 ** 9) | list }}",
    "round": "{{ 1.5 | round(10 ** 9, 'floor') }}",
    "adding up lists": "{{ [[1], [2]] | sum(start=[]) }}",
    "replace": BIG + "{{ big.replace('a', big) }}",
    "replacing nothing": BIG + "{{ big.replace('', big) }}",
    "the replace filter": BIG + "{{ big | replace('a', big) }}",
    "join": BIG + "{{ big.join(big) }}",
    "the join filter": BIG + "{{ range(99999) | join(big) }}",
    "comparing": BIG + "{% if big == big ~ 'a' %}{% endif %}" * 100,
    "searching": BIG + "{% if 'b' in big %}{% endif %}" * 100,
    "slicing": BIG + "{% set x = big[1:] %}" * 100,
    "upper": BIG + "{% set x = big | upper %}" * 100,
    "split": BIG + "{% set x = big.split('a') %}" * 100,
    "a date": "{{ strftime_now('%1000000000Y') }}",
    "a long date": "{{ strftime_now('%c' * 1000000) }}",
}  # fmt: skip

NESTED = {
    "parentheses": "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
    "lists": "{{ " + "[" * 20_000 + "]" * 20_000 + " }}",
    "not": "{{ " + "not " * 20_000 + "1 }}",
    "sums": "{{ 1" + " + 1" * 20_000 + " }}",
    "attributes": "{{ a" + ".b" * 20_000 + " }}",
    "filters": "{{ 1" + " | abs" * 15_000 + " }}",
    "ifs": "{% if a %}" * 4000 + "{% endif %}" * 4000,
    "elifs": "{% if a %}" + "{% elif b %}" * 9000 + "{% endif %}",
    "loops": "{% for a in b %}" * 60 + "{% endfor %}" * 60,
    "digits": "{{ " + "9" * 6000 + " }}",
    "length": "a" * (MAX_SOURCE_CHARACTERS + 1),
}


def render(source: str) -> str:
    return ChatTemplate(source, "<s>", "</s>").render(HI)


@pytest.mark.parametrize("source", REACHING)
def test_reaching_for_pythons_insides_is_refused(source: str) -> None:
    with pytest.raises(TemplateError, match="not safe"):
        render(source)


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_template_ends(name: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(ENDLESS[name])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", HUGE)
def test_a_template_that_makes_huge_values_is_stopped(name: str) -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TemplateError, match="stopped"):
        render(HUGE[name])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 150 * 1024


@pytest.mark.parametrize("name", NESTED)
def test_a_source_nested_or_long_beyond_reason_is_not_compiled(name: str) -> None:
    with pytest.raises(TemplateError, match="not valid") as caught:
        render(NESTED[name])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tag", ["{% include 'x' %}", "{% extends 'x' %}", "{% import 'os' as os %}", "{{ lipsum() }}"])
def test_nothing_is_loaded_from_elsewhere(tag: str) -> None:
    with pytest.raises(TemplateError):
        render(tag)


def test_a_hostile_template_is_stopped_in_any_thread() -> None:
    caught: list[Exception] = []

    def work() -> None:
        try:
            render(ENDLESS["nested loops"])
        except TemplateError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(caught) == 1


def test_the_budget_starts_anew_with_each_rendering() -> None:
    template = ChatTemplate("{% set x = 'a' * 3500000 %}x", "", "")
    assert {template.render(HI) for _ in range(8)} == {"x"}


def test_refused_values_do_not_stop_the_next_rendering() -> None:
    template = ChatTemplate("{% if add_generation_prompt %}{{ 'a' * 10 ** 9 }}{% endif %}ok", "", "")
    with pytest.raises(TemplateError, match="stopped"):
        template.render(HI)
    assert template.render(HI, add_generation_prompt=False) == "ok"
