"""What was said and then deleted is not found in the data directory any more, in whatever form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from api_server import Served, serving
from fakes import ByteTokenizer, FakeExecutor, FakeTemplate
from package.samples import write_sample

from pocketseek.apps.chat import Chat
from pocketseek.apps.chat_history import ChatHistory
from pocketseek.apps.conversations import ConversationStore
from pocketseek.apps.kept_pages import PageEraser, owners_of
from pocketseek.apps.model_pool import ServedModel
from pocketseek.govern.governor import FixedGovernor
from pocketseek.package.manifest import read_manifest
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.prefix.forgotten import forget_model
from pocketseek.runtime.prefix.owners import manifest_id, plain_owner
from pocketseek.runtime.prefix.store import PrefixStore
from pocketseek.settings import Settings

RARE = "quetzalcoatlus"
SAID = f"Tell me about {RARE}, and at length, please. " * 8


def engine_with_store(folder: Path) -> Engine:
    """Its pages hold nothing but the tokens, which are the bytes of the text."""
    return Engine(
        FakeExecutor(context_length=4096),
        ByteTokenizer(),  # type: ignore[arg-type]
        FakeTemplate(),  # type: ignore[arg-type]
        FixedGovernor(1),
        num_pages=64,
        prefix_store=PrefixStore(folder, b"i" * 32, page_bytes=64 * 8),
    )


def finds(folder: Path, text: str = RARE) -> list[str]:
    """Files that have the text, as it is or as token ids, four or eight bytes each."""
    letters = np.frombuffer(text.encode(), np.uint8)
    forms = [text.encode(), letters.astype("<i4").tobytes(), letters.astype("<i8").tobytes()]
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with suppress(FileNotFoundError):  # it got its name at this moment
            data = path.read_bytes()
            found += [str(path.relative_to(folder))] if any(form in data for form in forms) else []
    return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    def open_engine(model: ServedModel) -> Engine:
        return engine_with_store(tmp_path / "home" / "prefix")

    with serving(tmp_path / "home", open_engine=open_engine) as server:
        assert server.services.conversations is not None
        server.services.conversations.erase = PageEraser(tmp_path / "home" / "prefix")
        yield server


def ask(server: Served, conversation: str, text: str) -> None:
    server.post(f"/api/conversations/{conversation}/turns", {"text": text, "settings": {"max_tokens": 2}})


def new_chat(server: Served) -> str:
    return str(server.post("/api/conversations", {}).json()["id"])


def wait_for_pages(server: Served) -> None:
    folder = server.folder / "prefix"
    server.wait_until(lambda: any("prefix" in name for name in finds(server.folder)), f"nothing is kept in {folder}")
    archive = server.engine._worker._idle_work
    assert archive is not None
    server.wait_until(lambda: not archive.has_work, "the pages are not written")


def test_a_chat_that_is_deleted_in_the_page_is_found_nowhere(server: Served) -> None:
    ask(server, gone := new_chat(server), SAID)
    ask(server, other := new_chat(server), SAID.replace(RARE, "diplodocus"))
    wait_for_pages(server)
    assert server.client.delete(f"/api/conversations/{gone}").status_code == 204
    assert finds(server.folder) == []
    assert any("prefix" in name for name in finds(server.folder, "diplodocus"))
    server.client.delete(f"/api/conversations/{other}")
    assert finds(server.folder, "diplodocus") == []


def test_what_is_still_to_be_written_is_not_written_after_the_chat_is_gone(tmp_path: Path, server: Served) -> None:
    with server.services.models.using("fake") as engine:
        archive = engine._worker._idle_work
        assert archive is not None
        writes = []
        usual = archive._store.keep
        archive._store.keep = lambda *args, **options: writes.append((args, options)) or False  # type: ignore[method-assign,func-returns-value]
        ask(server, gone := new_chat(server), SAID)
        server.wait_until(lambda: bool(writes), "nothing is to be written")
        server.client.delete(f"/api/conversations/{gone}")
        assert [usual(*args, **options) for args, options in writes] == [False] * len(writes)
    assert finds(server.folder) == []


def test_a_question_that_is_edited_away_is_found_nowhere(server: Served) -> None:
    ask(server, chat := new_chat(server), SAID)
    wait_for_pages(server)
    body = {"text": SAID.replace(RARE, "diplodocus"), "index": 0, "settings": {"max_tokens": 2}}
    server.post(f"/api/conversations/{chat}/turns", body)
    assert finds(server.folder) == []
    server.wait_until(lambda: any("prefix" in name for name in finds(server.folder, "diplodocus")), "not kept again")


def test_a_chat_of_the_terminal_goes_as_well_and_one_that_is_not_kept_never_comes(tmp_path: Path) -> None:
    folder = tmp_path / "prefix"
    with closing(ConversationStore(tmp_path / "chats.db", erase=PageEraser(folder))) as store:
        for is_kept in (True, False):
            with engine_with_store(folder) as engine:
                history = ChatHistory(store, "fake", lambda error: pytest.fail(str(error))) if is_kept else None
                list(Chat(engine, max_tokens=2, recorder=history).ask(SAID))
            assert bool(finds(folder)) is is_kept
            for info in store.list():
                store.delete(info.id)
            assert finds(folder) == []
    assert finds(tmp_path) == []


def test_a_model_that_cannot_be_read_takes_all_pages_along(tmp_path: Path) -> None:
    settings = Settings(tmp_path, None, 1, "en")
    assert owners_of(tmp_path / "nothing", settings) is None
    with closing(engine_with_store(settings.prefix_dir)) as engine:
        list(engine.stream_text(SAID, max_tokens=1))
    forget_model(settings.prefix_dir, owners_of(tmp_path / "nothing", settings))
    assert finds(tmp_path) == []


def test_a_model_has_one_owner_for_its_own_pages_and_one_for_those_of_its_export(
    tmp_path: Path,
) -> None:
    package = write_sample(tmp_path / "model")
    owners = owners_of(package, Settings(tmp_path, None, 1, "en"))
    assert owners is not None
    assert len(owners) == 2
    assert plain_owner(manifest_id(read_manifest(package))) in owners
