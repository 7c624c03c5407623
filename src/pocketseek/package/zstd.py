"""The one owner of zstd: single frames whose size is known beforehand.

`decompress` gives exactly the bytes that the caller expects or raises FormatError: a frame must say the same size in
its header before anything is allocated, must end where its bytes end, and may not ask for a window beyond
MAX_WINDOW_LOG. The library is `zstandard`, or `compression.zstd` of Python 3.14 where that is missing.
"""

from __future__ import annotations

import importlib.util
import threading
from functools import cache
from typing import Any, Protocol

from pocketseek.errors import FormatError, UnsupportedError
from pocketseek.libraries import is_termux, load_library

MAX_WINDOW_LOG = 27
_REMEDY = 'pip install "pocketseek[update]"'
_TERMUX_REMEDY = "pkg install clang && pip install zstandard"
_DAMAGED = "damaged compressed bytes; fetch them again"


class Codec(Protocol):
    """One library. dictionary: bytes that both sides have, which the frame may refer to."""

    def compress(self, data: bytes, level: int, dictionary: bytes) -> bytes: ...

    def decompress(self, frame: bytes, num_bytes: int, dictionary: bytes) -> bytes: ...


def compress(data: bytes, *, level: int = 19, dictionary: bytes = b"") -> bytes:
    """One frame that knows its size. Raises UnsupportedError without a library."""
    return codec().compress(data, level, dictionary)


def decompress(frame: bytes, num_bytes: int, *, dictionary: bytes = b"") -> bytes:
    """The num_bytes that `frame` holds. Raises FormatError for anything else, UnsupportedError without a library."""
    return codec().decompress(frame, num_bytes, dictionary)


@cache
def codec() -> Codec:
    """Raises UnsupportedError if there is no library."""
    if importlib.util.find_spec("zstandard") is None and importlib.util.find_spec("compression") is not None:
        return StandardCodec("compression.zstd")
    return ZstandardCodec()


def is_there() -> bool:
    """Whether there is a library."""
    try:
        codec()
    except UnsupportedError:
        return False
    return True


def _window_log(num_bytes: int) -> int:
    return min(MAX_WINDOW_LOG, max(10, num_bytes.bit_length()))


class ZstandardCodec:
    """The library `zstandard`. Making a compressor takes longer than most frames here, so each thread keeps its own."""

    def __init__(self) -> None:
        self._kept = threading.local()
        remedy = _TERMUX_REMEDY if is_termux() else _REMEDY
        self._library = load_library("zstandard", remedy, needed_for="updating by difference")

    def compress(self, data: bytes, level: int, dictionary: bytes) -> bytes:
        if not dictionary:
            return bytes(self._compressor(level).compress(data))
        parameters = self._library.ZstdCompressionParameters.from_level(
            level, window_log=_window_log(len(data) + len(dictionary)), enable_ldm=True
        )
        compressor = self._library.ZstdCompressor(compression_params=parameters, dict_data=self._dictionary(dictionary))
        return bytes(compressor.compress(data))

    def decompress(self, frame: bytes, num_bytes: int, dictionary: bytes) -> bytes:
        try:
            parameters = self._library.get_frame_parameters(frame)
            if parameters.content_size != num_bytes or parameters.dict_id != 0:
                raise FormatError(_DAMAGED)
            reader = self._decompressor(dictionary)
            data = bytes(reader.decompress(frame, max_output_size=num_bytes, allow_extra_data=False))
        except (self._library.ZstdError, ValueError) as error:
            raise FormatError(_DAMAGED) from error
        if len(data) != num_bytes:
            raise FormatError(_DAMAGED)
        return data

    def _compressor(self, level: int) -> Any:
        name = f"level_{level}"
        if not hasattr(self._kept, name):
            setattr(self._kept, name, self._library.ZstdCompressor(level=level))
        return getattr(self._kept, name)

    def _decompressor(self, dictionary: bytes) -> Any:
        if dictionary:
            options = {"dict_data": self._dictionary(dictionary)}
            return self._library.ZstdDecompressor(max_window_size=1 << MAX_WINDOW_LOG, **options)
        if not hasattr(self._kept, "reader"):
            self._kept.reader = self._library.ZstdDecompressor(max_window_size=1 << MAX_WINDOW_LOG)
        return self._kept.reader

    def _dictionary(self, data: bytes) -> object:
        library = self._library
        return library.ZstdCompressionDict(data, dict_type=library.DICT_TYPE_RAWCONTENT)


class StandardCodec:
    """`compression.zstd`, or a backport with the same names."""

    def __init__(self, module: str) -> None:
        self._library = load_library(module, _REMEDY, needed_for="updating by difference")

    def compress(self, data: bytes, level: int, dictionary: bytes) -> bytes:
        library = self._library
        if not dictionary:
            return bytes(library.compress(data, level=level))
        parameter = library.CompressionParameter
        options = {
            parameter.compression_level: level,
            parameter.window_log: _window_log(len(data) + len(dictionary)),
            parameter.enable_long_distance_matching: 1,
        }
        return bytes(library.compress(data, options=options, zstd_dict=self._prefix(dictionary)))

    def decompress(self, frame: bytes, num_bytes: int, dictionary: bytes) -> bytes:
        library = self._library
        try:
            if library.get_frame_info(frame).decompressed_size != num_bytes:
                raise FormatError(_DAMAGED)
            reader = library.ZstdDecompressor(
                zstd_dict=self._prefix(dictionary) if dictionary else None,
                options={library.DecompressionParameter.window_log_max: MAX_WINDOW_LOG},
            )
            data = bytes(reader.decompress(frame, max_length=num_bytes))
        except (library.ZstdError, EOFError) as error:
            raise FormatError(_DAMAGED) from error
        if len(data) != num_bytes or not reader.eof or reader.unused_data:
            raise FormatError(_DAMAGED)
        return data

    def _prefix(self, data: bytes) -> object:
        return self._library.ZstdDict(data, is_raw=True).as_prefix
