"""Calls are found however the text is cut, nothing is lost, and a constraint makes a model write one that is found."""

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_hf_directory

from pocketseek.apps.tool_calls import (
    CallArguments,
    CallStart,
    Content,
    Event,
    ToolCallParser,
    closed,
    join_events,
    tool_constraint,
)
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import UsageError
from pocketseek.runtime.constrain import Constrainer
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.load import load
from pocketseek.text.tool_forms import SPELLINGS
from pocketseek.types import Request, SamplingParams, Tool, ToolCall, ToolForm

FORMS: tuple[ToolForm, ...] = get_args(ToolForm)
WEATHER = Tool(
    "get_weather",
    "Says what the weather is like.",
    json.dumps(
        {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "the capital"]}, "days": {"type": "integer", "maximum": 9}},
            "required": ["city"],
            "additionalProperties": False,
        }
    ),
)
TIME = Tool("time-now", parameters_json='{"type": "object", "additionalProperties": false}')


def parse(pieces: Sequence[str], form: ToolForm = "hermes") -> list[Event]:
    numbers = itertools.count()
    parser = ToolCallParser(form, new_id=lambda: f"id{next(numbers)}")
    return join_events([event for piece in pieces for event in parser.push(piece)] + parser.flush())


def call(index: int, name: str, arguments: str) -> list[Event]:
    return [CallStart(index, f"id{index}", name), CallArguments(index, arguments)]


@pytest.mark.parametrize("form", FORMS)
def test_what_a_form_writes_is_read_again(form: ToolForm) -> None:
    calls = [ToolCall("", "get_weather", '{"city": "a}\\"</tool_call>"}'), ToolCall("", "now", "{}")]
    expected = call(0, "get_weather", calls[0].arguments) + call(1, "now", "{}")
    assert parse([SPELLINGS[form].write(calls)], form) == expected


@pytest.mark.parametrize("form", ["hermes", "deepseek", "deepseek_v31"])
def test_text_around_calls_is_content(form: ToolForm) -> None:
    text = SPELLINGS[form].write([ToolCall("", "now", "{}")])
    assert parse([f"I look.\n\n{text}\nDone {{"], form) == [
        Content("I look."),
        *call(0, "now", "{}"),
        Content("Done {"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        '{"arguments": {"a": 1}, "name": "f"}',
        '{"name": "f", "arguments": "{\\"a\\": 1}"}',
        '{"type": "function", "name": "f", "parameters": {"a": 1}}',
        ' {"name" :"f",\n"arguments":{"a": 1}}\n',
        '{"name": "f", "arguments": {"a": 1}',
    ],
)
def test_variants_of_json_calls(body: str) -> None:
    assert parse([f"<tool_call>{body}</tool_call>"]) == call(0, "f", '{"a": 1}')


def test_a_call_without_arguments_has_an_empty_object() -> None:
    assert parse(['<tool_call>{"name": "f"}</tool_call>']) == call(0, "f", "{}")


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("hermes", "<tool_call>oh no</tool_call> what"),
        ("hermes", '<tool_call>{"name": 5, "arguments": {}}</tool_call>'),
        ("hermes", '<tool_call>{"name": "f", "arguments": [1]}</tool_call>'),
        ("hermes", '<tool_call>\n{"name": "f", "argu'),
        ("hermes", "a <tool_cal and <tool_"),
        ("llama", '{"answer": {"name": "f"}} and more'),
        ("llama", 'see {"name": "f", "parameters": {}}'),
        ("llama", '{"name": "f'),
        ("deepseek", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>nothing<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
        ("hermes", "  \n text {  "),
    ],
)
def test_what_is_no_call_is_content_letter_by_letter(form: ToolForm, text: str) -> None:
    assert parse([text], form) == [Content(text)]


def test_arguments_come_out_while_they_are_written() -> None:
    parser = ToolCallParser("hermes")
    parser.push('<tool_call>\n{"name": "f", "arguments": {"a')
    assert parser.push('": "b') == [CallArguments(0, '": "b')]


def test_content_is_held_no_longer_than_it_may_be_a_tag() -> None:
    parser = ToolCallParser("hermes")
    assert parser.push("Hello <b") == [Content("Hello <b")]
    assert parser.push(" <tool") == []
    assert parser.push("s>") == [Content(" <tools>")]


def test_a_call_that_is_cut_off_keeps_what_there_is_of_its_arguments() -> None:
    assert parse(['<tool_call>\n{"name": "f", "arguments": {"a": [1, 2']) == call(0, "f", '{"a": [1, 2')


def test_a_forgotten_brace_ends_with_the_call() -> None:
    events = parse(['<tool_call>{"name": "f", "arguments": {"a": {"b": 1}</tool_call> so'])
    assert events == [*call(0, "f", '{"a": {"b": 1}'), Content("so")]


def test_what_stands_behind_the_arguments_is_not_lost() -> None:
    events = parse(['<tool_call>{"name": "f", "arguments": {}, "x": 1}</tool_call>'])
    assert events == [*call(0, "f", "{}"), Content(', "x": 1}')]


def test_several_bare_calls_follow_each_other() -> None:
    text = '{"name": "f", "parameters": {}}; {"name": "g", "parameters": {"a": "{"}}'
    assert parse([text], "llama") == call(0, "f", "{}") + call(1, "g", '{"a": "{"}')


PARTS = [
    *("<tool_call>", "</tool_call>", '{"name": "f", "arguments": ', '{"a": "}"}', "}", "{", '"', "\n", " x ", ";", "<"),
    *('{"name": "g", "parameters": {}}', "function<｜tool▁sep｜>f\n```json\n", "f<｜tool▁sep｜>", "```", "\\"),
    *("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"),
]


@given(st.sampled_from(FORMS), st.lists(st.sampled_from(PARTS), max_size=12).map("".join), st.data())
def test_cutting_the_text_changes_nothing(form: ToolForm, text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in itertools.pairwise([0, *cuts, len(text)])]
    assert parse(pieces, form) == parse([text], form)


@given(st.sampled_from(FORMS), st.text("ab <>{}\"'\\;\n", max_size=40))
def test_text_without_calls_comes_out_as_it_is(form: ToolForm, text: str) -> None:
    assert "".join(event.text for event in parse([text], form) if isinstance(event, Content)) == text


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    directory = tmp_path_factory.mktemp("tiny")
    model = convert_checkpoint(tiny_hf_directory(directory / "source"), directory / "package", models_dir=directory)
    with load(model) as engine:
        yield engine


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("choice", ["required", "get_weather", "time-now"])
def test_random_weights_make_the_calls_that_are_asked_for(engine: Engine, form: ToolForm, choice: str) -> None:
    constraint = tool_constraint([WEATHER, TIME], choice, form, parallel=True)
    answer = engine.generate(
        "x<think></think>", max_tokens=230, constraint=constraint, sampling=SamplingParams(1.0, seed=len(form))
    )
    events = parse([answer.text], form)
    starts = [event for event in events if isinstance(event, CallStart)]
    assert {start.name for start in starts} <= ({"get_weather", "time-now"} if choice == "required" else {choice})
    assert len(starts) == 1 or choice == "required"
    if answer.finish_reason == "stop":
        assert not [event for event in events if isinstance(event, Content)]
        for start, event in zip(starts, (one for one in events if isinstance(one, CallArguments)), strict=True):
            arguments = json.loads(event.text)
            assert arguments == {} or arguments["city"] in ("Paris", "the capital")
            assert (start.name == "time-now") == (arguments == {})


def test_one_call_at_a_time_may_be_asked_for() -> None:
    one, several = (tool_constraint([WEATHER], "required", "hermes", parallel=parallel) for parallel in (False, True))
    assert "{0,7}" not in one.text
    assert "{0,7}" in several.text


def test_a_tool_that_is_not_offered_cannot_be_chosen() -> None:
    with pytest.raises(UsageError, match="no tool is named 'other'"):
        tool_constraint([WEATHER], "other", "hermes")
    with pytest.raises(UsageError, match="none is offered"):
        tool_constraint([], "required", "hermes")


def test_parameters_that_are_no_schema_are_refused() -> None:
    for parameters in ("{", "[]"):
        with pytest.raises(UsageError, match="no JSON object"):
            tool_constraint([Tool("f", parameters_json=parameters)], "f", "hermes")


def test_white_space_in_arguments_has_an_end_whatever_the_schema_says(engine: Engine) -> None:
    endless = Tool("f", parameters_json='{"x-guidance": {"whitespace_pattern": " +"}, "type": "object"}')
    prompt = tuple(engine.tokenizer.encode("<think></think>"))
    request = Request(prompt, constraint=tool_constraint([endless], "f", "hermes"))
    guide = Constrainer(engine.tokenizer, 320).guide(request)
    assert guide is not None
    (space,) = engine.tokenizer.encode(" ", add_special=False)
    for token_id in engine.tokenizer.encode('<tool_call>\n{"name": "f", "arguments": {', add_special=False):
        guide.accept(token_id)
    for _ in range(24):
        assert space in guide.allowed()
        guide.accept(space)
    assert space not in guide.allowed()


@pytest.mark.parametrize("form", get_args(ToolForm))
@pytest.mark.parametrize("text", [" " * 30_000 + "x", "\n" * 30_000 + "{" * 2000, "<tool_call>" + "{" * 30_000])
def test_white_space_and_braces_without_end_are_content_and_looked_at_a_bounded_number_of_times(
    form: ToolForm, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = 0
    unmarked = ToolCallParser._unmarked

    def counted(parser: ToolCallParser, piece: str) -> str:
        nonlocal looked_at
        looked_at += len(piece)
        return unmarked(parser, piece)

    monkeypatch.setattr(ToolCallParser, "_unmarked", counted)
    parser = ToolCallParser(form)
    events = [event for i in range(0, len(text), 7) for event in parser.push(text[i : i + 7])] + parser.flush()
    assert "".join(event.text for event in events if isinstance(event, Content)).strip() == text.strip()
    assert looked_at < 1200 * len(text)  # 512 for each character; it was a quarter of the length squared


def test_objects_that_list_their_properties_are_closed_where_nothing_else_is_said() -> None:
    inner = {"type": "object", "properties": {"x": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"a": inner, "b": {"type": "array", "items": inner}, "c": {}}}
    shut = closed(schema)
    assert shut["additionalProperties"] is False
    assert shut["properties"]["a"]["additionalProperties"] is False
    assert shut["properties"]["b"]["items"]["additionalProperties"] is False
    assert shut["properties"]["c"] == {}
    for said in ({"additionalProperties": True}, {"patternProperties": {"^a": {}}}, {"allOf": [inner]}):
        assert closed(schema | said).get("additionalProperties") is said.get("additionalProperties")
    assert closed({"enum": [{"properties": {}}]}) == {"enum": [{"properties": {}}]}
    assert "additionalProperties" not in inner
