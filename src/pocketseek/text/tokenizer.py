"""Text to ids and back; the only module that uses the `tokenizers` library.

A Tokenizer is made from the bytes of a `tokenizer.json` (byte-level BPE, or SentencePiece-style with byte fallback) and
a package's TextSettings. It may be used from any thread.

Trust: a broken or hostile `tokenizer.json` gives a one-line FormatError or UnsupportedError, when it is read or, for a
pattern that explodes on some text, when that text is encoded. Text encoded with parse_special=False never yields the id
of a special token, whatever the text and the vocabulary are.

Decoding is our own: the bytes of the tokens are joined and read as UTF-8, what is not UTF-8 becomes U+FFFD. So the text
of a sequence does not depend on how it was cut into pieces, which `TextStream` relies on.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import tokenizers

from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.text.special_tokens import looks_special
from pocketseek.types import TextSettings

_LONG_TEXT = 4096  # characters
MAX_JSON_BYTES = 128 * 1024 * 1024  # ten times the largest in use

_SPACE_MARK = "▁"
_BYTE_TOKEN = re.compile("<0x([0-9A-Fa-f]{2})>")
_REMEDY = "convert or download the model again"


@dataclass(frozen=True)
class _Spelling:
    """How token strings stand for bytes, as the `decoder` part of tokenizer.json says.

    byte_level: every character is one byte. Otherwise `▁` is a space, and `<0x0A>` a byte if byte_fallback.
    strips_space: a text's first space was added by the tokenizer and is taken away again.
    """

    byte_level: bool
    byte_fallback: bool
    strips_space: bool


class Tokenizer:
    """See the module. The library's object is switched between two modes, hence the lock around each encode."""

    def __init__(self, inner: tokenizers.Tokenizer, settings: TextSettings) -> None:
        self.settings = settings
        self._inner = inner
        self._lock = threading.Lock()
        self._spelling = _read_spelling(inner)
        self._added = _mark_special(inner, settings)
        self._special = {token.content: token_id for token_id, token in self._added.items() if token.special}
        self._special_ids = frozenset(self._special.values())

    @classmethod
    def from_json(cls, data: bytes, settings: TextSettings) -> Tokenizer:
        """Read a tokenizer.json. Raises FormatError, or UnsupportedError for a kind of tokenizer that is not done."""
        if len(data) > MAX_JSON_BYTES:
            raise FormatError(f"tokenizer.json has {len(data)} bytes, more than any tokenizer; {_REMEDY}")
        with _library_errors("tokenizer.json is not valid"):
            inner = tokenizers.Tokenizer.from_buffer(data)
            inner.no_truncation()  # the file may ask to cut or pad every text
            inner.no_padding()
            return cls(inner, settings)

    @property
    def vocab_size(self) -> int:
        """Ids below this may have text. The model's own figure may be larger, padded for its matrices."""
        return max(self._inner.get_vocab_size(), max(self._added, default=-1) + 1)

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Ids of the tokens that structure a text (begin, end, roles), by their text."""
        return self._special

    @property
    def strips_leading_space(self) -> bool:
        """True if `decode` takes one space off the front: SentencePiece tokenizers put it there when encoding."""
        return self._spelling.strips_space

    @property
    def prefix_id(self) -> int | None:
        """The id that tokenizer.json itself puts in front of a text (usually bos), None if it puts none."""
        with self._lock, _library_errors("tokenizer.json cannot encode"):
            plain = list(self._inner.encode("x", add_special_tokens=False).ids)
            full = list(self._inner.encode("x", add_special_tokens=True).ids)
        return full[0] if len(full) > len(plain) and full[1 : 1 + len(plain)] == plain else None

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        """The ids of a text.

        add_special: put bos in front if the settings say so (a chat template writes its own). parse_special=False: the
        text is somebody's words, so `<|im_end|>` in it stays eight or so ordinary tokens.
        """
        ids = self._encode(text, parse_special)
        if not parse_special and not self._special_ids.isdisjoint(ids):
            ids = [plain for token_id in ids for plain in self._without_special(token_id)]
        settings = self.settings
        return [settings.bos_id, *ids] if add_special and settings.add_bos and settings.bos_id is not None else ids

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """The text of these ids; special tokens are left out, or spelled out."""
        shown = (token_id for token_id in ids if not (skip_special and self.is_special(token_id)))
        text = b"".join(map(self.token_bytes, shown)).decode("utf-8", errors="replace")
        return text.removeprefix(" ") if self._spelling.strips_space else text

    def token_bytes(self, token_id: int) -> bytes:
        """What this token adds to a text: maybe part of a character, empty for an id without a token."""
        added = self._added.get(token_id)
        if added is not None:
            return added.content.encode("utf-8")
        token = self._inner.id_to_token(token_id) if 0 <= token_id < 2**32 else None
        return b"" if token is None else _bytes_of(token, self._spelling)

    @cached_property
    def longest_token_bytes(self) -> int:
        """Of a token that is text: no text has fewer tokens than its bytes divided by this, but for normalisation."""
        return max(1, *(len(self.token_bytes(i)) for i in range(self.vocab_size)))

    def token_id(self, token: str) -> int | None:
        """The id of the token spelled exactly so in tokenizer.json, None if there is none."""
        return self._inner.token_to_id(token)

    def is_special(self, token_id: int) -> bool:
        """True for tokens that structure a text and are no part of what is shown."""
        return token_id in self._special_ids

    def _encode(self, text: str, parse_special: bool) -> list[int]:
        with self._lock, _library_errors("tokenizer.json cannot encode this text"):
            self._inner.encode_special_tokens = not parse_special
            if len(text) < _LONG_TEXT:
                return list(self._inner.encode(_encodable(text), add_special_tokens=False).ids)
            # The same ids; for several texts the library lets other threads run meanwhile, for one it does not.
            (encoding,) = self._inner.encode_batch_fast([_encodable(text)], add_special_tokens=False)
            return list(encoding.ids)

    def _without_special(self, token_id: int) -> list[int]:
        """A vocabulary whose plain words merge into a special token is malicious: spell that out, letter by letter."""
        if token_id not in self._special_ids:
            return [token_id]
        letters = (self._encode(letter, parse_special=False) for letter in self._added[token_id].content)
        return [plain for ids in letters for plain in ids if plain not in self._special_ids]


def _mark_special(inner: tokenizers.Tokenizer, settings: TextSettings) -> dict[int, tokenizers.AddedToken]:
    """Flag as special what must be: bos, eos and the role markers that the file lists as ordinary tokens."""
    added = inner.get_added_tokens_decoder()
    marked = [_special(token) for token in added.values() if not token.special and looks_special(token.content)]
    for token_id in (settings.bos_id, *settings.eos_ids):
        if token_id is None:
            continue
        token = inner.id_to_token(token_id)
        if not token:
            raise FormatError(f"text.json names the token {token_id}, which tokenizer.json does not have; {_REMEDY}")
        known = added.get(token_id) or tokenizers.AddedToken(token, normalized=False)
        marked += [] if known.special else [_special(known)]
    if not marked:
        return dict(added)
    inner.add_special_tokens(marked)
    return dict(inner.get_added_tokens_decoder())


def _special(token: tokenizers.AddedToken) -> tokenizers.AddedToken:
    return tokenizers.AddedToken(
        token.content,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=token.normalized,
        special=True,
    )


def _read_spelling(inner: tokenizers.Tokenizer) -> _Spelling:
    steps = _decoder_steps(inner)
    names = {str(step.get("type")) for step in steps}
    if "ByteLevel" in names:
        return _Spelling(byte_level=True, byte_fallback=False, strips_space=False)
    spaces = [step for step in steps if step.get("type") == "Metaspace"]
    replaces = [step for step in steps if step.get("type") == "Replace" and step.get("content") == " "]
    if not spaces and not replaces:
        raise UnsupportedError(
            f"tokenizer.json decodes with {', '.join(sorted(names)) or 'nothing'}, which is not supported; "
            "use a model with a byte-level or SentencePiece tokenizer"
        )
    prefixed = any(step.get("prepend_scheme", "always") != "never" for step in spaces)
    return _Spelling(byte_level=False, byte_fallback="ByteFallback" in names, strips_space=prefixed or "Strip" in names)


def _decoder_steps(inner: tokenizers.Tokenizer) -> list[dict[str, object]]:
    """The decoder's parts; the library shows them only as the JSON that it pickles."""
    state = b"{}" if inner.decoder is None else inner.decoder.__getstate__()
    decoder = json.loads(state) if isinstance(state, bytes) else {}
    return list(decoder.get("decoders", [decoder]))


def _byte_characters() -> dict[str, int]:
    """Byte by character, as GPT-2 chose them: printable Latin-1 stands for itself, the rest for U+0100 onwards."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES = _byte_characters()


def _bytes_of(token: str, spelling: _Spelling) -> bytes:
    if spelling.byte_level:
        try:
            return bytes([_BYTES[character] for character in token])
        except KeyError:  # not a byte-level token after all: an added token that lost its flag
            return token.encode("utf-8")
    if spelling.byte_fallback and (byte := _BYTE_TOKEN.fullmatch(token)):
        return bytes.fromhex(byte[1])
    return token.replace(_SPACE_MARK, " ").encode("utf-8")


def _encodable(text: str) -> str:
    """Lone surrogates, which a terminal may deliver, become question marks; other text is itself."""
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode("utf-8")


@contextmanager
def _library_errors(problem: str) -> Iterator[None]:
    """Turn the library's errors into FormatError: bare `Exception`, and a Rust panic, which is not even one."""
    try:
        yield
    except BaseException as error:
        if type(error) not in (Exception, ValueError, TypeError) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())[:160]
        raise FormatError(f"{problem}: {reason}; {_REMEDY}") from error
