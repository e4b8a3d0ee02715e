# SPDX-License-Identifier: Apache-2.0
"""What numba makes of a kernel's types: operations that differ from what Python and NumPy do with the same words.

numba gives a signed result to an operation on a signed and an unsigned integer, compares such a pair as doubles, and
unifies them to float64 (numba enhancement proposal 1; numba issue 10151). Python and NumPy 2 keep uint64.
"""

import typing
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import ir
from numba.core.caching import NullCache
from numba.core.compiler import CompilerBase, DefaultPassBuilder, compile_result
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.typed_passes import AnnotateTypes
from numba.core.typing import signature as signature_of

_SCALARS = {
    np.uint64: types.uint64,
    int | np.int64: types.int64,
    bool | np.bool_: types.boolean,
    np.int64: types.int64,
    int: types.int64,
    bool: types.boolean,
    type(None): types.none,
}


def infer_only(dispatcher: Any) -> None:
    """Make the kernel's compilations end with its types: no machine code, neither made nor taken from the cache.

    Machine code is nineteen twentieths of the work. The kernel cannot be called any more.
    """
    dispatcher._compiler.pipeline_class = _TypesOnly
    dispatcher._cache = NullCache()


def infer_as_declared(dispatcher: Any, samples: dict[object, object]) -> list[str]:
    """Infer a kernel's types for the arguments that its annotations declare; describe a result that is not as declared.

    `samples` maps an annotation that is not a scalar, a tuple or an array to a value of its type.
    """
    hints = typing.get_type_hints(dispatcher.py_func)
    declared = _numba_type(hints.pop("return"), samples)
    arguments = tuple(_numba_type(hint, samples) for hint in hints.values())
    dispatcher.compile(arguments)
    returned = dispatcher.overloads[arguments].signature.return_type
    if returned == declared:
        return []
    return [f"{_place(dispatcher, None)}: returns {returned}, declared as {declared}"]


def differences(dispatcher: Any) -> list[str]:
    """Describe, for every signature of a kernel, each float and each operation that mixes signed and unsigned."""
    found = {
        f"{_place(dispatcher, loc)}: {what}"
        for overload in dispatcher.overloads.values()
        for loc, what in _in_overload(overload.type_annotation)
    }
    return sorted(found)


@register_pass(mutates_CFG=False, analysis_only=True)
class _KeepTypes(FunctionPass):
    _name = "keep_types"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        result = dict.fromkeys(("typing_error", "library", "call_helper", "fndesc", "environment"))
        state.cr = compile_result(
            typing_context=state.typingctx,
            target_context=state.targetctx,
            entry_point=len,  # some function: the dispatcher asks for one, and nobody calls it
            type_annotation=state.type_annotation,
            signature=signature_of(state.return_type, *state.args),
            objectmode=False,
            lifted=(),
            metadata={},
            **result,
        )
        return True


class _TypesOnly(CompilerBase):
    def define_pipelines(self) -> list[Any]:
        manager = DefaultPassBuilder.define_untyped_pipeline(self.state)
        manager.passes.extend(DefaultPassBuilder.define_typed_pipeline(self.state).passes)
        manager.add_pass(AnnotateTypes, "annotate types")
        manager.add_pass(_KeepTypes, "keep the types")
        manager.finalize()
        return [manager]


def _numba_type(hint: Any, samples: dict[object, object]) -> types.Type:
    if hint in samples:
        return numba.typeof(samples[hint])
    if typing.get_origin(hint) is tuple:
        return types.BaseTuple.from_types([_numba_type(item, samples) for item in typing.get_args(hint)])
    if typing.get_origin(hint) is np.ndarray:
        (item,) = typing.get_args(typing.get_args(hint)[1])
        return types.Array(numba.from_dtype(np.dtype(item)), 1, "C")
    return _SCALARS[hint]


def _in_overload(annotation: Any) -> Iterator[tuple[ir.Loc | None, str]]:
    for name, variable_type in annotation.typemap.items():
        if isinstance(variable_type, types.Float):
            yield None, f"{name} is {variable_type}"
    for expression, signature in annotation.calltypes.items():
        if not isinstance(expression, ir.Expr) or expression.op not in ("binop", "inplace_binop"):
            continue
        operands = [annotation.typemap[variable.name] for variable in expression.list_vars()]
        integers = [operand for operand in (*operands, signature.return_type) if isinstance(operand, types.Integer)]
        if _mixed(integers) and not _exact_comparison(signature.return_type, integers):
            names = ", ".join(str(operand) for operand in operands)
            yield expression.loc, f"{expression.fn.__name__}({names}) is {signature.return_type}"


def _mixed(integers: list[types.Integer]) -> bool:
    return len({integer.signed for integer in integers}) > 1


def _exact_comparison(result: types.Type, integers: list[types.Integer]) -> bool:
    """A narrow unsigned integer fits the signed one that it is compared with."""
    return isinstance(result, types.Boolean) and all(integer.signed or integer.bitwidth < 64 for integer in integers)


def _place(dispatcher: Any, loc: ir.Loc | None) -> str:
    line = dispatcher.py_func.__code__.co_firstlineno if loc is None else loc.line
    return f"{dispatcher.py_func.__module__}.{dispatcher.py_func.__qualname__}:{line}"
