"""What is to be gone from the disk is gone, whatever comes first, and nothing else is."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.runtime.prefix.forgotten import forget_model, forget_text, sweep_marks
from pocketseek.runtime.prefix.page import PageKey, key_of_page
from pocketseek.runtime.prefix.store import PrefixStore, identity_of

PAGE = bytes(range(200)) * 5
OWNER, OTHER = "a" * 32, "b" * 32
DAY_S = 86_400


def open_store(root: Path, owner: str = OWNER, may_write: Callable[[], bool] = lambda: True) -> PrefixStore:
    return PrefixStore(root, identity_of({"of": owner}), page_bytes=len(PAGE), owner=owner, may_write=may_write)


def page(token: int) -> PageKey:
    return key_of_page(b"r" * 32, [token] * 64)


def keep(store: PrefixStore, key: PageKey, label: str, used_ns: int | None = None) -> bool:
    return store.keep(key, 0, memoryview(PAGE), used_ns=time.time_ns() if used_ns is None else used_ns, label=label)


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".forgotten")


def test_a_deleted_text_takes_its_pages_along_of_all_models_and_leaves_others(tmp_path: Path) -> None:
    stores = [open_store(tmp_path), open_store(tmp_path, OTHER)]
    for store in stores:
        assert all(keep(store, page(number), label) for number, label in enumerate(("one", "one", "two", "")))
    assert forget_text(tmp_path, "one") == 4
    for owner in (OWNER, OTHER):
        fresh = open_store(tmp_path, owner)
        assert [fresh.read(page(number)) is not None for number in range(4)] == [False, False, True, True]


def test_a_page_that_waited_to_be_written_is_not_written_any_more(tmp_path: Path) -> None:
    used_ns = time.time_ns()
    forget_text(tmp_path / "store", "one")  # before there is a store at all
    store = open_store(tmp_path / "store")
    assert not keep(store, page(1), "one", used_ns)
    assert files(tmp_path / "store") == []
    assert keep(store, page(1), "two", used_ns)
    assert store.num_failures == 0


def test_a_page_that_is_just_being_written_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, usual = open_store(tmp_path), os.rename

    def rename(source: Path, target: Path) -> None:
        forget_text(tmp_path, "one")  # in another process, which does not see the page yet
        usual(source, target)

    monkeypatch.setattr(os, "rename", rename)
    assert not keep(store, page(1), "one")
    assert files(tmp_path) == []
    assert store.num_bytes == 0


def test_what_is_asked_later_under_the_same_label_is_kept_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    keep(store, page(1), "one")
    forget_text(tmp_path, "one")
    store.refresh()
    assert keep(store, page(2), "one")
    assert len(files(tmp_path)) == 1


def test_a_page_of_two_texts_goes_with_the_first(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    keep(store, page(1), "one")
    keep(store, page(1), "two")
    assert forget_text(tmp_path, "two") == 0
    assert forget_text(tmp_path, "one") == 1


@pytest.mark.parametrize(("owners", "left"), [({OWNER}, [OTHER, ""]), ({OWNER, ""}, [OTHER]), (None, [])])
def test_the_pages_of_a_model_go_and_of_older_versions_if_wanted(
    tmp_path: Path, owners: set[str] | None, left: list[str]
) -> None:
    """Those had no owner in their names."""
    for owner in (OWNER, OTHER, ""):
        keep(open_store(tmp_path, owner), page(1), "label")
    forget_model(tmp_path, owners)
    assert [owner for owner in (OWNER, OTHER, "") if open_store(tmp_path, owner).read(page(1))] == left
    assert len(list(tmp_path.iterdir())) == len(left)


def test_nothing_is_written_for_a_model_that_is_not_what_it_was(tmp_path: Path) -> None:
    """Sealed, unsealed or removed, before the page or while it is written."""
    assert not keep(open_store(tmp_path, may_write=lambda: False), page(1), "")
    answers = iter([True, False])
    assert not keep(open_store(tmp_path, may_write=lambda: next(answers)), page(1), "")
    assert files(tmp_path) == []


def test_marks_go_after_a_month_and_nothing_else(tmp_path: Path) -> None:
    forget_text(tmp_path, "old")
    (mark,) = tmp_path.iterdir()
    stranger = tmp_path / "notes.forgotten"
    stranger.touch()
    forget_text(tmp_path, "new")
    for path in (mark, stranger):
        os.utime(path, (time.time() - 31 * DAY_S,) * 2)
    sweep_marks(tmp_path)
    assert not mark.exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_half_a_page_that_a_killed_writer_left_goes_and_one_that_is_being_written_stays(tmp_path: Path) -> None:
    keep(open_store(tmp_path), page(1), "one")
    (folder,) = tmp_path.iterdir()
    left, living = folder / ".1.partial", folder / ".2.partial"
    for path in (left, living):
        path.write_bytes(PAGE)
    with living.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert forget_text(tmp_path, "other") == 0
    assert (left.exists(), living.exists()) == (False, True)


def test_links_in_the_place_of_the_store_are_not_followed(tmp_path: Path) -> None:
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "root"
    keep(open_store(elsewhere), page(1), "one")
    root.mkdir()
    (folder,) = elsewhere.iterdir()
    (root / folder.name).symlink_to(folder)
    (linked_root := tmp_path / "linked").symlink_to(elsewhere)
    for place in (root, linked_root):
        assert forget_text(place, "one") == forget_model(place, None) == 0
        assert not keep(open_store(place), page(2), "one")
    assert len(list(elsewhere.rglob("*"))) == 2
