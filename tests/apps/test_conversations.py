"""Conversations that are kept: any history of changes gives what a plain list of turns would give."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from pocketseek.apps.conversation import Turn
from pocketseek.apps.conversations import ConversationStore
from pocketseek.errors import NotFoundError, UsageError


class Clock:
    """A second passes at every look."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        self.now_s += 1
        return self.now_s


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConversationStore]:
    store = ConversationStore(tmp_path / "conversations.db", clock=Clock())
    yield store
    store.close()


def asked(store: ConversationStore, *contents: str, title: str = "") -> str:
    """The id of a new conversation of questions and answers."""
    conversation_id = store.create("tiny", title).info.id
    for number, content in enumerate(contents):
        store.append(conversation_id, Turn("assistant" if number % 2 else "user", content))
    return conversation_id


def contents(store: ConversationStore, conversation_id: str) -> list[str]:
    return [turn.content for turn in store.get(conversation_id).turns]


def test_a_conversation_has_what_was_put_into_it(store: ConversationStore) -> None:
    made = store.create("tiny", "A title", "be brief", '{"temperature": 0.5}')
    turn = Turn("assistant", "yes", "hm", 5.0, "tiny", "stop", 7)
    store.append(made.info.id, turn)
    kept = store.get(made.info.id)
    assert (kept.info.title, kept.info.model, kept.system) == ("A title", "tiny", "be brief")
    assert (kept.turns, kept.settings_json) == ((turn,), '{"temperature": 0.5}')


def test_newest_come_first_page_by_page(store: ConversationStore) -> None:
    ids = [asked(store, str(number)) for number in range(5)]
    store.append(ids[0], Turn("assistant", "again"))
    first = store.list(2)
    assert [info.id for info in first] == [ids[0], ids[4]]
    assert [info.id for info in store.list(9, before=first[-1].revision)] == [ids[3], ids[2], ids[1]]


def test_the_order_is_that_of_the_changes_even_if_the_clock_is_set_back(tmp_path: Path) -> None:
    times_s = iter(range(1000, 0, -1))
    store = ConversationStore(tmp_path / "conversations.db", clock=lambda: next(times_s))
    ids = [asked(store, "x") for _ in range(3)]
    assert [info.id for info in store.list()] == ids[::-1]
    store.close()


def test_the_beginning_of_the_first_question_is_the_title(store: ConversationStore) -> None:
    conversation_id = asked(store, "What  is\nthe capital?", "Paris")
    assert store.info(conversation_id).title == "What is the capital?"
    store.replace_from(conversation_id, 0, [Turn("user", "long " * 50)])
    assert len(store.info(conversation_id).title) <= 60
    store.rename(conversation_id, "  Of\tmy own ")
    assert store.info(conversation_id).title == "Of my own"
    store.rename(conversation_id, "")
    assert store.info(conversation_id).title.startswith("long long")


def test_replacing_drops_everything_from_that_turn_on(store: ConversationStore) -> None:
    conversation_id = asked(store, "a", "b", "c", "d")
    store.replace_from(conversation_id, 2, [Turn("user", "other")])
    assert contents(store, conversation_id) == ["a", "b", "other"]


@pytest.mark.parametrize("index", [-1, 3])
def test_replacing_what_is_not_there_is_refused(store: ConversationStore, index: int) -> None:
    conversation_id = asked(store, "a", "b")
    with pytest.raises(UsageError):
        store.replace_from(conversation_id, index)
    assert contents(store, conversation_id) == ["a", "b"]


def test_an_answer_that_was_dropped_can_no_longer_be_updated(store: ConversationStore) -> None:
    conversation_id = asked(store, "question")
    key = store.append(conversation_id, Turn("assistant", "par"))
    new_key = store.replace_from(conversation_id, 1, [Turn("assistant", "other")])[0]
    with pytest.raises(NotFoundError):
        store.update(key, Turn("assistant", "partial"))
    store.update(new_key, Turn("assistant", "other answer"))
    assert contents(store, conversation_id) == ["question", "other answer"]


def test_updating_keeps_the_time_at_which_an_answer_began(store: ConversationStore) -> None:
    conversation_id = asked(store, "question")
    key = store.append(conversation_id, Turn("assistant", ""))
    began_s = store.get(conversation_id).turns[1].created_s
    store.update(key, Turn("assistant", "done", finish_reason="stop"))
    assert store.get(conversation_id).turns[1].created_s == began_s


def test_model_system_and_settings_can_be_changed(store: ConversationStore) -> None:
    conversation_id = asked(store, "a")
    store.set_model(conversation_id, "other")
    store.set_system(conversation_id, "be long")
    store.set_settings(conversation_id, '{"top_p": 1}')
    kept = store.get(conversation_id)
    assert (kept.info.model, kept.system, kept.settings_json) == ("other", "be long", '{"top_p": 1}')


@pytest.mark.parametrize("text", ["", "[]", "1", "{", "[" * 100_000, '{"a": "' + "x" * 70_000 + '"}'])
def test_settings_that_are_no_object_are_refused(store: ConversationStore, text: str) -> None:
    with pytest.raises(UsageError):
        store.create("tiny", settings_json=text)
    assert store.list() == []


def test_text_is_kept_as_it_is_but_for_what_no_file_can_hold(store: ConversationStore) -> None:
    text = " <b>\r\n\t'; DROP TABLE turns; -- 北京 \U0001f600 e\u0301 \ufdd0 \x1b[31m"
    conversation_id = asked(store, text, "half \ud83d and \x00 end")
    assert contents(store, conversation_id) == [text, "half \ufffd and \ufffd end"]


@pytest.mark.parametrize("name", ["", "absent", "\ud800", "x" * 5000, "' OR 1 = 1 --"])
def test_what_is_not_there_is_not_found(store: ConversationStore, name: str) -> None:
    asked(store, "a")
    turn = Turn("user", "x")
    for act in (
        lambda: store.get(name),
        lambda: store.rename(name, "x"),
        lambda: store.delete(name),
        lambda: store.append(name, turn),
        lambda: store.replace_from(name, 0, [turn]),
        lambda: store.export(name, "md"),
    ):
        with pytest.raises(NotFoundError):
            act()
    assert len(store.list()) == 1


def test_a_role_that_nobody_has_is_refused(store: ConversationStore) -> None:
    conversation_id = asked(store, "a")
    with pytest.raises(UsageError):
        store.append(conversation_id, replace(Turn("user", "x"), role="wizard"))
    assert contents(store, conversation_id) == ["a"]


def test_a_deleted_conversation_leaves_no_text_in_the_files(store: ConversationStore, tmp_path: Path) -> None:
    conversation_id = asked(store, "the treasure lies under the oak", "indeed it does, I saw it")
    other = asked(store, "another")
    assert store.search("treasure")
    store.delete(conversation_id)
    assert [info.id for info in store.list()] == [other]
    assert store.search("treasure") == ()
    assert not any(text in file.read_bytes() for file in tmp_path.glob("conv*") for text in (b"treasure", b"indeed"))


def test_an_imported_conversation_is_the_exported_one_with_an_id_of_its_own(store: ConversationStore) -> None:
    made = store.create("tiny", "title", "system", '{"seed": 1}').info.id
    store.append(made, Turn("user", "北京?"))
    store.append(made, Turn("assistant", "yes", "hm", 5.0, "tiny", "stop", 3))
    original = store.get(made)
    copy = store.import_json(store.export(made, "json").encode())
    assert copy.info.id != made
    assert (copy.turns, copy.system, copy.info.title, copy.info.created_s) == (
        original.turns,
        original.system,
        "title",
        original.info.created_s,
    )
    assert json.loads(copy.settings_json) == {"seed": 1}


def test_stores_in_several_threads_and_processes_lose_nothing(tmp_path: Path) -> None:
    stores = [ConversationStore(tmp_path / "conversations.db") for _ in range(2)]
    conversation_id = stores[0].create("tiny").info.id

    def write(name: str, store: ConversationStore) -> None:
        for number in range(10):
            store.append(conversation_id, Turn("user", f"{name}{number}"))

    threads = [threading.Thread(target=write, args=(name, stores[number % 2])) for number, name in enumerate("abcd")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = contents(stores[1], conversation_id)
    assert sorted(kept) == sorted(f"{name}{number}" for name in "abcd" for number in range(10))
    assert all([text for text in kept if text[0] == name] == [f"{name}{n}" for n in range(10)] for name in "abcd")
    for store in stores:
        store.close()


TEXTS = st.text(alphabet="abAB 首都海%_\"'\\*", max_size=12)
ROLES = st.sampled_from(["user", "assistant"])


class KeptLikeALoopOfLists(RuleBasedStateMachine):
    """The store against dictionaries, reopened at any moment; searching with and without an index against `in`."""

    conversations = Bundle("conversations")
    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.clock = Clock()
        self.turns: dict[str, list[tuple[int, Turn]]] = {}
        self.titles: dict[str, str] = {}
        self.order: list[str] = []
        self.use_index = True
        self.open()

    def open(self) -> None:
        path = Path(self.folder.name) / "conversations.db"
        self.store = ConversationStore(path, clock=self.clock, use_index=self.use_index)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def touch(self, conversation_id: str) -> None:
        self.order = [conversation_id, *(other for other in self.order if other != conversation_id)]

    @rule(target=conversations, title=TEXTS)
    def create(self, title: str) -> str:
        conversation_id = self.store.create("tiny", title).info.id
        self.turns[conversation_id] = []
        self.titles[conversation_id] = " ".join(title.split())
        self.touch(conversation_id)
        return conversation_id

    @rule(target=keys, conversation_id=conversations, role=ROLES, content=TEXTS)
    def append(self, conversation_id: str, role: str, content: str) -> int:
        turn = Turn("user" if role == "user" else "assistant", content, created_s=1.0)
        if conversation_id not in self.turns:
            with pytest.raises(NotFoundError):
                self.store.append(conversation_id, turn)
            return 10**9
        key = self.store.append(conversation_id, turn)
        self.turns[conversation_id].append((key, turn))
        self.touch(conversation_id)
        return key

    @rule(key=keys, content=TEXTS)
    def update(self, key: int, content: str) -> None:
        turn = Turn("assistant", content, "thought", 2.0, "m", "stop", 3)
        for conversation_id, turns in self.turns.items():
            for index, (other, _) in enumerate(turns):
                if other == key:
                    self.store.update(key, turn)
                    turns[index] = (key, turn)
                    self.touch(conversation_id)
                    return
        with pytest.raises(NotFoundError):
            self.store.update(key, turn)

    @rule(conversation_id=conversations, index=st.integers(0, 5), new=st.lists(TEXTS, max_size=3))
    def replace_from(self, conversation_id: str, index: int, new: list[str]) -> None:
        turns = self.turns.get(conversation_id)
        if turns is None or index > len(turns):
            return
        fresh = [Turn("user", content, created_s=1.0) for content in new]
        keys = self.store.replace_from(conversation_id, index, fresh)
        turns[index:] = zip(keys, fresh, strict=True)
        self.touch(conversation_id)

    @rule(conversation_id=conversations, title=TEXTS)
    def rename(self, conversation_id: str, title: str) -> None:
        if conversation_id in self.turns:
            self.store.rename(conversation_id, title)
            self.titles[conversation_id] = " ".join(title.split())
            self.touch(conversation_id)

    @rule(conversation_id=consumes(conversations))
    def delete(self, conversation_id: str) -> None:
        if conversation_id in self.turns:
            self.store.delete(conversation_id)
            del self.turns[conversation_id], self.titles[conversation_id]
            self.order.remove(conversation_id)

    @rule(use_index=st.booleans())
    def reopen(self, use_index: bool) -> None:
        self.store.close()
        self.use_index = use_index
        self.open()

    @rule(text=TEXTS)
    def search(self, text: str) -> None:
        wanted = text.strip().lower()
        said = {
            name: [index for index, (_, turn) in enumerate(turns) if wanted in turn.content.lower()]
            for name, turns in self.turns.items()
        }
        expected = [
            (name, said[name][0] if said[name] else None)
            for name in self.order
            if wanted and (said[name] or wanted in self.titles[name].lower())
        ]
        assert [(hit.info.id, hit.turn_index) for hit in self.store.search(text)] == expected

    @invariant()
    def everything_is_kept(self) -> None:
        infos = self.store.list()
        assert [info.id for info in infos] == self.order
        assert [info.num_turns for info in infos] == [len(self.turns[name]) for name in self.order]
        for name, turns in self.turns.items():
            assert list(self.store.get(name).turns) == [turn for _, turn in turns]


KeptLikeALoopOfLists.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestAnyHistory = KeptLikeALoopOfLists.TestCase
