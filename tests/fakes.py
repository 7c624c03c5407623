"""Stand-ins that let the real engine run in milliseconds: an executor with a memory of its own, a tokenizer of bytes.

FakeExecutor keeps token ids where a real executor keeps K and V, at (page, slot), and derives the logits of a row from
what it reads back through the page table. A wrong position, a page given away too early or a cut in the wrong place
therefore changes the text, and reading what was never written fails at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from pocketseek.errors import IntegrityError, StorageError, UsageError
from pocketseek.govern.governor import FixedGovernor, Governor
from pocketseek.kernels.contract import LogitsMath
from pocketseek.kernels.logits import NumpyLogits
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.pooling import NO_STATES
from pocketseek.runtime.sampling import Sampler
from pocketseek.runtime.work import Logits, Slice, Work, pages_for
from pocketseek.types import Message, Request, SamplingParams, TextSettings, TokenEvent

VOCAB_SIZE = 264
BOS_ID, EOS_ID, USER_ID, ASSISTANT_ID, SYSTEM_ID = range(256, 261)
SPECIAL = {"<|begin|>": BOS_ID, "<|end|>": EOS_ID, "<|user|>": USER_ID, "<|assistant|>": ASSISTANT_ID}
SPECIAL["<|system|>"] = SYSTEM_ID
FAKE_HIDDEN_SIZE = 6
NO_FAKE_STATES = np.empty((0, FAKE_HIDDEN_SIZE), np.float32)
_EMPTY = -1


def fake_logits(tokens: Sequence[int], vocab_size: int) -> Logits:
    """Random-looking logits that depend on every token so far and on their order."""
    digest = hashlib.blake2b(np.asarray(tokens, np.int64).tobytes(), digest_size=8).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
    return generator.standard_normal(vocab_size, np.float32) * np.float32(3.0)


def looping_logits(tokens: Sequence[int], vocab_size: int) -> Logits:
    """Random-looking, but what stood seven tokens ago is likely: texts that repeat themselves, not always."""
    row = fake_logits(tokens, vocab_size)
    if len(tokens) > 7:
        row[tokens[-7]] += 13.0
    return row


def fake_state(tokens: Sequence[int]) -> Logits:
    """What stands for the last hidden state of the newest of these tokens."""
    return fake_logits(tokens, FAKE_HIDDEN_SIZE)


class FakeExecutor:
    """before_run is called with the work of every pass, e.g. to wait or to fail. `works` records all passes.

    If it fails as storage does, what the pass should have written is unreadable. `storage_s` is what a test sets.
    """

    def __init__(
        self,
        *,
        vocab_size: int = VOCAB_SIZE,
        context_length: int = 1024,
        before_run: Callable[[Work], object] = lambda work: None,
        logits: Callable[[Sequence[int], int], Logits] = fake_logits,
    ) -> None:
        self.vocab_size = vocab_size
        self.context_length = context_length
        self.logits_math: LogitsMath = NumpyLogits()
        self.works: list[Work] = []
        self.threads: list[int] = []
        self.cores: list[tuple[int, ...]] = []
        self.usable_cores = set(range(8))
        self.weight_bytes: list[int | None] = []
        self.storage_s = 0.0
        self.waited_s = 0.0
        self.pass_kind = ""
        self.is_typical = True
        self.num_closed = 0
        self._before_run = before_run
        self._logits = logits
        self.states = NO_STATES
        self._memory = np.full((0, 64), _EMPTY, np.int64)

    def reserve_pages(self, num_pages: int) -> None:
        more = max(0, num_pages - len(self._memory))
        self._memory = np.concatenate([self._memory, np.full((more, 64), _EMPTY, np.int64)])

    def release_pages(self, page_ids: Iterable[int]) -> None:
        self._memory[list(page_ids)] = _EMPTY

    @property
    def num_written_pages(self) -> int:
        """Pages that hold something: what a real executor has memory for."""
        return int((self._memory != _EMPTY).any(axis=1).sum())

    def set_threads(self, num_threads: int) -> None:
        self.threads.append(num_threads)

    @property
    def changes_threads(self) -> bool:
        return True

    def set_cores(self, cores: tuple[int, ...]) -> None:
        if not self.usable_cores.issuperset(cores):
            raise UsageError("a core is offline")
        self.cores.append(cores)

    def set_weight_bytes(self, num_bytes: int | None) -> None:
        self.weight_bytes.append(num_bytes)

    def read_page(self, page_id: int) -> memoryview:
        return memoryview(self._memory[page_id]).cast("B")

    def write_page(self, page_id: int, data: memoryview) -> None:
        self._memory[page_id] = np.frombuffer(data, np.int64)

    def close(self) -> None:
        self.num_closed += 1

    def run(self, work: Work) -> Logits:
        assert self.num_closed == 0, "a pass on a closed executor"
        self.works.append(work)
        _check_work(work)
        try:
            self._before_run(work)
        except (StorageError, IntegrityError):
            for part in work.slices:
                self._write(part, spoiled=True)
            raise
        for part in work.slices:
            self._write(part)
        self.states = np.concatenate([NO_FAKE_STATES, *map(self._states, work.slices)])
        rows = [row for part in work.slices for row in self._rows(part)]
        return np.stack(rows) if rows else np.empty((0, self.vocab_size), np.float32)

    def _write(self, part: Slice, *, spoiled: bool = False) -> None:
        for position, token_id in enumerate(part.token_ids, part.first_position):
            self._memory[part.pages[position // 64], position % 64] = _EMPTY if spoiled else token_id

    def _rows(self, part: Slice) -> Iterable[Logits]:
        tokens = self._memory[list(part.pages)].reshape(-1)[: part.end_position]
        assert (tokens != _EMPTY).all(), "a position was read that no pass wrote"
        for end in range(part.end_position - part.num_logits, part.end_position):
            yield self._logits(tokens[: end + 1].tolist(), self.vocab_size)

    def _states(self, part: Slice) -> Logits:
        tokens = self._memory[list(part.pages)].reshape(-1)[: part.end_position]
        wanted = range(part.first_position, part.end_position if part.wants_states else 0)
        return np.concatenate([NO_FAKE_STATES, *(fake_state(tokens[: i + 1].tolist())[None] for i in wanted)])


def _check_work(work: Work) -> None:
    assert work.slices
    pages = [page for part in work.slices for page in part.pages]
    written = [page for part in work.slices for page in part.pages[part.first_position // 64 :]]
    assert all(pages.count(page) == 1 for page in written), "a page is written that somebody else reads or writes"
    assert len({part.request_id for part in work.slices}) == len(work.slices)
    for part in work.slices:
        assert part.token_ids
        assert 0 <= part.num_logits <= part.num_tokens
        assert len(part.pages) == pages_for(part.end_position)


def scripted_logits(answers: Mapping[bytes, bytes]) -> Callable[[Sequence[int], int], Logits]:
    """Logits that make a greedy engine continue each prompt with its answer and the end token."""

    def logits(tokens: Sequence[int], vocab_size: int) -> Logits:
        row = np.zeros(vocab_size, np.float32)
        for prompt, answer in answers.items():
            ids = ByteTokenizer().encode(prompt.decode(), add_special=False)
            if list(tokens[: len(ids)]) == ids:
                script = [*answer, EOS_ID]
                row[script[min(len(tokens) - len(ids), len(answer))]] = 50.0  # a draft may look beyond the end
        return row

    return logits


def slow_tokens(
    request: Request,
    vocab_size: int = VOCAB_SIZE,
    logits: Callable[[Sequence[int], int], Logits] = fake_logits,
) -> list[int]:
    """What an engine on FakeExecutor must generate: one sequence, one token at a time, no pages, no batches."""
    assert request.sampling.seed is not None
    sampler = Sampler(request.sampling, request.sampling.seed, request.prompt_ids)
    output: list[int] = []
    while len(output) < request.max_tokens:
        choice = sampler.choose(logits([*request.prompt_ids, *output], vocab_size), output)
        if choice.token_id in request.stop_ids:
            break
        output.append(choice.token_id)
    return output


def slow_embedding(token_ids: Sequence[int]) -> tuple[float, ...]:
    """The mean of what FakeExecutor gives for every position."""
    total = np.zeros(FAKE_HIDDEN_SIZE, np.float64)
    for end in range(1, len(token_ids) + 1):
        total += fake_state(token_ids[:end])
    return tuple((total / len(token_ids)).astype(np.float32).tolist())


class ByteTokenizer:
    """One token per UTF-8 byte, and five special ones."""

    def __init__(self, settings: TextSettings | None = None, more_special: Mapping[str, int] | None = None) -> None:
        self.settings = settings or TextSettings(bos_id=BOS_ID, eos_ids=(EOS_ID,), bos_token="<|begin|>")
        self.special_tokens = SPECIAL | dict(more_special or {})
        self.vocab_size = VOCAB_SIZE
        self.strips_leading_space = False

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        ids = [self.settings.bos_id] if add_special and self.settings.add_bos and self.settings.bos_id else []
        while text:
            names = self.special_tokens if parse_special else {}
            special = next((name for name in names if text.startswith(name)), None)
            ids += [names[special]] if special else text[0].encode()
            text = text[len(special or "x") :]
        return ids

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        shown = (i for i in ids if not (skip_special and self.is_special(i)))
        return b"".join(map(self.token_bytes, shown)).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        names = {number: name.encode() for name, number in self.special_tokens.items()}
        return bytes([token_id]) if token_id < 256 else names.get(token_id, b"")

    def is_special(self, token_id: int) -> bool:
        return token_id in self.special_tokens.values()

    @property
    def longest_token_bytes(self) -> int:
        return 1


class FakeTemplate:
    """<|user|>content<|end|>...<|assistant|>, and whatever opens the answer."""

    source = "fake"
    tool_form = "hermes"

    def __init__(self, opening: str = "") -> None:
        self._opening = opening

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = True, tools: Sequence[object] = ()
    ) -> str:
        """Of tools nothing is shown."""
        turns = "".join(f"<|{message.role}|>{message.content.strip()}<|end|>" for message in messages)
        return turns + ("<|assistant|>" + self._opening if add_generation_prompt else "")


def fake_engine(
    executor: FakeExecutor | None = None,
    *,
    num_pages: int = 64,
    template: FakeTemplate | None = None,
    governor: Governor | None = None,
) -> Engine:
    """The real engine on fake parts."""
    return Engine(
        executor or FakeExecutor(),
        ByteTokenizer(),  # type: ignore[arg-type]
        template or FakeTemplate(),  # type: ignore[arg-type]
        governor or FixedGovernor(1),
        num_pages=num_pages,
    )


def random_request(seed: int, num_prompt: int = 20, max_tokens: int = 15) -> Request:
    prompt = np.random.default_rng(seed).integers(0, VOCAB_SIZE, num_prompt)
    return Request(tuple(prompt.tolist()), max_tokens, SamplingParams(temperature=1.0, seed=seed))


def ids_of(events: Iterable[TokenEvent]) -> list[int]:
    return [event.token_id for event in events if event.token_id is not None]
