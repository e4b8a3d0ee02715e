# SPDX-License-Identifier: Apache-2.0
"""The one kernel decorator: machine code on the compiled engine, the same Python source on the other."""

import typing
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np

from gicmodel.engine import Engine, settled
from gicmodel.kernel_cache import KernelCache, cachable

COMPILED = settled() is Engine.COMPILED
"""Whether that is the engine of this process; where it is not, numba is never imported."""

if not COMPILED:
    # Words wrap at 64 bits on both engines; NumPy's scalars would warn of it.
    np.seterr(over="ignore")

KERNELS: list[Any] = []
"""numba's dispatchers of all kernels that have been imported, in the order of their definitions."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """Compile `function` on its first call for each set of argument types; a plain function on the Python engine.

    The machine code is kept in `kernel_cache.cache_directory`; where it cannot be, each process compiles anew.
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
    kind = _kind((function, *arguments))
    if kind not in _DIRECT:
        import numba

        types = tuple(numba.typeof(argument) for argument in arguments)
        dispatcher: Any = function
        dispatcher.compile(types)
        _DIRECT[kind] = dispatcher.get_overload(types)
    entry: _Function = _DIRECT[kind]
    return entry


def bound(function: Callable[..., Any], *samples: object) -> cached_property[Callable[..., Any]]:
    """An attribute: the `direct` kernel whose first arguments are its owner's `_place`, a machine and what of it.

    It is called with the others alone, which must be of the types of `samples`.
    """
    return cached_property(lambda owner: partial(direct(function, *owner._place, *samples), *owner._place))


_DIRECT: dict[Any, Any] = {}
"""What `direct` has returned: each GIC asks anew for each PE, and numba looks at a machine for half a millisecond."""


def _kind(value: object) -> object:
    """What decides about numba's type of a value: equal for values of equal types. A function is of its own kind."""
    if isinstance(value, tuple):
        return type(value), *map(_kind, value)
    if isinstance(value, np.ndarray):
        return value.dtype, value.ndim, value.flags.num
    return value if callable(value) else type(value)


def callback(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate what C calls, with numba's types of what it returns and takes: machine code on either engine.

    It is compiled, or fetched from the cache, now; `address` is where it begins.
    """
    import numba
    from numba.core.ccallback import CFunc

    numba.config.DISABLE_JIT = 0

    def compile_now(function: Callable[..., Any]) -> Any:
        compiled: Any = CFunc(function, (arguments, result), locals={}, options={"nopython": True})
        compiled._cache = KernelCache(function)
        compiled.compile()
        return compiled

    return compile_now


def declared_types(dispatcher: Any, samples: Mapping[Any, object]) -> tuple[Any, ...] | None:
    """The types that a kernel's annotations give its arguments; None if one of them names no single type.

    `samples` maps an annotation that is not a number, a tuple or a flat array to a value of its type.
    """
    hints = typing.get_type_hints(dispatcher.py_func)
    hints.pop("return", None)
    types = tuple(numba_type(hint, samples) for hint in hints.values())
    return None if None in types else types


def numba_type(hint: Any, samples: Mapping[Any, object]) -> Any:
    """numba's type of an annotation, or None, as `declared_types`."""
    import numba
    from numba import types

    if hint in samples:
        return numba.typeof(samples[hint])
    if typing.get_origin(hint) is tuple:
        return types.BaseTuple.from_types([numba_type(item, samples) for item in typing.get_args(hint)])
    if typing.get_origin(hint) is np.ndarray:
        (item,) = typing.get_args(typing.get_args(hint)[1])
        return types.Array(numba.from_dtype(np.dtype(item)), 1, "C")
    if isinstance(hint, TypeVar):
        return None
    number = (typing.get_args(hint) or (hint,))[-1]  # int | np.int64
    return types.none if number is type(None) else numba.from_dtype(np.dtype(number))


def _compiled(function: _Function, inline: bool) -> _Function:
    if not COMPILED:
        return function
    import numba

    # GICMODEL_ENGINE=compiled goes before NUMBA_DISABLE_JIT. numba looks at it when a function is decorated, and does
    # that to what it has in Python for a built-in function when it compiles a call of it: it has to stay off.
    numba.config.DISABLE_JIT = 0
    # Kernels allocate nothing: without numba's runtime (_nrt) no call counts references to their arrays.
    compiled: Any = numba.njit(nogil=True, _nrt=False, no_cfunc_wrapper=True, forceinline=inline)(function)
    if cachable(function):
        # What `cache=True` does, with another cache. A numba that looked elsewhere for it would compile each time.
        compiled._cache = KernelCache(function)
    KERNELS.append(compiled)
    return compiled  # type: ignore[no-any-return]


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
