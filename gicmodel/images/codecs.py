# SPDX-License-Identifier: Apache-2.0
"""The codecs of kdump's pages (page_desc.flags of makedumpfile's diskdump_mod.h): one page each, never more."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from gicmodel.errors import MissingExtra

ZLIB, LZO, SNAPPY, ZSTD = 0x1, 0x2, 0x4, 0x20
CODECS = ZLIB | LZO | SNAPPY | ZSTD
Codec = Callable[[bytes, int], bytes]


def unpacked(packed: bytes, flags: int, size: int) -> bytes:
    """The `size` bytes of a page. Raises ValueError for damaged ones, UnusableInput if a library is missing."""
    codec = _CODECS.get(flags & CODECS)
    if codec is None:
        raise ValueError(f"flags {flags:#x} name no codec")
    page = codec(packed, size)
    if len(page) != size:
        raise ValueError(f"it unpacks to {len(page):#x} bytes")
    return page


def _zlib(packed: bytes, size: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        page = stream.decompress(packed, size + 1)
    except zlib.error as error:
        raise ValueError(f"zlib: {error}") from error
    if not stream.eof:
        raise ValueError("zlib: it does not end")
    return page


def _zstd(packed: bytes, size: int) -> bytes:
    import zstandard

    try:
        if zstandard.frame_content_size(packed) > size:
            raise ValueError("zstd: it is more than a page")
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
    except zstandard.ZstdError as error:
        raise ValueError(f"zstd: {error}") from error


def _snappy(packed: bytes, size: int) -> bytes:
    try:
        from cramjam import DecompressionError, snappy
    except ImportError:
        raise _missing("snappy", "cramjam") from None
    try:
        if snappy.decompress_raw_len(packed) > size:
            raise ValueError("snappy: it is more than a page")
        return bytes(snappy.decompress_raw(packed))
    except DecompressionError as error:
        raise ValueError(str(error)) from error


def _lzo(packed: bytes, size: int) -> bytes:
    try:
        from lzallright import InputNotConsumed, LZOCompressor, LZOError
    except ImportError:
        raise _missing("lzo", "lzallright") from None
    try:
        return bytes(LZOCompressor.decompress(packed, size))
    except (LZOError, InputNotConsumed) as error:
        raise ValueError(f"lzo: {error}") from error


def _missing(codec: str, library: str) -> MissingExtra:
    return MissingExtra(f"its pages are packed by {codec}, which", library, "vmcore")


_CODECS: dict[int, Codec] = {0: lambda packed, _: packed, ZLIB: _zlib, LZO: _lzo, SNAPPY: _snappy, ZSTD: _zstd}
