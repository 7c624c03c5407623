"""apps/doc/store.py and passage_index.py: what was put is there, what was removed has left no trace."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sample_documents import made

from pocketseek.apps.database import Database
from pocketseek.apps.doc import passage_index
from pocketseek.apps.doc.document import Block, Document, Link, Place, Remark
from pocketseek.apps.doc.passage_index import PassageIndex, Scope
from pocketseek.apps.doc.store import DocumentStore, FileState
from pocketseek.apps.doc.store_schema import APPLICATION_ID, MIGRATIONS
from pocketseek.apps.doc.terms import wanted_terms
from pocketseek.errors import NotFoundError, UnsupportedError

STATE = FileState(10, 1)
ALL = Scope()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DocumentStore]:
    store = DocumentStore(tmp_path / "documents.db")
    yield store
    store.close()


def put(store: DocumentStore, name: str, document: Document) -> int:
    return store.put(Path(f"/{name}"), STATE, name, document).id


def found(store: DocumentStore, question: str, scope: Scope = ALL) -> list[int]:
    return [passage.document_id for _, passage in store.index.find(wanted_terms(question), scope, 10)]


def file_bytes(store: DocumentStore) -> bytes:
    folder = store.path.parent
    return b"".join(path.read_bytes() for path in folder.glob(store.path.name + "*"))


def test_a_document_comes_back_as_it_was(store: DocumentStore) -> None:
    blocks = (
        Block("heading", "Title", Place(1, 2, 1), 1),
        Block("paragraph", "See\nthere", Place(1, 2, 2), 0, (Link(0, 3, "https://example.org"),)),
        Block("table", "a | b", Place(None, None, 3)),
    )
    document = Document("A book", "application/pdf", blocks, 7, (Remark("picture-page", 3, "no text"),))
    assert store.document(put(store, "book", document)) == document


def test_what_no_file_can_hold_is_replaced(store: DocumentStore) -> None:
    assert store.document(put(store, "x", made("a\0b\ud800c"))).text == "a\ufffdb\ufffdc"


@pytest.mark.parametrize("question", ["packages", "软件", "法", "国", "CAFE", "the heading"])
def test_words_are_found_in_texts_and_headings(store: DocumentStore, question: str) -> None:
    wanted = put(store, "x", made("# The headings", "A package. 安装软件包。法国 café."))
    put(store, "y", made("Something else. 别的."))
    assert found(store, question) == [wanted]


@pytest.mark.parametrize("question", ['"', "*", "a OR b", "heading:x", "NEAR(x y)", "", "^", "-x"])
def test_signs_that_mean_something_in_a_query_are_only_signs(store: DocumentStore, question: str) -> None:
    put(store, "x", made("nothing of the kind"))
    assert found(store, question) == []


def test_a_scope_holds_only_its_documents(store: DocumentStore) -> None:
    one, two = put(store, "one", made("common word")), put(store, "two", made("common word too"))
    store.join("c", Path("/two"))
    assert sorted(found(store, "common")) == [one, two]
    assert found(store, "common", Scope(document_id=one)) == [one]
    assert found(store, "common", Scope(collection="c")) == [two]
    assert store.index.num_with("common", Scope(collection="c")) == 1
    assert store.index.size(Scope(collection="none")) == (0, 1.0)


def test_passages_have_the_text_of_their_places(store: DocumentStore) -> None:
    document = made(*(f"Paragraph {n} of words. " * 30 for n in range(20)))
    document_id = put(store, "x", document)
    for _, passage in store.index.find(["paragraph"], Scope(), 100):
        assert passage.document_id == document_id
        assert passage.text == document.text[passage.start : passage.stop]


def test_a_removed_document_has_left_no_trace(store: DocumentStore) -> None:
    put(store, "keep", made("An ordinary text."))
    put(
        store,
        "secretfile",
        made("# Zanzibarheading", "The quixotic passphrase is xylophone. 机密文件。", title="Mytitle"),
    )
    traces = [b"Zanzibar", b"zanzibar", b"xylophon", b"secretfile", b"Mytitle", "机密".encode(), b"quixot"]
    assert all(trace in file_bytes(store) for trace in traces)
    store.forget([Path("/secretfile")])
    store.tidy()
    assert [trace for trace in traces if trace in file_bytes(store)] == []
    assert b"ordinary" in file_bytes(store)


def test_two_files_of_the_same_bytes_are_one_document(store: DocumentStore) -> None:
    first = store.put(Path("/a"), STATE, "same", made("text"))
    second = store.put(Path("/b"), STATE, "same", None)
    assert first.id == second.id
    store.forget([Path("/a")])
    assert [info.path for info in store.documents()] == ["/b"]
    store.forget([Path("/b")])
    assert store.documents() == []


def test_a_changed_file_leads_to_its_new_text_only(store: DocumentStore) -> None:
    store.put(Path("/a"), STATE, "old", made("ancient words"))
    store.join("c", Path("/a"))
    store.put(Path("/a"), FileState(11, 2), "new", made("modern words"))
    assert found(store, "ancient") == []
    assert [info.sha256 for info in store.documents("c")] == ["new"]


def test_the_end_of_a_collection_forgets_what_is_in_no_other(store: DocumentStore) -> None:
    for name in ("one", "two"):
        put(store, name, made(name))
        store.join("c", Path(f"/{name}"))
    store.join("d", Path("/two"))
    store.leave("c")
    assert [(info.name, info.num_documents) for info in store.collections()] == [("d", 1)]
    assert [info.path for info in store.documents()] == ["/two"]


def test_an_index_of_other_terms_is_made_anew(store: DocumentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = put(store, "x", made("# Heading", "Some packages."))
    store.close()
    monkeypatch.setattr(passage_index, "VERSION", 99)
    monkeypatch.setattr(passage_index, "index_text", lambda text: text.lower().replace(".", ""))
    anew = DocumentStore(store.path)
    assert [passage.document_id for _, passage in anew.index.find(["packages"], Scope(), 5)] == [wanted]
    anew.forget([Path("/x")])
    anew.tidy()
    assert anew.index.find(["packages"], Scope(), 5) == []
    anew.close()


def test_an_unknown_document_is_told(store: DocumentStore) -> None:
    with pytest.raises(NotFoundError, match="doc list"):
        store.info(5)


def test_the_file_belongs_to_its_owner_alone(store: DocumentStore) -> None:
    assert store.path.stat().st_mode & 0o777 == 0o600


def test_an_sqlite_without_an_index_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketseek.apps.database.Database.has_module", lambda self, name: False)
    with pytest.raises(UnsupportedError, match="FTS5"):
        DocumentStore(tmp_path / "documents.db")


def test_the_index_of_a_store_after_many_changes_is_whole(store: DocumentStore) -> None:
    for number in range(8):
        put(store, f"n{number}", made("# Head", f"words number{number}. " * 300))
    store.forget([Path(f"/n{number}") for number in range(0, 8, 2)])
    store.tidy()
    connection = sqlite3.connect(store.path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.execute("INSERT INTO passage_terms(passage_terms) VALUES ('integrity-check')")
    connection.close()
    assert found(store, "number3") == [4] * len(found(store, "number3")) != []


def test_text_over_a_page_break_is_kept_and_found_as_one(store: DocumentStore) -> None:
    blocks = (
        Block("heading", "Terms", Place(1, None, 1), 1),
        Block("paragraph", "Either side may end it with a no", Place(1, None, 2)),
        Block("paragraph", "tice of three", Place(2, None, 1), joint=""),
        Block("paragraph", "months.", Place(3, None, 1), joint=" "),
    )
    document = Document("Contract", "application/pdf", blocks, 3)
    key = put(store, "contract", document)
    assert store.document(key) == document
    assert found(store, "notice") == [key]
    start = document.text.index("notice")
    assert store.index.text(key, start, len(document.text)) == "notice of three months."
    assert [store.place_at(key, at).page for at in (start, start + 3, len(document.text) - 1)] == [1, 2, 3]


def test_a_file_made_before_page_breaks_were_joined_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "documents.db"
    database = Database(path, application_id=APPLICATION_ID, migrations=MIGRATIONS[:1])
    with database.change():
        PassageIndex(database)
        database.run("INSERT INTO documents VALUES (1, 'x', '0/1', 'Old', 'text/plain', 1, '[]', 10, 0.0)")
        for start, text in ((0, "one"), (5, "two")):
            values = (start, "paragraph", 0, 1, None, 1, text, "")
            database.run("INSERT INTO blocks VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)", *values)
    database.close()
    store = DocumentStore(path)
    assert store.document(1).text == "one\n\ntwo"
    assert store.index.text(1, 0, 8) == "one\n\ntwo"
    store.close()
