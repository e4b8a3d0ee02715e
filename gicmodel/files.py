# SPDX-License-Identifier: Apache-2.0
"""Files in and out: compressed where the suffix says so, and replaced as a whole or not at all."""

import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from gicmodel.errors import UnusableInput

MAX_UNPACKED = 4 << 30
"""A compressed file that unpacks to more bytes than this is refused: it may be a bomb, and can be unpacked by hand."""

_READERS: dict[str, Callable[[IO[bytes]], AbstractContextManager[Any]]] = {".xz": lzma.open, ".gz": gzip.open}
_PACKED = (*_READERS, ".zst")
_CHUNK = 1 << 20
_ZSTD_CHUNK = 1 << 10
"""Packed bytes unpacked at once: a block of four may hold 128 KiB (RFC 8878, 3.1.1.2), so that a bomb shows in time."""


def opened(path: Path) -> IO[bytes]:
    """Open a file to read; `.xz`, `.gz` and `.zst` are unpacked into an anonymous file, where zeros cost nothing.

    Raises UnusableInput if it cannot be read, is damaged or truncated, or unpacks to more than MAX_UNPACKED bytes.
    """
    with _refusing(path):
        if path.suffix not in _PACKED:
            return path.open("rb")
        import tempfile

        with _chunks(path) as chunks, ExitStack() as on_failure:
            plain = on_failure.enter_context(tempfile.TemporaryFile())
            _copy_sparse(chunks, plain, path)
            on_failure.pop_all()
        return plain


def head(path: Path, size: int) -> bytes:
    """The first `size` bytes of a file, unpacked as `opened` does; fewer if it is shorter. Raises UnusableInput."""
    with _refusing(path), _chunks(path) as chunks:
        found = b""
        for chunk in chunks:
            found += chunk
            if len(found) >= size:
                break
    return found[:size]


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of `path` when the block ends well; packed as its suffix says.

    Whatever happens in the block, `path` holds all of the old content or all of the new. A link is followed; a device
    or a pipe, such as /dev/stdout, is written to as it is. Raises UnusableInput if it cannot be written.
    """
    in_place = path.exists() and not path.is_file()
    try:
        with (
            path.open("wb") if in_place else _replacement(path.resolve()) as file,
            _packing(file, path.suffix) as stream,
        ):
            yield stream
    except OSError as error:
        raise UnusableInput(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def _replacement(path: Path) -> Iterator[IO[bytes]]:
    unfinished = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with unfinished.open("xb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _packing(file: IO[bytes], suffix: str) -> AbstractContextManager[Any]:
    if suffix == ".xz":
        return lzma.open(file, "wb")
    if suffix == ".gz":
        # No name and no time: the same content is the same file.
        return gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
    if suffix == ".zst":
        import zstandard

        return zstandard.ZstdCompressor(write_checksum=True).stream_writer(file, closefd=False)
    return nullcontext(file)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnusableInput(f"{path}: cannot be read: {error.strerror or error}") from error
    except (EOFError, lzma.LZMAError, zlib.error) as error:
        raise UnusableInput(f"{path}: is a damaged or truncated {path.suffix} file: {error}") from error


@contextmanager
def _chunks(path: Path) -> Iterator[Iterator[bytes]]:
    """The unpacked bytes of a file, piece by piece."""
    with path.open("rb") as file:
        if path.suffix == ".zst":
            yield _zstd_chunks(file)
            return
        with _READERS.get(path.suffix, nullcontext)(file) as unpacked:
            yield iter(lambda: unpacked.read(_CHUNK), b"")


def _zstd_chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The frames of a file, one after the other. zstandard's own reader takes a truncated frame for a whole one."""
    import zstandard

    try:
        frame = zstandard.ZstdDecompressor().decompressobj()
        while packed := frame.unused_data or file.read(_ZSTD_CHUNK):
            if frame.eof:
                frame = zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(packed)
    except zstandard.ZstdError as error:
        raise EOFError(error) from error
    if not frame.eof:
        raise EOFError("a frame does not end")


def _copy_sparse(chunks: Iterator[bytes], plain: IO[bytes], path: Path) -> None:
    for chunk in chunks:
        if chunk.count(0) == len(chunk):
            plain.seek(len(chunk), 1)
        else:
            plain.write(chunk)
        if plain.tell() > MAX_UNPACKED:
            raise UnusableInput(f"{path}: unpacks to more than {MAX_UNPACKED:#x} bytes; unpack it by hand to use it")
    plain.truncate()
    plain.seek(0)
