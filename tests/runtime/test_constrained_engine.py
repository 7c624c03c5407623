"""Constrained answers of a real engine on random weights: in form, and the same bytes however they came about."""

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fakes import EOS_ID, FakeExecutor, fake_engine, fake_logits
from tiny_models import tiny_hf_directory

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import UsageError
from pocketseek.kernels.kv_memory import page_bytes
from pocketseek.package.reader import Package
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.load import load
from pocketseek.types import Constraint, Request, SamplingParams, TokenEvent

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "capital of France": {"enum": ["Paris", "the Paris of the capital"]},
        "ages": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 120}, "maxItems": 3},
    },
    "required": ["name", "capital of France", "ages"],
    "additionalProperties": False,
}
NO_REASONING = "<think></think>"
CONSTRAINTS = [
    Constraint("json_schema", json.dumps(PERSON)),
    Constraint("regex", r"\d{3}-[a-f]{2,5}!"),
    Constraint("lark", 'start: "the " ("cap" | "capital"){1,6} "."'),
    None,
]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    return convert_checkpoint(tiny_hf_directory(directory / "source"), directory / "package", models_dir=directory)


@pytest.fixture(scope="module")
def plain(package: Path) -> Iterator[Engine]:
    with load(package, speculation=False) as engine:
        yield engine


def requests(engine: Engine, temperature: float) -> list[Request]:
    """All but the last two answer at once, those may think first."""
    prompt = engine.encode_prompt("the capital of France is Paris and the" + NO_REASONING)
    stop_ids = engine.tokenizer.settings.eos_ids
    return [
        Request(
            tuple(range(i)) + prompt[: len(prompt) - 2 * (i > 5)],
            120,
            SamplingParams(temperature, seed=i),
            stop_ids,
            constraint=constraint,
        )
        for i, constraint in enumerate(CONSTRAINTS * 2)
    ]


def run(engine: Engine, one: Request) -> list[TokenEvent]:
    return list(engine.stream(one))


def at_once(engine: Engine, many: Sequence[Request]) -> list[list[TokenEvent]]:
    with ThreadPoolExecutor(len(many)) as threads:
        return list(threads.map(lambda one: run(engine, one), many))


@pytest.mark.parametrize("temperature", [0.0, 0.8, 2.0])
def test_random_weights_keep_to_a_schema(plain: Engine, temperature: float) -> None:
    for seed in range(4):
        answer = plain.generate(
            "the" + NO_REASONING,
            max_tokens=200,
            sampling=SamplingParams(temperature, seed=seed),
            constraint=CONSTRAINTS[0],
        )
        person = json.loads(answer.text)
        assert answer.finish_reason == "stop"
        assert list(person) == list(PERSON["required"])
        assert person["capital of France"] in ("Paris", "the Paris of the capital")
        assert all(0 <= age <= 120 for age in person["ages"])


def test_random_weights_keep_to_an_expression(plain: Engine) -> None:
    answer = plain.generate("the" + NO_REASONING, constraint=CONSTRAINTS[1], sampling=SamplingParams(1.0, seed=1))
    assert re.fullmatch(r"\d{3}-[a-f]{2,5}!", answer.text)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_answers_are_the_same_with_speculation_and_in_a_batch(package: Path, plain: Engine, temperature: float) -> None:
    many = requests(plain, temperature)
    expected = [run(plain, one) for one in many]
    with load(package) as engine:
        assert [run(engine, one) for one in many] == expected
        assert engine.statistics().load.num_accepted > 0
        assert at_once(engine, many) == expected
    assert at_once(plain, many) == expected


def test_answers_are_the_same_when_they_have_to_give_way(package: Path, plain: Engine) -> None:
    """Numbers without end, over three of four pages each."""
    numbers = Constraint("regex", "([1-9][0-9]{0,3}, )*")
    prompt = plain.encode_prompt("and " * 30 + NO_REASONING)
    many = [Request((*prompt, i), 120, SamplingParams(0.8, seed=i), (), constraint=numbers) for i in range(4)]
    expected = [run(plain, one) for one in many]
    with Package.open(package) as opened:
        kv_bytes = 4 * page_bytes(opened.manifest.model)
    with load(package, kv_bytes=kv_bytes) as engine:
        assert at_once(engine, many) == expected
        assert engine.statistics().load.num_preemptions > 0


def test_forced_text_comes_in_fewer_passes(package: Path) -> None:
    constraint = Constraint("regex", "the capital of France is Paris")
    with load(package) as engine:
        answer = engine.generate("x" + NO_REASONING, constraint=constraint, sampling=SamplingParams(0.0))
        counts = engine.statistics().load
    assert answer.text == "the capital of France is Paris"
    assert (counts.num_passes, answer.num_tokens) == (2, 15)


def test_several_answers_share_a_prompt_and_not_their_grammar(plain: Engine) -> None:
    answers = plain.generate_choices(
        "the" + NO_REASONING, 4, max_tokens=200, sampling=SamplingParams(1.5, seed=3), constraint=CONSTRAINTS[0]
    )
    assert len({answer.text for answer in answers}) > 1
    assert all(list(json.loads(answer.text)) == list(PERSON["required"]) for answer in answers)


def test_an_answer_cut_in_the_middle_ends_with_length(plain: Engine) -> None:
    answer = plain.generate("the" + NO_REASONING, max_tokens=4, constraint=CONSTRAINTS[0])
    assert answer.finish_reason == "length"
    assert answer.text.startswith("{")


def test_log_probabilities_are_those_of_the_model(plain: Engine) -> None:
    one = Request(
        plain.encode_prompt("the" + NO_REASONING), 30, SamplingParams(0.0), constraint=Constraint("regex", "France")
    )
    events = run(plain, one)
    ids = tuple(event.token_id for event in events if event.token_id is not None)
    scores = plain.score([*one.prompt_ids, *ids])[len(one.prompt_ids) - 1 :]
    assert [event.logprob for event in events] == pytest.approx(scores, abs=1e-4)


def test_an_answer_may_end_where_its_grammar_may(plain: Engine) -> None:
    answer = plain.generate(
        "x" + NO_REASONING, constraint=Constraint("regex", "a*"), sampling=SamplingParams(2.0, seed=5)
    )
    assert answer.finish_reason == "stop"
    assert set(answer.text) <= {"a"}


def test_a_wrong_schema_is_refused_before_anything_runs(plain: Engine) -> None:
    num_passes = plain.statistics().load.num_passes
    with pytest.raises(UsageError, match="JSON schema"):
        plain.stream_text("x" + NO_REASONING, constraint=Constraint("json_schema", '{"type": "objekt"}'))
    assert plain.statistics().load.num_passes == num_passes


def test_a_request_without_an_end_token_ends_when_the_grammar_does() -> None:
    with fake_engine(FakeExecutor(logits=fake_logits)) as engine:
        events = run(engine, Request((1, 2), 50, SamplingParams(seed=1), constraint=Constraint("regex", "abc")))
    assert [event.token_id for event in events] == [*b"abc"]
    assert events[-1].finish_reason == "stop"
    assert EOS_ID not in [event.token_id for event in events]
