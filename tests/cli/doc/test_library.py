"""`doc add|list|remove|search|ask` as scripts and people use them, on a model that talks nonsense."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pypdfium2
import pytest
from document_files import (
    W_NAMESPACE,
    column,
    docx_parts,
    epub_parts,
    paragraph,
    pdf_bytes,
    picture_pdf_bytes,
    write_zip,
)
from sample_documents import written
from tiny_models import tiny_hf_directory

from pocketseek.apps.doc.document import Document
from pocketseek.apps.doc.jobs import JobRequest, JobStore
from pocketseek.apps.doc.summary_events import SummaryOptions
from pocketseek.apps.doc.written_answer import Note
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.errors import FormatError, NotFoundError, UsageError
from pocketseek.types import TextEvent

DATA = Path(__file__).parents[2] / "apps" / "doc" / "data"


@pytest.fixture(scope="session")
def wide_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that takes prompts of 4096 bytes."""
    folder = tmp_path_factory.mktemp("wide")
    return convert_checkpoint(tiny_hf_directory(folder / "hf", context=4096), folder / "wide", models_dir=folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written(tmp_path / "docs" / "roses.md", "# Roses\n\nRoses are pruned in March.\n\n# 玫瑰\n\n玫瑰在三月修剪。\n")
    written(tmp_path / "docs" / "apples.txt", "Apples are picked in September.")
    written(tmp_path / "docs" / "picture.png", "no document")
    return tmp_path / "docs"


@pytest.fixture
def added(run: Callable, folder: Path) -> Path:
    assert run("doc", "add", folder, "--collection", "garden").code == 0
    return folder


def test_a_folder_is_added_and_told(run: Callable, folder: Path) -> None:
    first = run("doc", "add", folder, "-c", "garden")
    assert first.out.splitlines() == [
        "2 added, 0 changed, 0 unchanged, 0 not readable",
        "collection garden: 2 documents",
    ]
    assert "1 other file of the folder is no document" in first.err
    facts = run("doc", "add", folder, "-c", "garden", "--json").json
    assert (facts["added"], facts["unchanged"], facts["other_files"]) == ([], 2, 1)


def test_a_file_that_cannot_be_read_is_told_and_the_rest_goes_on(run: Callable, folder: Path) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4\nnothing more")
    ended = run("doc", "add", folder)
    assert ended.code == FormatError.exit_code
    assert "2 added, 0 changed, 0 unchanged, 1 not readable" in ended.out
    assert f"{folder / 'broken.pdf'}: " in ended.err


def test_comments_are_read_when_they_are_asked_for(run: Callable, tmp_path: Path) -> None:
    body = '<w:p><w:r><w:t>Text</w:t><w:commentReference w:id="0"/></w:r></w:p>'
    note = f'<w:comments xmlns:w="{W_NAMESPACE}"><w:comment w:id="0">{paragraph("Remarkable")}</w:comment></w:comments>'
    path = write_zip(tmp_path / "a.docx", docx_parts(body) | {"word/comments.xml": note})
    assert run("doc", "add", path).code == 0
    assert run("doc", "search", "remarkable").out.startswith("no passage")
    assert "1 changed" in run("doc", "add", path, "--comments").out
    assert "«Remarkable»" in run("doc", "search", "remarkable").out


def test_what_is_missing_of_a_document_is_told_when_it_is_added(run: Callable, tmp_path: Path) -> None:
    book = write_zip(tmp_path / "a.epub", epub_parts(["<p>whole</p>", "<p>begun</p>" + "<div>" * 5000 + "lost"]))
    mixed = pypdfium2.PdfDocument.new()
    for part in (pdf_bytes([column(72, 700, ["Text"])]), picture_pdf_bytes(bytes(100 * 140), 100, 140)):
        mixed.import_pages(pypdfium2.PdfDocument(part))
    mixed.save(tmp_path / "b.pdf")
    ended = run("doc", "add", book, tmp_path / "b.pdf")
    assert "what follows is missing" in ended.err
    assert "1 page is a picture without text; `pocketseek doc add --ocr` reads them" in ended.err
    documents = run("doc", "list", "--json").json["documents"]
    assert sorted(remark["reason"] for one in documents for remark in one["remarks"]) == [
        "damaged-part",
        "picture-page",
    ]


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not installed")
def test_pictures_are_read_when_that_is_asked_for(run: Callable) -> None:
    assert "--ocr reads them" in run("doc", "add", DATA / "picture.pdf").err
    assert run("doc", "add", DATA / "picture.pdf", "--ocr").code == 0
    assert "«fox»" in run("doc", "search", "fox").out


def test_a_question_to_a_new_file_reads_its_comments_too(run: Callable, tmp_path: Path, wide_package: Path) -> None:
    body = '<w:p><w:r><w:t>Text</w:t><w:commentReference w:id="0"/></w:r></w:p>'
    note = f'<w:comments xmlns:w="{W_NAMESPACE}"><w:comment w:id="0">{paragraph("Remarkable")}</w:comment></w:comments>'
    path = write_zip(tmp_path / "a.docx", docx_parts(body) | {"word/comments.xml": note})
    asked = ("doc", "ask", path, "What is remarkable?", "--model", wide_package, "--max-tokens", 4)
    assert run(*asked).code == 0
    assert run("doc", "search", "remarkable").out.startswith("no passage")
    assert run(*asked, "--comments").code == 0
    assert "«Remarkable»" in run("doc", "search", "remarkable").out
    ended = run("doc", "ask", "Title that is kept", "What?", "--comments")
    assert ended.code == UsageError.exit_code
    assert "doc add FILE --comments" in ended.err


def test_a_password_is_asked_for_where_somebody_can_answer(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("doc", "add", DATA / "encrypted.pdf").code == UsageError.exit_code
    answers, asked = ["guess", "secret"], []

    def prompt(text: str, **options: object) -> str:
        assert options["hide_input"]
        asked.append(text)
        return answers.pop(0) if answers else ""

    monkeypatch.setattr("pocketseek.cli.doc.reading.is_interactive", lambda: True)
    monkeypatch.setattr("typer.prompt", prompt)
    assert run("doc", "add", DATA / "encrypted.pdf").code == 0
    assert [text.split(";")[0] for text in asked] == ["Password of encrypted.pdf (an empty one leaves it)", "Wrong"]
    assert "«password»" in run("doc", "search", "password").out
    shutil.copy(DATA / "encrypted.pdf", tmp_path / "other.pdf")
    with (tmp_path / "other.pdf").open("ab") as file:
        file.write(b"\n")
    assert "wrong password" in run("doc", "add", tmp_path / "other.pdf", "--password", "guess").err


def test_a_path_that_is_not_there_is_one_line(run: Callable, tmp_path: Path) -> None:
    ended = run("doc", "add", tmp_path / "absent")
    assert ended.code == NotFoundError.exit_code
    assert "does not exist" in ended.err


def test_what_is_kept_is_listed(run: Callable, added: Path) -> None:
    assert [line.split("\t")[1] for line in run("doc", "list").out.splitlines()] == ["Roses", "apples"]
    documents = run("doc", "list", "--collection", "garden", "--json").json["documents"]
    assert [document["collections"] for document in documents] == [["garden"], ["garden"]]


@pytest.mark.parametrize("command", [("list",), ("search", "roses"), ("remove", "--yes")])
def test_a_collection_that_is_not_there_is_told(run: Callable, added: Path, command: tuple[str, ...]) -> None:
    ended = run("doc", *command, "-c", "nosuch")
    assert ended.code == NotFoundError.exit_code == 3
    assert "there is no collection 'nosuch'" in ended.error


def test_places_are_told_by_page_heading_or_paragraph(run: Callable, tmp_path: Path) -> None:
    book = ["<p>A foreword about lilies.</p>", "<h1>Chapter 1: Tulips</h1><p>They are bulbs.</p>"]
    run("doc", "add", write_zip(tmp_path / "a.epub", epub_parts(book)))
    run("doc", "add", written(tmp_path / "b.md", "# Garden\n\n## Asters\n\nThey are late.\n"))
    assert run("doc", "search", "lilies").out.splitlines()[0] == "A Book, part 1"
    assert run("doc", "search", "bulbs").out.splitlines()[0] == "A Book, Chapter 1: Tulips"
    assert run("doc", "search", "late").out.splitlines()[0] == "Garden, paragraph 3, Asters"


def test_a_title_cannot_make_itself_look_like_another(run: Callable, tmp_path: Path) -> None:
    run("doc", "add", written(tmp_path / "a.md", "# txt.\u202eevil \u2066here\n\nText.\n"))
    run("doc", "add", written(tmp_path / "two\nlines\x1b[2J.txt", "Text."))
    assert [one["title"] for one in run("doc", "list", "--json").json["documents"]] == ["two lines[2J", "txt.evil here"]


def test_words_are_found_with_their_places(run: Callable, added: Path) -> None:
    lines = run("doc", "search", "pruning roses").out.splitlines()
    assert lines[0].startswith("Roses, ")
    assert lines[1].strip() == "«Roses» are «pruned» in March."
    facts = run("doc", "search", "修剪玫瑰", "--json").json["passages"]
    assert facts[0]["snippet"] == "«玫瑰»在三月«修剪»。"
    assert run("doc", "search", "zeppelin").out == "no passage has any of these words\n"


def test_removing_needs_a_yes_and_leaves_no_trace(run: Callable, added: Path, home: Path) -> None:
    assert run("doc", "remove", added / "roses.md").code == UsageError.exit_code
    assert b"pruned" in (home / "documents.db").read_bytes()
    assert run("doc", "remove", added / "roses.md", "--yes", "--json").json["removed"] == 1
    left = b"".join(path.read_bytes() for path in home.glob("documents.db*"))
    assert b"prun" not in left
    assert b"roses" not in left
    assert (added / "roses.md").exists()


def traces(home: Path, *words: str) -> list[str]:
    """Files of the data directory with one of the words in them, and prompts that the engine has kept."""
    found = {
        path.name
        for path in home.rglob("*")
        for word in words
        if path.is_file() and word.encode() in path.read_bytes().lower()
    }
    return sorted(found | {path.name for path in (home / "cache" / "prefix").rglob("*") if path.is_file()})


def test_a_removed_document_takes_questions_and_summaries_with_it(
    run: Callable, home: Path, tmp_path: Path, wide_package: Path
) -> None:
    path = written(tmp_path / "xylophone.md", "# Xylophone\n\n" + "The xylophone is played with zanzibars. " * 12)
    model = ("--model", wide_package, "--json")
    assert run("doc", "ask", path, "What is the xylophone played with?", *model, "--max-tokens", 4).code == 0
    assert run("doc", "summarize", path, "--focus", "zanzibar", "--length", 10, *model).code == 0
    assert traces(home, "xyloph", "zanzib") == ["documents.db", "summaries.db"]
    assert run("doc", "remove", path, "--yes", "--json").json == {"removed": 1, "summaries_removed": 1}
    assert traces(home, "xyloph", "zanzib") == []


def test_what_was_answered_about_a_collection_goes_with_a_document_of_it(
    run: Callable, home: Path, added: Path
) -> None:
    about = JobRequest(Path("garden"), "0" * 64, Document("garden", "text/plain", ()), "m", "m", SummaryOptions())
    with closing(JobStore(home / "summaries.db")) as jobs:
        jobs.begin(about).keep("k", Note("Roses are pruned.", "complete", 3, 9, 0))
    assert run("doc", "remove", added / "roses.md", "--yes", "--json").json["summaries_removed"] == 1
    assert traces(home, "roses") == []


def test_a_removed_collection_takes_its_questions_with_it(
    run: Callable, home: Path, added: Path, wide_package: Path
) -> None:
    assert run("doc", "add", added, "-c", "second").code == 0
    question = "Which zanzibar prunes roses in March?"
    run("doc", "ask", "garden", question, "--model", wide_package, "--max-tokens", 4)
    assert traces(home, "zanzibar") == ["documents.db"]
    assert run("doc", "remove", "-c", "garden", "--yes", "--json").json["removed"] == 0
    assert traces(home, "zanzibar") == []


def test_a_question_that_is_not_to_be_kept_never_reaches_the_disk(
    run: Callable, home: Path, folder: Path, wide_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(folder / "absent"))  # a temporary folder would fail
    ended = run("doc", "ask", folder / "roses.md", "When are roses pruned?", "--no-keep", "--model", wide_package)
    assert ended.code == 0
    assert traces(home, "roses", "pruned") == []


def test_a_whole_collection_is_removed(run: Callable, added: Path) -> None:
    assert run("doc", "remove", "-c", "garden", "--yes").out.startswith("2 documents were removed")


@pytest.mark.parametrize("arguments", [("doc", "remove", "--yes"), ("doc", "remove", "x", "-c", "y", "--yes")])
def test_it_is_said_what_to_remove(run: Callable, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).code == UsageError.exit_code


def test_a_question_is_answered_with_what_was_found(run: Callable, folder: Path, wide_package: Path) -> None:
    facts = run(
        "doc",
        "ask",
        folder / "roses.md",
        "When are roses pruned?",
        "--model",
        wide_package,
        "--json",
        "--max-tokens",
        8,
    ).json
    assert facts["answer"]
    assert facts["passages"][0]["text"] == "Roses are pruned in March."
    assert facts["model"] == str(wide_package)
    for citation in facts["citations"]:
        assert citation["quote"] in (folder / "roses.md").read_text("utf-8")


def test_an_answer_that_goes_round_in_circles_is_ended(
    run: Callable, folder: Path, wide_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketseek.runtime.engine.Engine.stream_text", lambda *_, **__: Circles())
    asked = ("doc", "ask", folder / "roses.md", "When are roses pruned?", "--model", wide_package)
    facts = run(*asked, "--json").json
    assert (facts["finish_reason"], facts["completion_tokens"]) == ("length", 32)
    ended = run(*asked)
    assert "went round in circles" in ended.err
    assert "token limit" not in ended.err


class Circles:
    """An answer without an end."""

    def __iter__(self) -> Iterator[TextEvent]:
        return (TextEvent("Roses. ", num_tokens=number) for number in count(1))

    def close(self) -> None:
        pass


@pytest.fixture
def long_file(folder: Path) -> Path:
    """Too long to be shown to the model whole."""
    return written(folder / "long.txt", " ".join(f"Pear number {n} was picked early." for n in range(700)))


def test_what_is_not_there_needs_no_model(run: Callable, long_file: Path) -> None:
    ended = run("doc", "ask", long_file, "Who painted the Mona Lisa?")
    assert (ended.code, ended.out) == (0, "Not in the document.\n")
    facts = run("doc", "ask", long_file, "Who painted the Mona Lisa?", "--json").json
    assert facts["not_in_document"] is True


def test_a_file_that_is_not_to_be_kept_is_not(run: Callable, long_file: Path, home: Path) -> None:
    assert run("doc", "ask", long_file, "Who painted the Mona Lisa?", "--no-keep").code == 0
    assert not (home / "documents.db").exists()


def test_a_collection_is_asked_without_keeping_the_question(
    run: Callable, long_file: Path, added: Path, home: Path
) -> None:
    assert run("doc", "ask", "garden", "Who painted the Zauberberg?", "--no-keep").out == "Not in the document.\n"
    assert run("doc", "ask", "garden", "And why?", "--continue").code == UsageError.exit_code
    assert b"Zauberberg" not in b"".join(path.read_bytes() for path in home.glob("documents.db*"))


def test_questions_come_from_standard_input(
    run: Callable, long_file: Path, added: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Who painted the Mona Lisa?\nWho composed it?\n\nnot asked\n"))
    assert run("doc", "ask", "garden").out == "Not in the document.\n" * 2


@pytest.mark.parametrize(
    "more",
    [
        ("--json",),
        ("question", "--continue"),
        ("--whole",),
        ("question", "--whole", "--schema", "x.json"),
        ("question", "--continue", "--whole"),
        ("question", "--whole", "--seed", "1"),
        ("question", "--whole", "--temperature", "0.5"),
        ("question", "--whole", "--max-tokens", "9"),
        ("question", "--schema", "x.json", "--max-tokens", "9"),
        ("question", "--schema", "/dev/null"),
    ],
)
def test_what_cannot_be_asked_is_one_line(run: Callable, added: Path, more: tuple[str, ...]) -> None:
    ended = run("doc", "ask", "garden", *more)
    assert ended.code in (UsageError.exit_code, 7)
    assert ended.error


def test_a_schema_is_filled_in(run: Callable, folder: Path, wide_package: Path, tmp_path: Path) -> None:
    pytest.importorskip("llguidance")
    schema = {"type": "object", "properties": {"is_flower": {"type": "boolean"}}, "required": ["is_flower"]}
    path = written(tmp_path / "schema.json", json.dumps(schema))
    facts = run(
        "doc", "ask", folder / "roses.md", "--schema", path, "--model", wide_package, "--json", "--memory", "3GB"
    ).json
    assert set(facts["value"]) == {"is_flower"}
    assert facts["chunks"] == 1
    assert facts["seconds"] > 0


def test_the_whole_is_read_for_a_question_about_all_of_it(run: Callable, folder: Path, wide_package: Path) -> None:
    facts = run(
        "doc", "ask", folder / "roses.md", "What is it about?", "--whole", "--model", wide_package, "--json"
    ).json
    assert facts["coverage"]["chunks"] == facts["documents"][0]["coverage"]["chunks_covered"] == 1
    assert {"answer", "citations", "not_in_document", "dropped", "finish_reason", "seconds"} <= set(facts)


def test_a_whole_collection_is_read_and_documents_whose_files_are_gone(
    run: Callable, added: Path, wide_package: Path, home: Path
) -> None:
    (added / "apples.txt").unlink()
    asked = ("What is it about?", "--whole", "--model", wide_package, "--json")
    facts = run("doc", "ask", "garden", *asked).json
    assert [one["title"] for one in facts["documents"]] == ["Roses", "apples"]
    assert [job["title"] for job in run("doc", "jobs", "--json").json["jobs"]] == ["garden"]
    alone = run("doc", "ask", "apples", *asked, "--no-keep").json
    assert alone["documents"][0]["answer"] == facts["documents"][1]["answer"]
    assert len(run("doc", "jobs", "--json").json["jobs"]) == 1
    assert run("doc", "remove", added / "roses.md", "--yes", "--json").json["summaries_removed"] == 1
    assert run("doc", "jobs", "--json").json["jobs"] == []


def test_chinese_is_spoken(run: Callable, long_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETSEEK_LANG", "zh")
    assert "新增 3 个" in run("doc", "add", long_file.parent).out
    assert run("doc", "ask", long_file, "蒙娜丽莎是谁画的?").out == "文中没有相关内容。\n"
