# SPDX-License-Identifier: Apache-2.0
"""Files in and out: compressed where the suffix says so, and replaced as a whole or not at all."""

import gzip
import lzma
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from gicmodel.errors import UnusableInput

MAX_UNPACKED = 4 << 30
"""A compressed file that unpacks to more bytes than this is refused: it may be a bomb, and can be unpacked by hand."""

_PACKED = (".xz", ".gz", ".zst")
_CHUNK = 1 << 20
_SMALL_CHUNK = 1 << 10
"""Packed bytes unpacked at once: four of zstd's may hold 128 KiB (RFC 8878, 3.1.1.2), so that a bomb shows in time."""
_XZ_PADDING = 4
"""Zeros between and after the streams of an .xz file come in fours (The .xz File Format, 2.2)."""


def opened(path: Path) -> IO[bytes]:
    """Open a file to read; `.xz`, `.gz` and `.zst` are unpacked into an anonymous file, where zeros cost nothing.

    Raises UnusableInput if it cannot be read, is damaged or truncated, or unpacks to more than MAX_UNPACKED bytes.
    """
    with refusing(path):
        return _copy_of(path) if path.suffix in _PACKED else path.open("rb")


def opened_whole(path: Path) -> IO[bytes]:
    """As `opened`, for who goes back in the file or maps it: what comes through a pipe is an anonymous file too."""
    with refusing(path):
        in_place = path.suffix not in _PACKED and (path.is_file() or path.is_block_device())
        return path.open("rb") if in_place else _copy_of(path)


def start_of(file: IO[bytes], path: Path, count: int) -> bytes:
    """The first `count` bytes of an open file, wherever its position is; fewer if it has no more."""
    with refusing(path):
        file.seek(0)
        return file.read(count)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of `path` when the block ends well; packed as its suffix says.

    Whatever happens in the block, `path` holds all of the old content or all of the new. A link is followed; a device
    or a pipe, such as /dev/stdout, is written to as it is. Raises UnusableInput if it cannot be written, but
    for a pipe whose reader has left: BrokenPipeError.
    """
    in_place = path.exists() and not path.is_file()
    try:
        with (
            path.open("wb") if in_place else _replacement(path.resolve()) as file,
            _packing(file, path.suffix) as stream,
        ):
            yield stream
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UnusableInput(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """UnusableInput, which names the file, for what goes wrong in the block because it cannot be read."""
    try:
        yield
    except OSError as error:
        raise UnusableInput(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise UnusableInput(f"{path}: cannot be read: it takes more memory than there is") from error
    except (EOFError, lzma.LZMAError, zlib.error) as error:
        raise UnusableInput(f"{path}: is a damaged or truncated {path.suffix} file: {error}") from error


@contextmanager
def _replacement(path: Path) -> Iterator[IO[bytes]]:
    # The name may be as long as names can be, so that nothing more fits to it.
    unfinished = path.with_name(f".gicmodel-{os.urandom(8).hex()}")
    try:
        with unfinished.open("xb") as file:
            if path.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
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


def _copy_of(path: Path) -> IO[bytes]:
    """What is in a file, unpacked, in a file without a name."""
    import tempfile

    with path.open("rb") as file, ExitStack() as on_failure:
        plain = on_failure.enter_context(tempfile.TemporaryFile())
        _copy_sparse(_chunks(file, path.suffix), plain, path)
        on_failure.pop_all()
    return plain


def _chunks(file: IO[bytes], suffix: str) -> Iterator[bytes]:
    """The unpacked bytes of a file, piece by piece."""
    if suffix == ".xz":
        return _xz_chunks(file)
    if suffix == ".zst":
        return _zstd_chunks(file)
    unpacked = gzip.GzipFile(fileobj=file) if suffix == ".gz" else file
    return iter(lambda: unpacked.read(_CHUNK), b"")


def _xz_chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The streams of a file, one after the other. lzma's own reader ends in silence where a second one is damaged."""
    packed: bytes | None = file.read(_CHUNK)
    while packed is not None:
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        while not stream.eof:
            if stream.needs_input and not packed:
                raise EOFError("a stream does not end")
            yield stream.decompress(packed, _CHUNK)
            packed = file.read(_CHUNK) if stream.needs_input else b""
        packed = _after_padding(stream.unused_data or packed, file)


def _after_padding(packed: bytes, file: IO[bytes]) -> bytes | None:
    """What follows the zeros after an .xz stream; None if nothing does."""
    zeros = 0
    while packed := packed or file.read(_CHUNK):
        left = packed.lstrip(b"\0")
        zeros += len(packed) - len(left)
        packed = left
        if packed:
            break
    if zeros % _XZ_PADDING:
        raise EOFError(f"{zeros} bytes of zeros follow a stream, no multiple of {_XZ_PADDING}")
    return packed or None


def _zstd_chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The frames of a file, one after the other. zstandard's own reader takes a truncated frame for a whole one."""
    import zstandard

    try:
        frame = zstandard.ZstdDecompressor().decompressobj()
        while packed := frame.unused_data or file.read(_SMALL_CHUNK):
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
            if path.suffix in _PACKED:
                raise UnusableInput(
                    f"{path}: unpacks to more than {MAX_UNPACKED:#x} bytes; unpack it by hand to use it"
                )
            raise UnusableInput(f"{path}: has more than {MAX_UNPACKED:#x} bytes; put it in a file to use it")
    plain.truncate()
    plain.seek(0)
