"""K and V by page id for models that want the whole past of a sequence in one piece.

A `SequenceBuffer` has all positions of one sequence side by side, as the model's inputs want them; a page is where they
lie while no buffer has them, and what prefix cache and swap see. A buffer is written by the model; its new positions
get into their pages only when somebody asks for those (`read_page`, another sequence that begins alike, the buffer
being given up): a sequence that simply goes on is never copied.

    page     [layer][key, value][kv head][64][head dim]
    buffer   [layer][key, value][kv head][capacity][head dim]

Which buffer has what is told by page ids alone. Whoever writes a page takes it away from every other buffer, since its
old contents are then nobody's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import MemoryLimitError
from pocketseek.kernels.paged_memory import PagedMemory
from pocketseek.runtime.kv_pool import PAGE_TOKENS
from pocketseek.runtime.work import Slice, pages_for

_STEP_TOKENS = 256
_GROWTH = 1.5


@dataclass(frozen=True)
class KvShape:
    """Of one token's K and V: dtype is np.float32 or np.float16."""

    num_layers: int
    num_kv_heads: int
    head_dim: int
    dtype: type[np.floating[Any]]

    @property
    def token_bytes(self) -> int:
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * np.dtype(self.dtype).itemsize

    def empty(self, num_tokens: int) -> NDArray[np.floating[Any]]:
        """Untouched memory for so many tokens. Raises MemoryLimitError."""
        try:
            return np.zeros((self.num_layers, 2, self.num_kv_heads, num_tokens, self.head_dim), self.dtype)
        except MemoryError as error:
            raise MemoryLimitError(
                f"{num_tokens * self.token_bytes} bytes for keys and values are refused by the system; "
                "use a shorter prompt or a smaller model"
            ) from error


@dataclass(eq=False)
class SequenceBuffer:
    """array: see the module. pages[i] stands at positions 64 * i ...; num_tokens positions are valid.

    dirty: indices into pages of those that are newer here than in their page. attached: what the executor made for this
    array; None once the array is another one.
    """

    array: NDArray[np.floating[Any]]
    request_id: int
    pages: list[int] = field(default_factory=list)
    num_tokens: int = 0
    dirty: set[int] = field(default_factory=set)
    last_used: int = 0
    attached: object | None = None

    @property
    def capacity(self) -> int:
        return int(self.array.shape[3])


class KvStore:
    """Used by one thread. exact: buffers are as long as their sequences, because the model returns them anew each time
    instead of writing into them (`replace`). capacity: of every buffer, for models with fixed shapes."""

    def __init__(
        self, shape: KvShape, context_length: int, *, exact: bool = False, capacity: int | None = None
    ) -> None:
        self._shape = shape
        self._context_length = context_length
        self._exact = exact
        self._capacity = capacity
        self._memory = PagedMemory(shape.token_bytes * PAGE_TOKENS)
        self._stored: set[int] = set()  # pages whose memory was written to
        self._buffers: list[SequenceBuffer] = []
        self._clock = 0
        self.num_gathered_tokens = 0

    @property
    def shape(self) -> KvShape:
        return self._shape

    @property
    def is_exact(self) -> bool:
        return self._exact

    @property
    def page_bytes(self) -> int:
        return self._memory.page_bytes

    @property
    def used_page_bytes(self) -> int:
        return self._shape.token_bytes * PAGE_TOKENS

    @property
    def num_bytes(self) -> int:
        """What pages and buffers take of the memory, about: what was never written to takes none."""
        in_buffers = sum(buffer.num_tokens for buffer in self._buffers)
        return len(self._stored) * self.page_bytes + in_buffers * self._shape.token_bytes

    def reserve(self, num_pages: int) -> None:
        """Make page ids 0 .. num_pages - 1 usable; never takes pages away."""
        if num_pages > self._memory.num_pages:
            self._memory.grow(num_pages - self._memory.num_pages)

    def release(self, page_ids: Iterable[int]) -> None:
        """Their contents are lost, wherever they are."""
        released = set(page_ids)
        self._take_away(released)
        self._memory.release(released)
        self._stored -= released

    def read_page(self, page_id: int) -> memoryview:
        for buffer in self._buffers:
            if page_id in buffer.pages:
                self._store(buffer, buffer.pages.index(page_id))
        return self._memory.page(page_id).data

    def write_page(self, page_id: int, data: memoryview) -> None:
        self._take_away({page_id})
        self._stored.add(page_id)
        self._memory.page(page_id)[:] = np.frombuffer(data, np.uint8)

    def buffer_for(self, part: Slice, running: Collection[int] = ()) -> SequenceBuffer:
        """A buffer with all positions before the slice in it, and room for the slice. Raises MemoryLimitError.

        running: ids of the requests in this pass, whose buffers are not taken away from them.
        """
        self._clock += 1
        buffer = self._find(part, running)
        if buffer is None:
            buffer = SequenceBuffer(self._shape.empty(self._capacity_for(part)), part.request_id)
        else:
            num_pages = pages_for(part.first_position)
            shared = _num_shared(buffer.pages, part.pages[:num_pages])
            self._cut(buffer, shared, part.first_position if shared == num_pages else shared * PAGE_TOKENS)
        self._fit(buffer, part)
        self._gather(buffer, part)  # before others lose the page that is half written
        self._take_away(set(part.pages[part.first_position // PAGE_TOKENS :]), keep=buffer)
        buffer.request_id, buffer.last_used = part.request_id, self._clock
        if buffer not in self._buffers:
            self._buffers.append(buffer)
        self._make_room(buffer)
        return buffer

    def written(self, buffer: SequenceBuffer, part: Slice) -> None:
        """The model has written the slice's positions into the buffer."""
        num_pages = pages_for(part.end_position)
        buffer.pages = list(part.pages[:num_pages])
        buffer.num_tokens = part.end_position
        buffer.dirty |= set(range(part.first_position // PAGE_TOKENS, num_pages))

    def replace(self, buffer: SequenceBuffer, array: NDArray[np.floating[Any]]) -> None:
        """The model returned all positions anew."""
        buffer.array, buffer.attached = array, None

    def detach(self) -> None:
        """What an executor attached to buffers belongs to sessions that are gone; their contents stay."""
        for buffer in self._buffers:
            buffer.attached = None

    def close(self) -> None:
        self._buffers, self._stored = [], set()
        self._memory = PagedMemory(self._shape.token_bytes * PAGE_TOKENS)

    # -- which buffer -----------------------------------------------------------------------------------------------

    def _find(self, part: Slice, running: Collection[int]) -> SequenceBuffer | None:
        """The one that has most of what stands before the slice: the request's own, or one that nobody runs."""
        num_pages = pages_for(part.first_position)
        if num_pages == 0:
            return next((buffer for buffer in self._buffers if buffer.request_id == part.request_id), None)
        best, most = None, 0
        for buffer in self._buffers:
            if buffer.request_id != part.request_id and buffer.request_id in running:
                continue
            shared = _num_shared(buffer.pages, part.pages[:num_pages])
            if shared > most:
                best, most = buffer, shared
        return best

    def _cut(self, buffer: SequenceBuffer, num_pages: int, num_tokens: int) -> None:
        """Keep the first pages; the others go to their memory, since somebody may want them."""
        for index in sorted(buffer.dirty):
            if index >= num_pages:
                self._store(buffer, index)
        del buffer.pages[num_pages:]
        buffer.num_tokens = min(buffer.num_tokens, num_tokens)

    def _take_away(self, page_ids: set[int], keep: SequenceBuffer | None = None) -> None:
        for buffer in self._buffers:
            if buffer is keep or page_ids.isdisjoint(buffer.pages):
                continue
            first = next(index for index, page_id in enumerate(buffer.pages) if page_id in page_ids)
            buffer.dirty = {index for index in buffer.dirty if index < first}
            del buffer.pages[first:]
            buffer.num_tokens = min(buffer.num_tokens, first * PAGE_TOKENS)
        self._buffers = [buffer for buffer in self._buffers if buffer is keep or buffer.num_tokens]

    def _make_room(self, keep: SequenceBuffer) -> None:
        """Buffers together hold no more tokens than there are pages; those used longest ago are given up."""
        most_tokens = self._memory.num_pages * PAGE_TOKENS
        for buffer in sorted(self._buffers, key=lambda buffer: buffer.last_used):
            if buffer is not keep and sum(other.num_tokens for other in self._buffers) > most_tokens:
                self._cut(buffer, 0, 0)
                self._buffers.remove(buffer)

    # -- copies -----------------------------------------------------------------------------------------------------

    def _fit(self, buffer: SequenceBuffer, part: Slice) -> None:
        """Room for the slice; exactly what stands before it if buffers are exact."""
        room, end = buffer.capacity, part.end_position
        if room == part.first_position if self._exact else room >= end:
            return
        array = self._shape.empty(self._capacity_for(part))
        num_tokens = min(buffer.num_tokens, part.first_position)
        array[:, :, :, :num_tokens] = buffer.array[:, :, :, :num_tokens]
        buffer.array, buffer.attached = array, None

    def _capacity_for(self, part: Slice) -> int:
        if self._exact:
            return part.first_position
        if self._capacity is not None:
            return self._capacity
        roomy = part.end_position if part.first_position == 0 else int(part.end_position * _GROWTH)
        return max(part.end_position, min(-(-roomy // _STEP_TOKENS) * _STEP_TOKENS, self._context_length))

    def _gather(self, buffer: SequenceBuffer, part: Slice) -> None:
        """What stands before the slice and is not in the buffer, from the pages."""
        num_pages = pages_for(part.first_position)
        shared = min(_num_shared(buffer.pages, part.pages[:num_pages]), -(-buffer.num_tokens // PAGE_TOKENS))
        if shared == num_pages and buffer.num_tokens >= part.first_position:
            return
        self._cut(buffer, shared, shared * PAGE_TOKENS)
        first = buffer.num_tokens // PAGE_TOKENS
        for index in range(first, num_pages):
            page_id = part.pages[index]
            self.read_page(page_id)  # another buffer may have it
            start, end = index * PAGE_TOKENS, min((index + 1) * PAGE_TOKENS, part.first_position)
            buffer.array[:, :, :, start:end] = self._page(page_id)[:, :, :, : end - start]
            self.num_gathered_tokens += end - start
        buffer.pages = list(part.pages[:num_pages])
        buffer.num_tokens = part.first_position

    def _store(self, buffer: SequenceBuffer, index: int) -> None:
        if index not in buffer.dirty:
            return
        buffer.dirty.discard(index)
        page_id, start = buffer.pages[index], index * PAGE_TOKENS
        end = min(start + PAGE_TOKENS, buffer.num_tokens)
        self._stored.add(page_id)
        self._page(page_id)[:, :, :, : end - start] = buffer.array[:, :, :, start:end]

    def _page(self, page_id: int) -> NDArray[np.floating[Any]]:
        shape = self._shape
        values: NDArray[np.floating[Any]] = self._memory.page(page_id).view(shape.dtype)
        return values.reshape(shape.num_layers, 2, shape.num_kv_heads, PAGE_TOKENS, shape.head_dim)


def _num_shared(left: Sequence[int], right: Sequence[int]) -> int:
    """How many of the first pages are the same."""
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return index
    return min(len(left), len(right))
