# SPDX-License-Identifier: Apache-2.0
"""What numba made of a kernel's types: operations that differ from what Python and NumPy do with the same words.

numba gives a signed result to an operation on a signed and an unsigned integer, compares such a pair as doubles, and
unifies them to float64 (numba enhancement proposal 1; numba issue 10151). Python and NumPy 2 keep uint64.
"""

from collections.abc import Iterator
from typing import Any

from numba import types
from numba.core import ir


def differences(dispatcher: Any) -> list[str]:
    """Describe, for every compiled signature, each float and each operation that mixes signed and unsigned.

    The kernel must have been compiled in this process: one that came from the cache has no typed IR (ValueError).
    """
    found = []
    for overload in dispatcher.overloads.values():
        annotation = overload.type_annotation
        if isinstance(annotation, str):
            raise ValueError(f"{dispatcher.py_func.__qualname__} came from the cache, which keeps no types")
        found += [f"{_place(dispatcher, loc)}: {what}" for loc, what in _in_overload(annotation)]
    return sorted(set(found))


def _in_overload(annotation: Any) -> Iterator[tuple[ir.Loc | None, str]]:
    for name, variable_type in annotation.typemap.items():
        if isinstance(variable_type, types.Float):
            yield None, f"{name} is {variable_type}"
    for expression, signature in annotation.calltypes.items():
        if not isinstance(expression, ir.Expr) or expression.op not in ("binop", "inplace_binop"):
            continue
        operands = [annotation.typemap[variable.name] for variable in expression.list_vars()]
        integers = [operand for operand in (*operands, signature.return_type) if isinstance(operand, types.Integer)]
        if len({integer.signed for integer in integers}) > 1:
            names = ", ".join(str(operand) for operand in operands)
            yield expression.loc, f"{expression.fn.__name__}({names}) is {signature.return_type}"


def _place(dispatcher: Any, loc: ir.Loc | None) -> str:
    line = dispatcher.py_func.__code__.co_firstlineno if loc is None else loc.line
    return f"{dispatcher.py_func.__module__}.{dispatcher.py_func.__qualname__}:{line}"
