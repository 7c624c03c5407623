"""apps/doc/whole.py: everything is read, of several documents too; quotes are in the chunks that the answer is from."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_task_engine import FakeTaskEngine, MemoryKeeper
from sample_documents import made

from pocketseek.apps.doc.store import DocumentStore, FileState
from pocketseek.apps.doc.whole import ForgetfulKeeper, Reading, WholeAnswer, answer_whole
from pocketseek.errors import ModelOutputError

FILLER = "Words that say nothing at all. " * 60
LONG = made("# Fruit", f"Apples are picked in September. {FILLER}", "=", f"Pears are yellow. {FILLER}", title="Orchard")
SHORT = made("Roses are pruned in March.", title="Garden")
QUESTION = "When is the work done?"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DocumentStore]:
    store = DocumentStore(tmp_path / "documents.db")
    for document in (LONG, SHORT):
        store.put(Path(f"/{document.title}"), FileState(1, 1), document.title, document)
    yield store
    store.close()


def answering(prompt: str) -> str:
    if "You take notes" in prompt:
        return "Apples are picked in September." if "September" in prompt else "none"
    if "Apples" in prompt and "Roses" in prompt:
        return "Apples are picked in September, roses are pruned in March."
    if "Write a summary" in prompt:
        return "Apples are picked in September." if "Apples" in prompt else "Roses are pruned in March."
    return "none"


def asked(
    store: DocumentStore, *numbers: int, answer: Callable[[str], str | None] = answering, keeper: object = None
) -> WholeAnswer:
    engine = FakeTaskEngine(answer, context_length=3500)
    infos = [store.info(number) for number in numbers]
    events = list(answer_whole(store, infos, engine, QUESTION, keeper or ForgetfulKeeper()))  # type: ignore[arg-type]
    assert [event.number for event in events if isinstance(event, Reading)] == list(range(1, len(numbers) + 1))
    last = events[-1]
    assert isinstance(last, WholeAnswer)
    return last


def test_a_long_document_is_answered_with_quotes_of_the_chunks_that_speak_of_it(store: DocumentStore) -> None:
    answer = asked(store, 1)
    assert (answer.reply.answer, answer.reply.is_there, answer.is_cut) == (
        "Apples are picked in September.",
        True,
        False,
    )
    (citation,) = answer.reply.citations
    assert (citation.quote, citation.number, citation.place.page) == ("Apples are picked in September.", 1, 1)
    assert LONG.text[citation.start : citation.stop] == citation.quote
    coverage = answer.documents[0].coverage
    assert coverage is not None
    assert coverage.num_covered == len(coverage.parts) > 1


def test_the_answers_of_several_documents_become_one(store: DocumentStore) -> None:
    answer = asked(store, 1, 2)
    assert answer.reply.answer == "Apples are picked in September, roses are pruned in March."
    assert [one.answer for one in answer.documents] == ["Apples are picked in September.", "Roses are pruned in March."]
    assert {one.document_id for one in answer.reply.citations} <= {1, 2}
    assert answer.reply.citations


def test_the_only_document_that_answers_is_the_answer(store: DocumentStore) -> None:
    answer = asked(store, 1, 2, answer=lambda prompt: "none" if "take notes" in prompt else answering(prompt))
    assert answer.reply.answer == "Roses are pruned in March."
    assert [one.is_there for one in answer.documents] == [False, True]
    assert [one.document_id for one in answer.reply.citations] == [2]


@pytest.mark.parametrize("said", ["Not in the document.", "The document does not say."])
def test_what_no_document_says_is_not_there(store: DocumentStore, said: str) -> None:
    answer = asked(store, 1, 2, answer=lambda prompt: "none" if "take notes" in prompt else said)
    assert (answer.reply.is_there, answer.reply.citations) == (False, ())
    assert not any(one.is_there for one in answer.documents)


def test_a_document_that_the_model_fails_at_does_not_stop_the_others(store: DocumentStore) -> None:
    answer = asked(store, 1, 2, answer=lambda prompt: "" if "take notes" in prompt else answering(prompt))
    assert answer.documents[0].problem
    assert answer.reply.answer == "Roses are pruned in March."
    with pytest.raises(ModelOutputError):
        asked(store, 1, answer=lambda prompt: "")


def test_what_was_kept_is_not_computed_again(store: DocumentStore) -> None:
    keeper = MemoryKeeper()
    first = asked(store, 1, 2, keeper=keeper)

    def refusing(prompt: str) -> str:
        raise AssertionError(prompt)

    assert asked(store, 1, 2, answer=refusing, keeper=keeper).reply == first.reply
