# SPDX-License-Identifier: Apache-2.0
"""The one kernel decorator: machine code where numba may compile, the same Python source where it may not.

numba stamps a cached function with the content of its own file only (numba issue 1833), so that editing a constant in
another module would leave stale machine code behind. Every cache directory here is therefore named by a digest of all
sources a kernel can have compiled in: the ground, and the floors up to its own.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from platformdirs import user_cache_path

COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")

_PACKAGE = Path(__file__).parent
_FLOORS = ("layouts", "hardware", "driver", "kvm", "migration")

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """Compile `function` on its first call for each set of argument types; a plain function under NUMBA_DISABLE_JIT=1.

    The machine code is kept in `cache_directory`; where that cannot be written, each process compiles anew.
    """
    return _compiled(function, inline=False)


def inlined(function: _Function) -> _Function:
    """A kernel that becomes part of each kernel that calls it.

    For what is called from one or two places and often: a call passes the descriptors of all arrays over the stack,
    which takes longer than many a command's own work.
    """
    return _compiled(function, inline=True)


def direct(function: _Function, *arguments: object) -> _Function:
    """The kernel for arguments of the same types as these, which it must then always be given.

    It spares each call from Python numba's look at the types: a microsecond for a named tuple of arrays, several times
    as long as most register accesses. The kernel is compiled, or fetched from the cache, now.
    """
    if not COMPILED:
        return function
    import numba

    types = tuple(numba.typeof(argument) for argument in arguments)
    dispatcher: Any = function
    dispatcher.compile(types)
    entry: _Function = dispatcher.get_overload(types)
    return entry


def _compiled(function: _Function, inline: bool) -> _Function:
    if not COMPILED:
        return function
    import numba

    directory = cache_directory(_floor(function.__module__))
    with _numba_cache(directory):
        # Kernels allocate nothing: without numba's runtime (_nrt) no call counts references to their arrays.
        compile_ = numba.njit(cache=_writable(directory), nogil=True, _nrt=False, forceinline=inline)
        compiled: _Function = compile_(function)
    return compiled


def cold_cache(floor: str = "hardware") -> bool:
    """Whether the kernels of `floor` have still to be compiled for these sources."""
    return COMPILED and not any(cache_directory(floor).rglob("*.nbi"))


@cache
def cache_directory(floor: str = _FLOORS[-1]) -> Path:
    """The directory for machine code of kernels of `floor`, under NUMBA_CACHE_DIR or the user's cache directory."""
    digest = hashlib.sha256()
    # numba does not make bounds checks part of its own key.
    digest.update(os.environ.get("NUMBA_BOUNDSCHECK", "").encode())
    for source in _sources(floor):
        digest.update(str(source.relative_to(_PACKAGE)).encode())
        digest.update(source.read_bytes())
    return _cache_base() / digest.hexdigest()[:16]


def _cache_base() -> Path:
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return Path(chosen)
    return user_cache_path("gicmodel")


def _floor(module: str) -> str:
    """The floor that a module belongs to; the topmost for a module of none."""
    for name in module.split("."):
        if name in _FLOORS:
            return name
    return _FLOORS[-1]


def _sources(floor: str) -> list[Path]:
    below = _FLOORS[: _FLOORS.index(floor) + 1]
    return sorted([*_PACKAGE.glob("*.py"), *(source for name in below for source in (_PACKAGE / name).rglob("*.py"))])


def _writable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK)


@contextmanager
def _numba_cache(directory: Path) -> Iterator[None]:
    """numba reads its process-wide cache directory when a function is decorated: set it for that moment only."""
    from numba import config

    before = config.CACHE_DIR
    config.CACHE_DIR = str(directory)
    try:
        yield
    finally:
        config.CACHE_DIR = before


def _hint() -> Callable[[Any], bool]:
    if not COMPILED:
        return bool
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    def expect(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bit = ir.IntType(1)
        function = builder.module.declare_intrinsic("llvm.expect", [bit], ir.FunctionType(bit, [bit, bit]))
        return builder.call(function, [arguments[0], bit(0)])

    def unlikely(typing_context: Any, condition: Any) -> Any:
        """LLVM's llvm.expect, for which numba has no word."""
        return types.boolean(types.boolean), expect

    typed: Callable[[Any], bool] = intrinsic(unlikely)
    return typed


unlikely = _hint()
"""In a kernel, `unlikely(condition)` is the condition, said to hold hardly ever, as errors do.

What is done then leaves the straight path, and its values the registers: commands take a sixth to a third less time.
"""
