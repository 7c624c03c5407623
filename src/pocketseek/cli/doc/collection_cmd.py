"""`pocketseek doc add|list|remove|search`: documents that are kept for questions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import options
from pocketseek.cli.console import (
    confirm,
    format_bytes,
    is_interactive,
    note,
    print_indented,
    print_json,
    print_table,
    print_text,
)
from pocketseek.cli.doc import library_messages as said
from pocketseek.cli.doc.reading import Comments, Ocr, file_reader
from pocketseek.cli.doc.reading import Password as Password
from pocketseek.cli.guard.state_key import state_key
from pocketseek.cli.messages import Words
from pocketseek.errors import PocketseekError, UsageError
from pocketseek.settings import Settings, read_settings

if TYPE_CHECKING:
    from pocketseek.apps.doc.collections import AddReport
    from pocketseek.apps.doc.document import Place
    from pocketseek.apps.doc.document_rows import DocumentInfo
    from pocketseek.apps.doc.retrieve import Found
from pocketseek.apps.doc.store import DocumentStore

Collection = Annotated[
    str | None, typer.Option("--collection", "-c", metavar="NAME", help="Of this collection.", show_default=False)
]


def add(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE|FOLDER...", help="What to keep.", show_default=False)],
    collection: Annotated[
        str, typer.Option("--collection", "-c", metavar="NAME", help="Where to put them.", show_default=True)
    ] = "documents",
    password: Password = None,
    comments: Comments = False,
    ocr: Ocr = False,
    json: options.Json = False,
) -> None:
    """Keep documents for questions, in the data directory. Files that have not changed are not read again."""
    from pocketseek.apps.doc.collections import add_paths

    settings = read_settings()
    words = Words(settings.language)
    with open_store(settings) as store:
        with file_reader(words, password=password, comments=comments, ocr=ocr) as reader:
            report = add_paths(store, paths, collection, reader, reader.begin, reader.extras)
        if json:
            print_json(_report_facts(report, collection))
        else:
            _tell(report, words, collection, len(store.documents(collection)))
    if report.failed:
        raise typer.Exit(report.failed[0][1].exit_code)


def list_documents(collection: Collection = None, json: options.Json = False) -> None:
    """Show which documents are kept."""
    from pocketseek.apps.doc.collections import check_collection

    settings = read_settings()
    words = Words(settings.language)
    with open_store(settings) as store:
        check_collection(store, collection)
        infos = store.documents(collection)
        rows = [(info, store.collections_of(info.id)) for info in infos]
    if json:
        print_json({"documents": [document_facts(info) | {"collections": list(names)} for info, names in rows]})
    elif not rows:
        print_text(words(said.NO_DOCUMENTS))
    else:
        columns = (
            said.COLUMN_NUMBER,
            said.COLUMN_TITLE,
            said.COLUMN_PAGES,
            said.COLUMN_SIZE,
            said.COLUMN_COLLECTIONS,
            said.COLUMN_FILE,
        )
        print_table([words(column) for column in columns], [_row(*row) for row in rows], essential=(0, 1))


def remove(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="Files, folders, numbers or titles, as list shows.", show_default=False),
    ] = None,
    collection: Annotated[
        str | None,
        typer.Option("--collection", "-c", metavar="NAME", help="This whole collection.", show_default=False),
    ] = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Forget documents without a trace; the files themselves stay. Asks first; a script says --yes."""
    from pocketseek.apps.doc.collections import check_collection, paths_meant

    if bool(names) == (collection is not None):
        raise UsageError("name what to remove: documents, or a --collection")
    settings = read_settings()
    words = Words(settings.language)
    with open_store(settings) as store:
        paths = [path for name in names or () for path in paths_meant(store, name)]
        check_collection(store, collection)
        before = store.documents()
        if not yes and not _is_confirmed(words, len(store.documents(collection)) if collection else len(paths)):
            print_text(words(said.NOT_REMOVED))
            return
        about = _collections_of(store, paths)
        if collection is not None:
            paths += store.leave(collection)
            about.add(collection)
        store.forget(paths)
        store.tidy()
        kept = {info.id for info in store.documents()}
    removed = [info.sha256 for info in before if info.id not in kept]
    num_jobs = _remove_jobs(settings, removed, [*paths, *map(Path, about)])
    if json:
        print_json({"removed": len(removed), "summaries_removed": num_jobs})
    else:
        print_text(words(said.REMOVED, count=len(removed)))
        if num_jobs:
            print_text(words(said.JOBS_REMOVED, count=num_jobs))


def search(
    text: Annotated[str, typer.Argument(metavar="WORDS", help="What to look for.", show_default=False)],
    collection: Collection = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="Most passages to show.")] = 10,
    json: options.Json = False,
) -> None:
    """Find passages that have these words, the best first."""
    from pocketseek.apps.doc.collections import check_collection
    from pocketseek.apps.doc.passage_index import Scope
    from pocketseek.apps.doc.retrieve import Retriever
    from pocketseek.apps.doc.snippet import snippet

    settings = read_settings()
    words = Words(settings.language)
    with open_store(settings) as store:
        check_collection(store, collection)
        found = Retriever(store).search(text, Scope(collection=collection), limit=limit)
    if json:
        print_json({"passages": [found_facts(item) | {"snippet": snippet(item.text, text)} for item in found]})
    elif not found:
        print_text(words(said.NOTHING_FOUND))
    for item in () if json else found:
        print_text(place_line(words, item.document.title, item.place, item.heading))
        print_indented(snippet(item.text, text))


def _collections_of(store: DocumentStore, paths: list[Path]) -> set[str]:
    """That the documents of these files are in: an answer about one of those may speak of them."""
    infos = filter(None, map(store.of_path, paths))
    return {name for info in infos for name in store.collections_of(info.id)}


def _remove_jobs(settings: Settings, sha256s: list[str], paths: list[Path]) -> int:
    """Summaries of what was removed, finished or not. paths: also names of collections, for jobs about those."""
    from pocketseek.apps.doc.jobs import JobStore

    if not settings.summaries_path.exists():
        return 0
    with closing(JobStore(settings.summaries_path, key=state_key(settings))) as jobs:
        return jobs.remove_of(sha256s, paths)


@contextmanager
def open_store(settings: Settings, *, in_memory: bool = False) -> Iterator[DocumentStore]:
    """in_memory: an empty one, of which nothing is kept."""
    from pocketseek.apps.doc.store import DocumentStore

    store = DocumentStore(None) if in_memory else DocumentStore(settings.documents_path, key=state_key(settings))
    try:
        yield store
    finally:
        store.close()


def place_line(words: Words, title: str, place: Place, heading: tuple[str, ...]) -> str:
    """Where something is, in a line. Of a book the heading: its parts are files, not counted as its chapters are."""
    told = [title]
    if place.page is not None:
        told.append(words(said.PAGE, number=place.page))
    elif place.chapter is None:
        told.append(words(said.PARAGRAPH, number=place.paragraph))
    elif not heading:
        told.append(words(said.PART, number=place.chapter))
    return ", ".join([*told, *heading[-1:]])


def place_facts(place: Place) -> dict[str, object]:
    return {"page": place.page, "chapter": place.chapter, "paragraph": place.paragraph}


def document_facts(info: DocumentInfo) -> dict[str, object]:
    return {
        "id": info.id,
        "title": info.title,
        "path": info.path,
        "media_type": info.media_type,
        "pages": info.num_pages,
        "bytes": info.num_bytes,
        "passages": info.num_passages,
        "sha256": info.sha256,
        "remarks": [{"reason": one.code, "page": one.page, "detail": one.detail} for one in info.remarks],
    }


def found_facts(item: Found) -> dict[str, object]:
    return {
        "document": item.document.id,
        "title": item.document.title,
        "path": item.document.path,
        **place_facts(item.place),
        "heading": list(item.heading),
        "start": item.start,
        "stop": item.stop,
        "score": item.score,
        "coverage": item.coverage,
        "text": item.text,
    }


def _is_confirmed(words: Words, count: int) -> bool:
    if not is_interactive():
        raise UsageError("removing documents needs a confirmation; add --yes")
    return confirm(words(said.CONFIRM_REMOVE, count=count))


def _tell(report: AddReport, words: Words, collection: str, num_documents: int) -> None:
    for path, problem in report.failed:
        note(words(said.NOT_READ, path=path, problem=_without_path(problem, path)))
    counts = {
        "added": len(report.added),
        "changed": len(report.changed),
        "unchanged": len(report.unchanged),
        "failed": len(report.failed),
    }
    print_text(words(said.ADDED, **counts))
    print_text(words(said.IN_COLLECTION, name=collection, count=num_documents))
    if report.num_other:
        note(words(said.OTHER_FILES, count=report.num_other))
    for info in report.added + report.changed:
        _tell_missing(info, words)
    if report.gone:
        note(words(said.GONE, count=len(report.gone), first=report.gone[0]))


def _tell_missing(info: DocumentInfo, words: Words) -> None:
    """What could not be read of a document that was."""
    num_pictures = sum(remark.code == "picture-page" for remark in info.remarks)
    if num_pictures:
        note(words(said.PICTURE_PAGES, path=info.path, count=num_pictures))
    for remark in info.remarks:
        if remark.code == "damaged-part":
            note(words(said.NOT_READ, path=info.path, problem=remark.detail))


def _without_path(problem: PocketseekError, path: Path) -> str:
    return str(problem).removeprefix(f"{path} ").removeprefix(f"{path}: ")


def _report_facts(report: AddReport, collection: str) -> dict[str, object]:
    return {
        "collection": collection,
        "added": [document_facts(info) for info in report.added],
        "changed": [document_facts(info) for info in report.changed],
        "unchanged": len(report.unchanged),
        "failed": [{"path": str(path), "error": str(problem)} for path, problem in report.failed],
        "gone": [str(path) for path in report.gone],
        "other_files": report.num_other,
    }


def _row(info: DocumentInfo, collections: tuple[str, ...]) -> list[str]:
    pages = "-" if info.num_pages is None else str(info.num_pages)
    return [str(info.id), info.title, pages, format_bytes(info.num_bytes), ", ".join(collections) or "-", info.path]
