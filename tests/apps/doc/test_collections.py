"""apps/doc/collections.py: adding is incremental, goes on after what cannot be read, and names mean what they say."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sample_documents import written

from pocketseek.apps.doc.collections import add_file, add_paths, check_name, paths_meant
from pocketseek.apps.doc.document import Document
from pocketseek.apps.doc.read import read_document
from pocketseek.apps.doc.store import DocumentStore
from pocketseek.errors import FormatError, NotFoundError, StorageError, UsageError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DocumentStore]:
    store = DocumentStore(tmp_path / "home" / "documents.db")
    yield store
    store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(5):
        written(tmp_path / "docs" / f"part{number % 2}" / f"{number}.txt", f"Text of number {number}.")
    written(tmp_path / "docs" / ".hidden" / "h.txt", "hidden")
    written(tmp_path / "docs" / "picture.jpg", "not a document")
    return tmp_path / "docs"


class Reader:
    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, path: Path) -> Document:
        self.names.append(path.name)
        return read_document(path)


def test_a_folder_is_read_once(store: DocumentStore, folder: Path) -> None:
    reader = Reader()
    first = add_paths(store, [folder], "c", reader)
    second = add_paths(store, [folder], "c", reader)
    assert (len(first.added), first.num_other, len(second.unchanged)) == (5, 1, 5)
    assert len(reader.names) == 5
    assert len(store.documents("c")) == 5


def test_only_what_changed_is_read_again(store: DocumentStore, folder: Path) -> None:
    reader = Reader()
    add_paths(store, [folder], "c", reader)
    written(folder / "part0" / "2.txt", "Quite another text of two.")
    os.utime(folder / "part1" / "1.txt", ns=(1, 1))
    report = add_paths(store, [folder], "c", reader)
    assert [Path(info.path).name for info in report.changed] == ["2.txt"]
    assert len(report.unchanged) == 4
    assert reader.names[5:] == ["2.txt"]


def test_a_copy_is_not_read(store: DocumentStore, folder: Path) -> None:
    reader = Reader()
    add_paths(store, [folder], "c", reader)
    written(folder / "copy.txt", "Text of number 3.")
    assert len(add_paths(store, [folder], "c", reader).added) == 1
    assert len(reader.names) == 5
    assert len(store.documents("c")) == 5


def test_the_others_go_on_after_a_file_that_cannot_be_read(store: DocumentStore, folder: Path) -> None:
    (folder / "part0" / "2.txt").write_bytes(b"\x89PNG\r\n\x1a\n")
    report = add_paths(store, [folder], "c", read_document)
    assert [path.name for path, _ in report.failed] == ["2.txt"]
    assert len(report.added) == 4


def test_a_file_is_read_again_for_an_extra_that_it_was_read_without(store: DocumentStore, folder: Path) -> None:
    reader = Reader()
    add_paths(store, [folder], "c", reader)
    assert len(add_paths(store, [folder], "c", reader, extras=("ocr",)).changed) == 5
    assert len(add_paths(store, [folder], "c", reader, extras=("ocr",)).unchanged) == 5
    assert len(add_paths(store, [folder], "c", reader).unchanged) == 5
    assert len(reader.names) == 10


def test_an_empty_file_is_told(store: DocumentStore, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"empty\.txt"):
        add_file(store, written(tmp_path / "empty.txt", " \n"), read_document)


def test_a_file_that_changes_while_it_is_read_is_not_kept(store: DocumentStore, tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "one")

    def read(path: Path) -> Document:
        document = read_document(path)
        written(path, "another text")
        return document

    with pytest.raises(StorageError, match="changed while"):
        add_file(store, path, read)
    assert store.documents() == []


def test_files_that_are_gone_are_told_and_kept(store: DocumentStore, folder: Path) -> None:
    add_paths(store, [folder], "c", read_document)
    (folder / "part1" / "3.txt").unlink()
    report = add_paths(store, [folder], "c", read_document)
    assert [path.name for path in report.gone] == ["3.txt"]
    assert len(store.documents("c")) == 5


def test_a_store_that_cannot_be_written_ends_it(store: DocumentStore, folder: Path) -> None:
    store.close()
    with pytest.raises(UsageError, match="open it again"):
        add_paths(store, [folder], "c", read_document)


def test_the_others_go_on_after_a_path_that_is_not_there(store: DocumentStore, folder: Path) -> None:
    report = add_paths(store, [folder / "absent.pdf", folder], "c", read_document)
    assert [(path.name, type(error)) for path, error in report.failed] == [("absent.pdf", NotFoundError)]
    assert len(report.added) == 5


def test_pipes_and_devices_are_refused_at_once(store: DocumentStore, folder: Path) -> None:
    os.mkfifo(folder / "pipe.txt")
    report = add_paths(store, [folder / "pipe.txt", Path("/dev/zero"), folder / "part0" / "2.txt"], "c", read_document)
    assert [type(error) for _, error in report.failed] == [UsageError, UsageError]
    assert len(report.added) == 1


def test_the_others_go_on_after_a_folder_that_cannot_be_read(
    store: DocumentStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path.name == "part0":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    report = add_paths(store, [folder], "c", read_document)
    assert [(path.name, type(error)) for path, error in report.failed] == [("part0", StorageError)]
    assert len(report.added) == 2


def test_names_that_are_no_text_are_told_apart(store: DocumentStore, tmp_path: Path) -> None:
    files = [tmp_path / os.fsdecode(name) for name in (b"\xff.txt", b"\xfe.txt")]
    for number, file in enumerate(files):
        written(file, f"Text of number {number}.")
    assert len(add_paths(store, files, "c", read_document).added) == 2
    assert len(add_paths(store, files, "c", read_document).unchanged) == 2
    assert sorted(store.paths(under=tmp_path)) == sorted(files)
    store.forget(files[:1])
    assert [Path(path) for info in store.documents() for path in store.paths_of(info.id)] == files[1:]


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101])
def test_a_collection_has_a_name_that_can_be_shown(name: str) -> None:
    with pytest.raises(UsageError, match="no name"):
        check_name(name)


def test_a_name_means_a_path_a_folder_a_number_or_a_title(store: DocumentStore, folder: Path) -> None:
    add_paths(store, [folder], "c", read_document)
    wanted = folder / "part1" / "3.txt"
    number = next(info.id for info in store.documents() if info.title == "3")
    (folder / "part1" / "1.txt").rename(folder / "part1" / "moved")
    assert paths_meant(store, str(wanted)) == [wanted]
    assert paths_meant(store, str(folder / "part1")) == [folder / "part1" / "1.txt", wanted]
    assert paths_meant(store, str(number)) == [wanted]
    with pytest.raises(NotFoundError, match="doc list"):
        paths_meant(store, "absent")


def test_a_title_of_several_documents_is_told(store: DocumentStore, tmp_path: Path) -> None:
    files = [written(tmp_path / name / "same.txt", name) for name in "ab"]
    add_paths(store, files, None, read_document)
    with pytest.raises(UsageError, match="numbers 1, 2"):
        paths_meant(store, "same")
