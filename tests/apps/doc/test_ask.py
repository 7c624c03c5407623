"""apps/doc/ask.py, answer.py, exchanges.py: from a question to an answer that is tied to the document."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_chat_engine import FakeEngine
from sample_documents import made, written

from pocketseek.apps.doc.answer import answer_prompt
from pocketseek.apps.doc.ask import Asker, prompt_for, scope_of
from pocketseek.apps.doc.document import Document
from pocketseek.apps.doc.passage_index import Scope
from pocketseek.apps.doc.read import read_document
from pocketseek.apps.doc.store import DocumentStore, FileState
from pocketseek.errors import ContextLengthError, NotFoundError, UsageError

BOOK = made(
    "# Roses", "Roses are pruned in March.", "=", "# Apples", "Apples are picked in September. " * 20, title="Garden"
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DocumentStore]:
    store = DocumentStore(tmp_path / "home" / "documents.db")
    store.put(Path("/garden"), FileState(1, 1), "garden", BOOK)
    yield store
    store.close()


@pytest.fixture
def asker(store: DocumentStore) -> Asker:
    return Asker(store, Scope(document_id=1))


def test_an_answer_is_tied_to_its_source(asker: Asker) -> None:
    looked = asker.look("When are roses pruned?")
    prompt = answer_prompt(FakeEngine(), looked.question, looked.found, max_tokens=100)
    reply = asker.reply(looked, prompt.passages, " In March [1].\n")
    assert (reply.answer, reply.is_there) == ("In March [1].", True)
    assert [(one.quote, one.place.page) for one in reply.citations] == [("Roses are pruned in March.", 1)]


def test_the_prompt_has_the_passages_with_numbers_and_pages(asker: Asker) -> None:
    looked = asker.look("When are roses pruned?")
    text = answer_prompt(FakeEngine(), looked.question, looked.found, max_tokens=100).messages[-1].content
    assert "[1] Garden > page 1 > Roses\nRoses are pruned in March." in text
    assert text.endswith("Question: When are roses pruned?")


def test_a_chinese_question_is_asked_in_chinese(asker: Asker) -> None:
    looked = asker.look("roses pruned 什么时候?")
    prompt = answer_prompt(FakeEngine(), looked.question, looked.found, max_tokens=100)
    assert "文中没有" in prompt.messages[0].content


def test_passages_that_do_not_fit_are_left_out(asker: Asker) -> None:
    looked = asker.look("roses apples pruned picked")
    assert len(looked.found) == 2
    prompt = answer_prompt(FakeEngine(700), looked.question, looked.found, max_tokens=100)
    assert len(prompt.passages) == 1


def test_of_the_best_passage_at_least_the_beginning_is_shown(asker: Asker) -> None:
    looked = asker.look("When are apples picked?")
    passage = answer_prompt(FakeEngine(800), looked.question, looked.found, max_tokens=100).passages[0]
    assert 80 <= len(passage.text) < 600
    assert BOOK.text[passage.start : passage.stop] == passage.text


def test_a_context_without_room_is_told(asker: Asker) -> None:
    looked = asker.look("When are apples picked?")
    with pytest.raises(ContextLengthError, match="no room"):
        answer_prompt(FakeEngine(200), looked.question, looked.found, max_tokens=100)


def test_nothing_found_in_what_is_long_is_not_in_the_document(store: DocumentStore) -> None:
    long = made("# Only", " ".join(f"The comet number {n} was seen by many people." for n in range(500)))
    store.put(Path("/long"), FileState(1, 1), "long", long)
    asker = Asker(store, Scope(document_id=2))
    looked = asker.look("Who painted the Mona Lisa?")
    assert (looked.found, looked.whole) == ((), ())
    assert not asker.reply(looked, (), "").is_there


LEASE = made(
    "The landlord lets to the tenant the flat on the second floor of 12 Mill Lane, from 1 May 2024.",
    "The rent is 850 francs a month, to be paid on the first day. A late payment costs 20 francs.",
    "Either party may end the contract with three months' notice. Cats are allowed, dogs are not.",
    title="Lease",
)
CHINESE_LEASE = made(
    "甲方将位于磨坊街12号二楼的住房出租给乙方,自2024年5月1日起生效。",
    "每月租金850元,于每月一日支付。逾期支付须另付20元。",
    "任何一方均可提前三个月通知对方解除合同。可以养猫,不可以养狗。",
    title="租约",
)


@pytest.mark.parametrize(
    ("lease", "question"),
    [
        (LEASE, "How much does it cost to live there?"),
        (LEASE, "What is the termination period?"),
        (LEASE, "May I keep a pet?"),
        (LEASE, "Who pays for repairs?"),
        (LEASE, "租金是多少?"),
        (CHINESE_LEASE, "房子一个月要多少钱?"),
        (CHINESE_LEASE, "退租要提前多久?"),
        (CHINESE_LEASE, "宠物有什么规定?"),
        (CHINESE_LEASE, "How much is the rent?"),
    ],
)
def test_a_short_document_is_shown_whole_whatever_the_words_of_the_question(
    store: DocumentStore, lease: Document, question: str
) -> None:
    store.put(Path("/lease"), FileState(1, 1), "lease", lease)
    looked = Asker(store, Scope(document_id=2)).look(question)
    prompt = prompt_for(FakeEngine(2000), looked, max_tokens=100)
    assert "".join(passage.text for passage in prompt.passages) == lease.text
    assert all(block.text in prompt.messages[-1].content for block in lease.blocks)


def test_a_short_document_that_does_not_fit_is_shown_by_its_best_passages(asker: Asker) -> None:
    looked = asker.look("How do I care for apples?")
    assert [passage.place.page for passage in looked.whole] == [1, 2]
    prompt = prompt_for(FakeEngine(800), looked, max_tokens=100)
    assert [passage.heading for passage in prompt.passages] == [("Apples",)]
    assert asker.look("Mona Lisa?").found == looked.whole


def test_a_whole_document_is_more_than_six_passages(store: DocumentStore) -> None:
    sections = [text for number in range(12) for text in (f"# Part {number}", f"Clause {number} says so.")]
    store.put(Path("/parts"), FileState(1, 1), "parts", made(*sections))
    looked = Asker(store, Scope(document_id=2)).look("What is agreed?")
    prompt = prompt_for(FakeEngine(3000), looked, max_tokens=100)
    assert [passage.heading[0] for passage in prompt.passages] == [f"Part {number}" for number in range(12)]


def test_a_mark_that_leads_to_a_passage_makes_an_answer(asker: Asker) -> None:
    looked = asker.look("Which bud is the cut made above?")
    prompt = prompt_for(FakeEngine(3000), looked, max_tokens=100)
    there = asker.reply(looked, prompt.passages, "The document does not say where, only that it is done in March [1].")
    assert (there.is_there, [one.number for one in there.citations]) == (True, [1])
    dropped = asker.reply(looked, prompt.passages, "The document does not say [9].")
    assert (dropped.is_there, dropped.citations) == (False, ())


def test_a_question_follows_the_last_one(asker: Asker) -> None:
    with pytest.raises(UsageError, match="nothing was asked"):
        asker.look("And when are they picked?", follows=True)
    asker.reply(asker.look("Tell me of the apples"), (), "They are fruit.")
    looked = asker.look("When are they picked?", follows=True)
    prompt = answer_prompt(FakeEngine(3000), looked.question, looked.found, max_tokens=100, earlier=looked.earlier)
    assert [message.content for message in prompt.messages[1:3]] == ["Tell me of the apples", "They are fruit."]


def test_only_the_last_questions_are_kept_and_go_with_the_document(store: DocumentStore, asker: Asker) -> None:
    for number in range(6):
        asker.reply(asker.look(f"Roses, question {number}"), (), "secretanswer")
    assert len(asker.look("roses", follows=True).earlier) == 3
    store.forget([Path("/garden")])
    store.tidy()
    assert b"secretanswer" not in b"".join(path.read_bytes() for path in store.path.parent.iterdir())


def test_questions_that_are_not_to_be_kept_are_followed_all_the_same(store: DocumentStore) -> None:
    asker = Asker(store, Scope(document_id=1), keeps=False)
    asker.reply(asker.look("Tell me of the apples"), (), "secretanswer")
    assert [one.answer for one in asker.look("When are they picked?", follows=True).earlier] == ["secretanswer"]
    assert store.database.rows("SELECT * FROM exchanges") == []


@pytest.mark.parametrize("question", ["", "  \n", "x" * 5000])
def test_a_question_has_a_sensible_length(asker: Asker, question: str) -> None:
    with pytest.raises(UsageError, match="characters"):
        asker.look(question)


def test_what_is_asked_is_a_file_a_collection_or_a_kept_document(store: DocumentStore, tmp_path: Path) -> None:
    file = written(tmp_path / "new.txt", "A new text.")
    assert scope_of(store, str(file), read_document) == Scope(document_id=2)
    assert scope_of(store, "garden", read_document) == Scope(document_id=1)
    store.join("c", file)
    assert scope_of(store, "c", read_document) == Scope(collection="c")
    with pytest.raises(NotFoundError, match="no file, collection"):
        scope_of(store, "absent", read_document)
    with pytest.raises(UsageError, match="doc add"):
        scope_of(store, str(tmp_path), read_document)
