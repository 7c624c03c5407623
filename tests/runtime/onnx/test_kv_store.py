"""Keys and values in buffers and pages: whatever was done before, a buffer holds what was written at each position."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketseek.runtime.kv_pool import PAGE_TOKENS
from pocketseek.runtime.onnx.kv_store import KvShape, KvStore, SequenceBuffer
from pocketseek.runtime.work import Slice, pages_for

SHAPE = KvShape(num_layers=2, num_kv_heads=1, head_dim=2, dtype=np.float32)
CONTEXT = 512


def part_of(request: int, first: int, count: int, pages: tuple[int, ...]) -> Slice:
    return Slice(request, tuple(range(count)), first, pages[: pages_for(first + count)], num_logits=1)


@dataclass
class Model:
    """Writes a number of its own at every position, and remembers which."""

    store: KvStore
    exact: bool = False
    written: dict[int, float] = field(default_factory=dict)  # by page * 64 + slot
    counter: float = 0.0

    def run(self, part: Slice, running: tuple[int, ...] = ()) -> SequenceBuffer:
        buffer = self.store.buffer_for(part, running)
        self.check(buffer, part)
        array = buffer.array
        if self.exact:
            assert buffer.capacity == part.first_position
            array = SHAPE.empty(part.end_position)
            array[:, :, :, : part.first_position] = buffer.array
            self.store.replace(buffer, array)
        for position in range(part.first_position, part.end_position):
            self.counter += 1
            array[:, :, :, position] = self.counter
            self.written[self.slot(part, position)] = self.counter
        self.store.written(buffer, part)
        return buffer

    def check(self, buffer: SequenceBuffer, part: Slice) -> None:
        expected = [self.written[self.slot(part, position)] for position in range(part.first_position)]
        for layer in range(SHAPE.num_layers):
            for which in range(2):
                found = buffer.array[layer, which, 0, : part.first_position, 0]
                assert found.tolist() == expected

    @staticmethod
    def slot(part: Slice, position: int) -> int:
        return part.pages[position // PAGE_TOKENS] * PAGE_TOKENS + position % PAGE_TOKENS


@pytest.fixture(params=[False, True], ids=["shared", "exact"])
def model(request: pytest.FixtureRequest) -> Model:
    store = KvStore(SHAPE, CONTEXT, exact=request.param)
    store.reserve(16)
    return Model(store, exact=request.param)


def test_a_sequence_that_goes_on_is_never_copied_from_pages(model: Model) -> None:
    model.run(part_of(1, 0, 70, (0, 1)))
    for position in range(70, 140):
        model.run(part_of(1, position, 1, (0, 1, 2)))
    assert model.store.num_gathered_tokens == 0


def test_a_shared_buffer_stays_where_it_is_until_it_is_full() -> None:
    store = KvStore(SHAPE, CONTEXT)
    store.reserve(8)
    model = Model(store)
    first = model.run(part_of(1, 0, 10, (0,)))
    place = first.array
    assert all(model.run(part_of(1, position, 1, (0, 1, 2, 3))).array is place for position in range(10, 200))


def test_the_next_turn_of_a_chat_goes_on_in_the_buffer_of_the_last_one(model: Model) -> None:
    model.run(part_of(1, 0, 130, (0, 1, 2)))
    model.run(part_of(2, 128, 20, (0, 1, 5)))
    assert model.store.num_gathered_tokens == 0


def test_two_that_begin_alike_and_run_together_do_not_disturb_each_other(model: Model) -> None:
    model.run(part_of(1, 0, 70, (0, 1)))
    model.run(part_of(2, 64, 5, (0, 7)), running=(1, 2))
    model.run(part_of(1, 70, 3, (0, 1)), running=(1, 2))
    model.run(part_of(2, 69, 3, (0, 7)), running=(1, 2))


def test_who_lost_his_buffer_finds_everything_in_the_pages(model: Model) -> None:
    model.run(part_of(1, 0, 130, (0, 1, 2)))
    model.run(part_of(2, 64, 5, (0, 7)))
    model.run(part_of(1, 130, 1, (0, 1, 2)))
    assert model.store.num_gathered_tokens == 66


def test_who_takes_a_buffer_over_leaves_all_of_a_page_that_is_not_shared(model: Model) -> None:
    model.run(part_of(1, 0, 65, (0, 1)))
    model.run(part_of(2, 64, 2, (0, 2)))
    model.run(part_of(1, 65, 1, (0, 1)))
    model.run(part_of(2, 66, 1, (0, 2)))


def test_wrong_positions_of_a_draft_are_written_over(model: Model) -> None:
    model.run(part_of(1, 0, 60, (0,)))
    model.run(part_of(1, 60, 8, (0, 1)))
    model.run(part_of(1, 61, 4, (0, 2)))
    model.run(part_of(1, 65, 4, (0, 2)))


def test_pages_go_out_and_come_back_as_bytes(model: Model) -> None:
    model.run(part_of(1, 0, 100, (3, 4)))
    saved = [bytes(model.store.read_page(page)) for page in (3, 4)]
    model.store.release((3, 4))
    for page, data in zip((8, 9), saved, strict=True):
        model.store.write_page(page, memoryview(data))
    for position in range(100):
        old, new = (pages[position // 64] * 64 + position % 64 for pages in ((3, 4), (8, 9)))
        model.written[new] = model.written[old]
    model.run(part_of(1, 100, 1, (8, 9)))


def test_a_page_that_another_sequence_got_is_lost_to_the_first(model: Model) -> None:
    buffer = model.run(part_of(1, 0, 128, (0, 1)))
    model.run(part_of(2, 0, 10, (1,)))
    assert buffer.pages == [0]
    assert buffer.num_tokens == 64


def test_buffers_hold_no_more_than_there_are_pages(model: Model) -> None:
    for request in range(8):
        model.run(part_of(request, 0, 128, (2 * request, 2 * request + 1)))
    for request in range(8):
        model.run(part_of(request, 127, 1, (2 * request, 2 * request + 1)))
    most_bytes = 2 * 16 * model.store.page_bytes  # each page in memory, and once more in a buffer
    assert model.store.num_bytes <= most_bytes


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_history_of_sequences_finds_what_was_written(data: st.DataObject) -> None:
    """Sequences grow, share full pages with others, are cut back as drafts are, and end, in any order."""
    exact = data.draw(st.booleans(), label="exact")
    store = KvStore(SHAPE, CONTEXT, exact=exact)
    store.reserve(12)
    model = Model(store, exact)
    free, lengths, tables, next_id = list(range(12)), {}, {}, 0
    for _ in range(data.draw(st.integers(1, 25), label="steps")):
        action = data.draw(st.sampled_from(["begin", "go on", "go on", "end", "swap"]), label="action")
        if action == "begin" and len(free) >= 3:
            parents = [one for one in tables if lengths[one] >= 64]
            parent = data.draw(st.sampled_from([None, *parents]), label="parent")
            tables[next_id] = [tables[parent][0]] if parent is not None else []
            lengths[next_id], next_id = (64 if parent is not None else 0), next_id + 1
            action = "go on"
        if not tables:
            continue
        request = data.draw(st.sampled_from(sorted(tables)), label="request")
        if action == "go on":
            shared = (
                64 if any(tables[request][:1] == other[:1] for one, other in tables.items() if one != request) else 0
            )
            back = data.draw(st.integers(0, 3), label="back")
            first = max(lengths[request] - back, min(shared, lengths[request]))
            count = data.draw(st.integers(1, 80), label="count")
            while len(tables[request]) < pages_for(first + count) and free:
                tables[request].append(free.pop(0))
            count = min(count, len(tables[request]) * 64 - first)
            if count > 0:
                running = data.draw(st.sampled_from([(), tuple(tables)]), label="running")
                model.run(part_of(request, first, count, tuple(tables[request])), running=running)
                lengths[request] = first + count
        elif action == "end":
            used = {page for one, table in tables.items() if one != request for page in table}
            gone = [page for page in tables.pop(request) if page not in used]
            if data.draw(st.booleans(), label="released"):
                store.release(gone)
            free += gone
        elif action == "swap" and tables[request]:
            page = tables[request][-1]
            if sum(page in table for table in tables.values()) == 1:
                store.write_page(page, memoryview(bytes(store.read_page(page))))
