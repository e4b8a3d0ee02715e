# SPDX-License-Identifier: Apache-2.0
"""Files in and out: compressed where the suffix says so, and replaced as a whole or not at all."""

import gzip
import lzma
import secrets
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from gicmodel.errors import UnusableInput

MAX_UNPACKED = 4 << 30
"""A compressed file that unpacks to more bytes than this is refused: it may be a bomb, and can be unpacked by hand."""

_CHUNK = 1 << 20


def opened(path: Path) -> IO[bytes]:
    """Open a file to read; `.xz` and `.gz` are unpacked into an anonymous file, where zeros cost nothing.

    Raises UnusableInput if it cannot be read, is damaged or truncated, or unpacks to more than MAX_UNPACKED bytes.
    """
    try:
        if path.suffix == ".xz":
            return _unpacked(lzma.open(path), path)
        if path.suffix == ".gz":
            return _unpacked(gzip.open(path), path)
        return path.open("rb")
    except OSError as error:
        raise UnusableInput(f"{path}: cannot be read: {error.strerror or error}") from error
    except (EOFError, lzma.LZMAError, zlib.error) as error:
        raise UnusableInput(f"{path}: is a damaged or truncated {path.suffix} file: {error}") from error


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of `path` when the block ends well; packed if the suffix is `.xz` or `.gz`.

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
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
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
    return nullcontext(file)


def _unpacked(packed: lzma.LZMAFile | gzip.GzipFile, path: Path) -> IO[bytes]:
    with packed, ExitStack() as on_failure:
        plain = on_failure.enter_context(tempfile.TemporaryFile())
        _copy_sparse(packed, plain, path)
        on_failure.pop_all()
    return plain


def _copy_sparse(packed: lzma.LZMAFile | gzip.GzipFile, plain: IO[bytes], path: Path) -> None:
    while chunk := packed.read(_CHUNK):
        if chunk.count(0) == len(chunk):
            plain.seek(len(chunk), 1)
        else:
            plain.write(chunk)
        if plain.tell() > MAX_UNPACKED:
            raise UnusableInput(f"{path}: unpacks to more than {MAX_UNPACKED:#x} bytes; unpack it by hand to use it")
    plain.truncate()
    plain.seek(0)
