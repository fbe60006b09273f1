"""Zstandard by the system's own libzstd, in a stream; the only user of that library.

The interface is that of zstd.h; its streams work alike since 1.4. Calls release the interpreter's
lock, so that compression and the program that is read from run side by side.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Self

from leger.errors import LegerError

_LEVEL = 3
_PARAMETERS = {100: _LEVEL, 201: 1}  # ZSTD_c_compressionLevel, ZSTD_c_checksumFlag
_CONTINUE, _END = 0, 2  # ZSTD_EndDirective
_OUT = 1 << 18


class ZstdError(LegerError):
    """What is to be decompressed is damaged or cut off."""


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer: an address, a size, a position."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("position", ctypes.c_size_t),
    )
    keep: bytes


class Compressor:
    """One frame with a checksum: `write` takes the content, `sink` is handed the frame's pieces.

    The frame is whole when the `with` block ended without an error.
    """

    def __init__(self, sink: Callable[[bytes], object]) -> None:
        self._library = _library()
        self._sink = sink
        self._out = ctypes.create_string_buffer(_OUT)
        self._stream = self._library.ZSTD_createCCtx()
        for parameter, value in _PARAMETERS.items():
            _checked(self._library.ZSTD_CCtx_setParameter(self._stream, parameter, value))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._feed(b"", _END)
        finally:
            self._library.ZSTD_freeCCtx(self._stream)

    def write(self, chunk: bytes) -> None:
        """Take the next piece of the content."""
        self._feed(chunk, _CONTINUE)

    def _feed(self, chunk: bytes, directive: int) -> None:
        source = _source(chunk)
        left = 1
        while left if directive == _END else source.position < source.size:
            target = _Buffer(ctypes.addressof(self._out), _OUT, 0)
            left = _checked(
                self._library.ZSTD_compressStream2(
                    self._stream, ctypes.byref(target), ctypes.byref(source), directive
                )
            )
            if target.position:
                self._sink(ctypes.string_at(self._out, target.position))


def decompress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What the frames in `chunks` hold, piece by piece. Raises ZstdError when they are not whole.

    What was yielded before an error was checked only up to the last checksum.
    """
    library = _library()
    stream = library.ZSTD_createDCtx()
    left = 1
    try:
        out = ctypes.create_string_buffer(_OUT)
        for chunk in chunks:
            source = _source(chunk)
            full = False
            while source.position < source.size or full:
                target = _Buffer(ctypes.addressof(out), _OUT, 0)
                left = _checked(
                    library.ZSTD_decompressStream(
                        stream, ctypes.byref(target), ctypes.byref(source)
                    )
                )
                full = target.position == _OUT
                if target.position:
                    yield ctypes.string_at(out, target.position)
    finally:
        library.ZSTD_freeDCtx(stream)
    if left:
        raise ZstdError("the compressed data is cut off")


def _source(chunk: bytes) -> _Buffer:
    """`chunk` as the library reads it; `keep` ties its memory to the buffer's life."""
    address = ctypes.cast(ctypes.c_char_p(chunk), ctypes.c_void_p)
    source = _Buffer(address, len(chunk), 0)
    source.keep = chunk
    return source


def _checked(result: int) -> int:
    library = _library()
    if library.ZSTD_isError(result):
        raise ZstdError(library.ZSTD_getErrorName(result).decode())
    return result


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError as error:
        raise LegerError("libzstd is not installed", hint="install libzstd (libzstd1)") from error
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    buffer = ctypes.POINTER(_Buffer)
    for name, result, *arguments in (
        ("ZSTD_createCCtx", pointer),
        ("ZSTD_createDCtx", pointer),
        ("ZSTD_freeCCtx", size, pointer),
        ("ZSTD_freeDCtx", size, pointer),
        ("ZSTD_CCtx_setParameter", size, pointer, ctypes.c_int, ctypes.c_int),
        ("ZSTD_compressStream2", size, pointer, buffer, buffer, ctypes.c_int),
        ("ZSTD_decompressStream", size, pointer, buffer, buffer),
        ("ZSTD_isError", ctypes.c_uint, size),
        ("ZSTD_getErrorName", ctypes.c_char_p, size),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
