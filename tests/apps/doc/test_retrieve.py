"""apps/doc/retrieve.py and rank.py: what answers comes first, what does not is not found."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sample_documents import made

from pocketseek.apps.doc.passage_index import Scope
from pocketseek.apps.doc.rank import Rank, Wanted, Words, rank
from pocketseek.apps.doc.retrieve import Found, Retriever
from pocketseek.apps.doc.store import DocumentStore, FileState

BOOK = made(
    "# Gardening",
    "## Roses",
    "Roses are pruned in March. Cut above an outward bud.",
    "=",
    "## Apples",
    "Apples are picked in September. The tree is pruned in winter.",
    "=",
    "## 苹果树",
    "苹果树在冬天修剪。九月采摘苹果。",
    title="Garden",
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DocumentStore]:
    store = DocumentStore(tmp_path / "documents.db")
    store.put(Path("/garden"), FileState(1, 1), "garden", BOOK)
    yield store
    store.close()


def find(store: DocumentStore, question: str, earlier: str = "") -> list[Found]:
    return Retriever(store).find(question, Scope(), earlier=earlier)


@pytest.mark.parametrize(
    ("question", "page"),
    [("When are roses pruned?", 1), ("When do I pick apples?", 2), ("苹果树什么时候修剪?", 3), ("outward buds", 1)],
)
def test_the_passage_that_answers_comes_first(store: DocumentStore, question: str, page: int) -> None:
    assert find(store, question)[0].place.page == page


@pytest.mark.parametrize("question", ["Who painted the Mona Lisa?", "法国的首都在哪里?", "?!", "the capital of Mars"])
def test_what_the_document_does_not_speak_of_is_not_found(store: DocumentStore, question: str) -> None:
    assert find(store, question) == []


def test_a_word_of_the_heading_counts_for_the_section(store: DocumentStore) -> None:
    assert find(store, "gardening of roses")[0].heading == ("Gardening", "Roses")


def test_a_question_that_follows_is_found_by_the_one_before(store: DocumentStore) -> None:
    alone = find(store, "When are they pruned?")
    followed = find(store, "When are they pruned?", earlier="Tell me about apples and the tree")
    assert alone[0].place.page == 1
    assert followed[0].place.page == 2


def test_what_is_found_is_text_of_the_document(store: DocumentStore) -> None:
    for found in find(store, "pruned apples roses"):
        assert BOOK.text[found.start : found.stop] == found.text
        assert BOOK.place_at(found.start) == found.place


def test_passages_in_a_row_become_one(store: DocumentStore) -> None:
    long = made("# Only", " ".join(f"The comet number {n} was seen in winter by many people." for n in range(60)))
    store.put(Path("/long"), FileState(1, 1), "long", long)
    found = find(store, "comet seen")
    assert len(found) == 1
    assert found[0].text == long.text[found[0].start : found[0].stop]
    assert len(found[0].text) > 2000


def test_search_shows_any_of_the_words(store: DocumentStore) -> None:
    assert len(Retriever(store).search("September March", Scope())) == 2
    assert Retriever(store).search("nothing like it", Scope()) == []


def test_a_word_that_is_not_there_does_not_outweigh_those_that_are(store: DocumentStore) -> None:
    store.put(Path("/lease"), FileState(1, 1), "lease", made("The rent is 850 francs. It is paid monthly."))
    found = Retriever(store).find("How high is the monthly rent?", Scope(document_id=2))
    assert found[0].coverage > 0.45


def test_what_is_short_is_found_whole_and_in_order(store: DocumentStore) -> None:
    whole = Retriever(store).whole(Scope(document_id=1))
    assert [found.place.page for found in whole] == [1, 2, 3]
    long = made("# Only", " ".join(f"The comet number {n} was seen by many people." for n in range(500)))
    store.put(Path("/long"), FileState(1, 1), "long", long)
    assert Retriever(store).whole(Scope(document_id=2)) == []


def ranked(text: str) -> Rank:
    return rank(WANTED, Words.of([], text))


WANTED = Wanted({"plum": 1.0, "root": 1.0, "march": 1.0}, mean_terms=10.0)


def test_more_of_the_question_ranks_higher() -> None:
    assert ranked("plum root march").score > ranked("plum plum plum").score
    assert ranked("plum root").coverage == pytest.approx(2 / 3)


def test_words_side_by_side_rank_higher() -> None:
    apart = "plum one two three four five six seven root"
    assert ranked(apart.replace("root", "x").replace("one", "root")).score > ranked(apart).score


def test_a_long_passage_is_not_better_for_being_long() -> None:
    assert ranked("plum root").score > ranked("plum root" + " filler" * 200).score
