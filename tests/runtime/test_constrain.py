"""Constraints are compiled within limits, and what is wrong with one is said in a line."""

import json
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest
from fakes import EOS_ID, VOCAB_SIZE, ByteTokenizer

from pocketseek.errors import PocketseekError, UnsupportedError, UsageError
from pocketseek.runtime.constrain import MAX_CONSTRAINT_BYTES, Constrainer
from pocketseek.runtime.guide import Guide
from pocketseek.text.special_tokens import TOOL_TAGS
from pocketseek.types import Constraint, ConstraintKind, Request, TextSettings

PLAIN = TextSettings(eos_ids=(EOS_ID,), reasoning_start="", reasoning_end="")
THINKING = TextSettings(eos_ids=(EOS_ID,))


def constrainer(settings: TextSettings = PLAIN, more: dict[str, int] | None = None) -> Constrainer:
    return Constrainer(ByteTokenizer(settings, more), VOCAB_SIZE)  # type: ignore[arg-type]  # a fake


def guide(kind: ConstraintKind, text: str = "", *, prompt: str = "x", of: Constrainer | None = None) -> Guide:
    ids = tuple(ByteTokenizer(more_special={"<think>": 261, "</think>": 262}).encode(prompt))
    made = (of or constrainer()).guide(Request(ids, stop_ids=(EOS_ID,), constraint=Constraint(kind, text)))
    assert made is not None
    return made


def spell(one: Guide, text: bytes) -> None:
    for byte in text:
        assert byte in one.allowed()
        one.accept(byte)


def test_a_request_without_a_constraint_has_no_guide() -> None:
    assert constrainer().guide(Request((1,))) is None


@pytest.mark.parametrize(
    ("kind", "text", "answer"),
    [
        ("json_object", "", b'{"a": [1, true]}'),
        ("json_schema", '{"type": "array", "items": {"type": "integer"}}', b"[1, 2,\n  3]"),
        ("regex", "[ab]+c", b"abc"),
        ("lark", 'start: "x" ("y" | "z")', b"xz"),
    ],
)
def test_every_kind_lets_its_texts_pass_and_then_nothing(kind: ConstraintKind, text: str, answer: bytes) -> None:
    one = guide(kind, text)
    assert not one.is_finished
    spell(one, answer)
    assert one.is_finished


def test_an_end_token_is_allowed_where_the_text_may_end() -> None:
    one = guide("regex", "a+")
    assert EOS_ID not in one.allowed()
    spell(one, b"a")
    assert one.allowed().tolist() == [ord("a"), EOS_ID]


def test_white_space_has_an_end() -> None:
    one = guide("json_object")
    spell(one, b"{\n" + b" " * 24)
    assert not set(b" \n\t\r") & set(one.allowed().tolist())


def test_a_model_without_an_end_token_can_be_constrained() -> None:
    one = guide("regex", "ab?", of=constrainer(TextSettings(reasoning_start="", reasoning_end="")))
    spell(one, b"ab")
    assert one.is_finished


def test_tool_tags_are_tokens_and_other_special_tokens_are_spelled() -> None:
    of = constrainer(more={TOOL_TAGS[0]: 261})
    one = guide("lark", f'start: "{TOOL_TAGS[0]}<|end|>"', of=of)
    assert one.allowed().tolist() == [261]
    one.accept(261)
    assert one.allowed().tolist() == [ord("<")]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {f"property{i}": {"type": "string"} for i in range(1000)}},
        {"enum": [f"value {i} of many" for i in range(5000)]},
        {"type": "string", "format": "email", "maxLength": 5000},
        {"type": "array", "items": {"type": "string", "pattern": r"^\+?[0-9 ()-]{7,20}$"}, "minItems": 500},
    ],
)
def test_large_schemas_of_good_will_are_within_the_limits(schema: dict[str, object]) -> None:
    rng, one = np.random.default_rng(0), guide("json_schema", json.dumps(schema))
    for _ in range(100):
        if not one.is_finished:
            one.accept(int(rng.choice(one.allowed())))


def test_guides_of_one_constraint_go_their_own_ways() -> None:
    of = constrainer()
    first, second = (guide("regex", "ab|cd", of=of) for _ in range(2))
    spell(first, b"a")
    spell(second, b"c")
    assert first.allowed().tolist() == [ord("b")]
    assert second.allowed().tolist() == [ord("d")]


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        ("json_schema", "{", "JSON schema cannot be used: .*line 1"),
        ("json_schema", "[]", "no JSON object"),
        ("json_schema", '{"type": "objekt"}', "Invalid type: objekt"),
        ("json_schema", '{"$ref": "file:///etc/passwd"}', "use one like"),
        ("json_schema", '{"a":' * 5000 + "1" + "}" * 5000, "JSON schema cannot be used"),
        ("json_schema", '{"const": "' + "x" * MAX_CONSTRAINT_BYTES + '"}', "use at most"),
        ("regex", "(", "unclosed group"),
        ("regex", "(" * 60_000 + ")" * 60_000, "regular expression cannot be used"),
        ("lark", "start: nothing", "unknown name"),
        ("lark", "start: " + "(" * 60_000 + '"a"' + ")" * 60_000, "nested"),
        ("xml", "", "kind is 'xml'"),
    ],
)
def test_wrong_constraints_are_refused_in_one_line(kind: ConstraintKind, text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as refusal:
        guide(kind, text)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


def _references(num: int) -> str:
    """A chain: each definition is an object that has the next one."""
    chain: dict[str, object] = {
        f"d{i}": {"type": "object", "properties": {"a": {"$ref": f"#/$defs/d{i + 1}"}}} for i in range(num)
    }
    return json.dumps({"$defs": chain | {f"d{num}": {"type": "string"}}, "$ref": "#/$defs/d0"})


def _many_properties() -> str:
    names = (f"property{i}" for i in range(2200))
    return json.dumps({"type": "object", "properties": {name: {"type": "string", "maxLength": 100} for name in names}})


def _choices_of_all() -> str:
    parts = [{"anyOf": [{"properties": {f"p{i}{j}": {"type": "integer"}}} for j in range(4)]} for i in range(12)]
    return json.dumps({"type": "object", "allOf": parts})


HOSTILE: dict[str, Callable[[], Constraint]] = {
    "references": lambda: Constraint("json_schema", _references(1500)),
    "properties": lambda: Constraint("json_schema", _many_properties()),
    "all of any": lambda: Constraint("json_schema", _choices_of_all()),
    "repetitions of repetitions": lambda: Constraint("regex", "(((a{1000}){1000}){1000}){1000}"),
    "itself": lambda: Constraint("json_schema", '{"$ref": "#"}'),
    "pattern": lambda: Constraint(
        "json_schema", json.dumps({"type": "string", "pattern": "((((a{0,200}){0,200}){0,200}){0,200})"})
    ),
    "items": lambda: Constraint("json_schema", '{"type": "array", "items": {}, "minItems": 1000000000}'),
    "settings": lambda: Constraint("json_schema", '{"type": "object", "x-guidance": {"whitespace_pattern": "("}}'),
    "repetitions": lambda: Constraint("lark", 'start: ((("a" "b"){0,1000}){0,1000}){0,1000}'),
    "ambiguity": lambda: Constraint("lark", 'start: x+\nx: "a" | "a" x | x "a" | x x'),
    "rules": lambda: Constraint(
        "lark", "start: r0\n" + "\n".join(f'r{i}: "x" r{i + 1} | r{i + 1} "y"' for i in range(3000)) + '\nr3000: "z"'
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_constraints_end_in_tokens_or_an_error_also_on_a_small_stack(name: str) -> None:
    """Android's threads have 1 MB; this one has half of that."""
    of, outcome = constrainer(), list[object]()

    def write() -> None:
        rng = np.random.default_rng(0)
        try:
            one = of.guide(Request((1,), stop_ids=(EOS_ID,), constraint=HOSTILE[name]()))
            assert one is not None
            for _ in range(40):
                token_id = int(rng.choice(one.allowed()))
                if one.is_finished or token_id == EOS_ID:
                    break
                one.accept(token_id)
            outcome.append("tokens")
        except PocketseekError as error:
            outcome.append(error)

    usual = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=write)
        thread.start()
    finally:
        threading.stack_size(usual)
    thread.join()
    assert outcome == ["tokens"] or isinstance(outcome[0], UsageError)


def test_answers_of_one_constraint_share_the_time_of_their_steps() -> None:
    of = constrainer()
    first, second, other = guide("regex", "a+", of=of), guide("regex", "a+", of=of), guide("regex", "b+", of=of)
    first._budget.spend(first._budget.now() - 10)
    with pytest.raises(UsageError, match="takes too long"):
        second.allowed()
    assert len(other.allowed()) == 1


def test_a_constraint_whose_time_was_spent_may_be_asked_for_again() -> None:
    of = constrainer()
    first = guide("regex", "a+", of=of)
    first._budget.spend(first._budget.now() - 10)
    again = guide("regex", "a+", of=of)
    spell(again, b"aa")
    with pytest.raises(UsageError, match="takes too long"):
        first.allowed()


def test_a_grammar_that_takes_too_long_to_compile_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr("pocketseek.runtime.constrain.COMPILE_LIMIT_S", 0.01)
    monkeypatch.setattr("pocketseek.runtime.constrain._compile", lambda words, grammar: release.wait(60))
    with pytest.raises(UsageError, match="takes longer"):
        guide("regex", "a")
    release.set()


def test_without_the_library_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'pocketseek\[constrain\]'"):
        guide("json_object")


def test_reasoning_that_the_prompt_opened_is_free_but_does_not_end_the_answer() -> None:
    one = guide("regex", "ab", prompt="<think>\n", of=constrainer(THINKING, {"<think>": 261, "</think>": 262}))
    for token_id in (*b"free", 262):
        allowed = one.allowed()
        assert EOS_ID not in allowed
        assert len(allowed) == VOCAB_SIZE - 1
        one.accept(token_id)
    assert one.allowed().tolist() == [ord("a")]


def test_reasoning_may_begin_an_answer_but_need_not() -> None:
    of = constrainer(THINKING, {"<think>": 261, "</think>": 262})
    thinks, answers = guide("regex", "ab", of=of), guide("regex", "ab", of=of)
    assert thinks.allowed().tolist() == [ord("a"), 261]
    thinks.accept(261)
    thinks.accept(262)
    spell(thinks, b"ab")
    assert thinks.is_finished
    answers.accept(ord("a"))
    assert answers.allowed().tolist() == [ord("b")]


def test_a_prompt_that_closed_the_reasoning_leaves_none() -> None:
    of = constrainer(THINKING, {"<think>": 261, "</think>": 262})
    assert guide("regex", "ab", prompt="<think>\n</think>\n\n", of=of).allowed().tolist() == [ord("a")]


def test_a_tag_spelled_in_letters_ends_the_reasoning_too() -> None:
    request = Request(tuple(b"<think>"), stop_ids=(EOS_ID,), constraint=Constraint("regex", "ab"))
    one = constrainer(THINKING).guide(request)
    assert one is not None
    for byte in b"no</think</think>":
        one.accept(byte)
    assert one.allowed().tolist() == [ord("a")]
