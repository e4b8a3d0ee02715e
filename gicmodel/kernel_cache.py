# SPDX-License-Identifier: Apache-2.0
"""Machine code on disk. Whatever is missing, damaged or cannot be written costs a compilation, and nothing else.

numba's own cache stamps a function with the content of its own file only (numba issue 1833), so that editing a constant
in another module would leave stale machine code behind; it has no checksum; and what it finds in a damaged file, or a
full disk, ends the program. Here a directory is named by a digest of all sources that a kernel can have compiled in,
and a file by a digest of all else that its machine code depends on; it begins with the digest of what follows.

A digest tells damage, not intent: as with every cache of machine code, who may write there decides what runs.
"""

import fcntl
import hashlib
import os
import pickle
import re
import shutil
import stat
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

FLOORS = ("layouts", "hardware", "driver", "kvm", "migration", "board")
KEPT_DIRECTORIES = 16
"""As many as were used last; one tree of sources has one for each floor that has kernels, four today."""

_PACKAGE = Path(__file__).parent
_SUFFIX = ".code"
_LOCK = "lock"
_NAMED = re.compile(r"[0-9a-f]{16}")
_LEFT = re.compile(r"[0-9a-f]{16}\.[0-9a-f]{32}")
"""What `_remove` was about to remove when its process ended."""
_DIGEST_BYTES = hashlib.sha256().digest_size
_MOST_BYTES = 1 << 26
"""No kernel comes near; nobody shall read /dev/zero to its end."""


@cache
def cache_directory(floor: str = FLOORS[-1]) -> Path:
    """The directory for machine code of kernels of `floor`, under NUMBA_CACHE_DIR or the user's cache directory."""
    digest = hashlib.sha256()
    # Code with bounds checks is other code.
    digest.update(os.environ.get("NUMBA_BOUNDSCHECK", "").encode())
    for source in _sources(floor):
        digest.update(str(source.relative_to(_PACKAGE)).encode())
        digest.update(source.read_bytes())
    return directory_of_all() / digest.hexdigest()[:16]


def is_whole() -> bool:
    """Whether all kernels have been compiled for these sources, by this numba."""
    return _mark().exists()


def can_be_written() -> bool:
    """Whether what this process compiles is there for others."""
    directory = cache_directory("kvm")
    _claim(directory)
    return os.access(directory, os.W_OK)


def mark_whole() -> None:
    """Say that they have been."""
    with suppress(OSError):
        _mark().touch()


def _mark() -> Path:
    return cache_directory("kvm") / f"whole-{hashlib.sha256(repr(_versions()).encode()).hexdigest()[:16]}"


class KernelCache:
    """What numba asks for machine code of one function: the methods of `numba.core.caching.Cache`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        rooms = function.__module__.split(".")
        self._directory = cache_directory(next((room for room in rooms if room in FLOORS), FLOORS[-1]))
        self._name = function.__name__
        code = function.__code__
        self._identity = [function.__module__, function.__qualname__, code.co_firstlineno, _stamp(code.co_filename)]
        self.kept = False
        """Whether what was compiled last, or loaded, is on disk."""
        _claim(self._directory)

    @property
    def cache_path(self) -> str:
        """The directory."""
        return str(self._directory)

    def flush(self) -> None:
        """Nothing here is ever stale."""

    def load_overload(self, signature: Any, context: Any) -> Any:
        """The compile result for argument types, or None."""
        from numba.core.compiler import CompileResult

        context.refresh()
        key = self._key(signature, context.codegen())
        content = _read(self._path(key), key)
        if content is None:
            return None
        try:
            result = CompileResult._rebuild(context, *pickle.loads(content))
        except Exception:  # it is whole, so this numba wrote it: why it cannot read it now matters to nobody
            return None
        self.kept = True
        return result

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a compile result, if that is possible."""
        from numba.core.serialize import dumps

        self.kept = False
        if result.library.has_dynamic_globals or not all(lifted.can_cache for lifted in result.lifted):
            return
        key = self._key(signature, result.library.codegen)
        self.kept = _write(self._path(key), key, dumps(result._reduce()))

    def _path(self, key: bytes) -> Path:
        return self._directory / f"{self._name}-{key.hex()[:32]}{_SUFFIX}"

    def _key(self, signature: Any, codegen: Any) -> bytes:
        """A digest of what machine code depends on, but for the sources: they name the directory."""
        types = [str(each) for each in getattr(signature, "args", signature)]
        depends = (self._identity, types, codegen.magic_tuple(), _versions())
        return hashlib.sha256(repr(depends).encode()).digest()


def cachable(function: Callable[..., Any]) -> bool:
    """Whether a name, a line and a file say all about a function: it is no closure, and its file is there."""
    return function.__closure__ is None and _stamp(function.__code__.co_filename) is not None


@cache
def _stamp(file: str) -> str | None:
    """A digest of the source: a module outside this package has no part in the name of the directory."""
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return None


@cache
def _versions() -> tuple[str, ...]:
    return sys.version, *(version(name) for name in ("numba", "llvmlite", "numpy"))


def _read(path: Path, key: bytes) -> bytes | None:
    """What `_write` wrote for the same key; None if it is not that to the last bit."""
    with suppress(OSError):
        # O_NONBLOCK: nobody writes to a FIFO that lies there.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
                return None
            content = file.read(_MOST_BYTES)
        digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if digest == hashlib.sha256(key + content).digest():
            return content
    return None


def _write(path: Path, key: bytes, content: bytes) -> bool:
    """Put a file there, whole or not at all; whether it is there."""
    part = path.with_name(f".{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(hashlib.sha256(key + content).digest() + content)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        return False
    return True


@cache
def _claim(directory: Path) -> int | None:
    """Make a directory, and hold it until this process ends: nobody prunes it. Whoever makes one prunes the others."""
    lock = None
    with suppress(OSError):
        new = not directory.exists()
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.utime(lock)
        if new:
            prune(directory.parent)
    return lock


def prune(base: Path) -> None:
    """Remove all directories of machine code but those that some process holds, and the few that were used last."""
    with suppress(OSError):
        entries = [entry for entry in base.iterdir() if entry.is_dir() and not entry.is_symlink()]
        ours = [entry for entry in entries if _NAMED.fullmatch(entry.name) and _is_ours(entry)]
        for old in sorted(ours, key=_last_use, reverse=True)[KEPT_DIRECTORIES:]:
            _remove(old)
        for left in entries:
            if _LEFT.fullmatch(left.name):
                shutil.rmtree(left, ignore_errors=True)


def _is_ours(entry: Path) -> bool:
    """Whether this module made it. NUMBA_CACHE_DIR may hold anything; the user's cache directory also what a former
    version made, which had no lock."""
    return (entry / _LOCK).is_file() or not os.environ.get("NUMBA_CACHE_DIR")


def _last_use(directory: Path) -> float:
    try:
        return (directory / _LOCK).lstat().st_mtime
    except OSError:
        return 0


def _remove(directory: Path) -> None:
    """It vanishes at once: who looks for machine code meanwhile finds all of it or none."""
    with suppress(OSError), _held_alone(directory / _LOCK):
        gone = directory.with_name(f"{directory.name}.{uuid.uuid4().hex}")
        directory.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


@contextmanager
def _held_alone(lock: Path) -> Iterator[None]:
    """BlockingIOError if some process holds it."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def directory_of_all() -> Path:
    """NUMBA_CACHE_DIR, or the user's cache directory for this package."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    return Path(chosen) if chosen else user_cache_path("gicmodel")


def _sources(floor: str) -> list[Path]:
    below = FLOORS[: FLOORS.index(floor) + 1]
    return sorted([*_PACKAGE.glob("*.py"), *(source for name in below for source in (_PACKAGE / name).rglob("*.py"))])
