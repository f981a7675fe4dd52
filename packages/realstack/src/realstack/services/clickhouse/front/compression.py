"""Content codings both ways: gzip, deflate, zstd, lz4 and br, each as far as something on this machine can do it."""

import functools
import importlib
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from .errors import Failure

#: Quickest first; a ClickHouse server has an order of its own too.
_PREFERENCE = ("lz4", "zstd", "gzip", "x-gzip", "deflate", "br")


class Encoder(Protocol):
    """Turns pieces of a reply into pieces of its coded form."""

    def feed(self, piece: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class _Zlib:
    def __init__(self, wbits: int) -> None:
        self._coder = zlib.compressobj(level=1, wbits=wbits)

    def feed(self, piece: bytes) -> bytes:
        # flushed, so that a reader sees each block when it was made
        return self._coder.compress(piece) + self._coder.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._coder.flush()


class _Lz4:
    """One frame for the whole reply: readers stop at the end of the first."""

    def __init__(self) -> None:
        self._coder: Any = _module("lz4.frame").LZ4FrameCompressor(auto_flush=True)
        self._begun = False

    def feed(self, piece: bytes) -> bytes:
        head = b"" if self._begun else self._coder.begin()
        self._begun = True
        return bytes(head + self._coder.compress(piece))

    def end(self) -> bytes:
        return bytes(self._coder.flush()) if self._begun else b""


class _Brotli:
    def __init__(self) -> None:
        self._coder: Any = _module("brotli").Compressor(quality=1)

    def feed(self, piece: bytes) -> bytes:
        return bytes(self._coder.process(piece) + self._coder.flush())

    def end(self) -> bytes:
        return bytes(self._coder.finish())


class _Zstd:
    def __init__(self) -> None:
        self._coder: Any = _module("zstd").ZstdCompressor(level=1)

    def feed(self, piece: bytes) -> bytes:
        return bytes(self._coder.compress(piece, self._coder.FLUSH_BLOCK))

    def end(self) -> bytes:
        return bytes(self._coder.flush())


_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "gzip": functools.partial(_Zlib, 31),
    "x-gzip": functools.partial(_Zlib, 31),
    "deflate": functools.partial(_Zlib, 15),
    "lz4": _Lz4,
    "zstd": _Zstd,
    "br": _Brotli,
}
_MODULES = {"lz4": "lz4.frame", "zstd": "zstd", "br": "brotli"}


def negotiate(accepted: str) -> tuple[str, Encoder] | None:
    """Return the coding of the reply to ``Accept-Encoding: accepted`` with its encoder; ``None`` is plain."""
    wanted = {
        item.partition(";")[0].strip().lower() for item in accepted.split(",") if ";q=0" not in item.replace(" ", "")
    }
    for coding in _PREFERENCE:
        if coding in wanted and (coding not in _MODULES or _module(_MODULES[coding]) is not None):
            return coding.removeprefix("x-"), _ENCODERS[coding]()
    return None


def decode(body: bytes, coding: str) -> bytes:
    """Return *body* with the content coding *coding* taken off.

    Raises:
        Failure: damaged or cut short (354, 271), or nothing here knows the coding (48).
    """
    match coding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _members(body, lambda: zlib.decompressobj(wbits=31), coding)
        case "deflate":
            return _members(body, lambda: zlib.decompressobj(wbits=15), coding)
        case "lz4":
            return _members(body, _need("lz4.frame", coding).LZ4FrameDecompressor, coding)
        case "zstd":
            return _members(body, _need("zstd", coding).ZstdDecompressor, coding)
        case "br":
            return _brotli(body, _need("brotli", coding))
    raise Failure(48, f"Unknown compression method {coding!r} of the request body", "NOT_IMPLEMENTED")


def _members(body: bytes, new_decoder: Callable[[], Any], coding: str) -> bytes:
    """Decode frames that stand one after another, as clients send a frame per block."""
    pieces = []
    rest = body
    while rest:
        decoder = new_decoder()
        try:
            pieces.append(decoder.decompress(rest))
        except Exception as error:  # each library has its own class; all of them mean damaged bytes
            raise _damaged(coding, str(error)) from error
        if not decoder.eof:
            raise _damaged(coding, "the body ends in the middle")
        rest = decoder.unused_data or b""
    return b"".join(pieces)


def _brotli(body: bytes, brotli: Any) -> bytes:
    try:
        return bytes(brotli.decompress(body))
    except brotli.error as error:
        raise _damaged("br", str(error)) from error


def _damaged(coding: str, why: str) -> Failure:
    if coding in ("gzip", "x-gzip", "deflate"):
        return Failure(354, f"inflate failed: {why}", "ZLIB_INFLATE_FAILED")
    return Failure(271, f"Cannot decompress the {coding} body: {why}", "CANNOT_DECOMPRESS")


def _need(name: str, coding: str) -> Any:
    module = _module(name)
    if module is None:
        text = (
            f"Embedded ClickHouse has no {coding} codec here: the Python package {name.partition('.')[0]!r} is missing"
        )
        raise Failure(48, text, "NOT_IMPLEMENTED")
    return module


@functools.cache
def _module(name: str) -> Any:
    """Import the codec *name*; ``None`` when it is not installed."""
    for candidate in ("compression.zstd", "backports.zstd") if name == "zstd" else (name,):
        try:
            return importlib.import_module(candidate)
        except ImportError:
            continue
    return None
