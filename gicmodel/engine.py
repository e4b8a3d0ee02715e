# SPDX-License-Identifier: Apache-2.0
"""Which engine runs the kernels of a process: machine code that numba makes of them, or their source as plain Python.

Both give the same bytes. The engine is settled once, at the latest when the first kernel is imported.
"""

import os
from enum import StrEnum

from gicmodel.errors import UnusableInput

VARIABLE = "GICMODEL_ENGINE"
NUMBA_VARIABLE = "NUMBA_DISABLE_JIT"


class Engine(StrEnum):
    """`auto` lets whoever knows the size of the work decide; where nobody does, it is `compiled`."""

    AUTO = "auto"
    COMPILED = "compiled"
    PYTHON = "python"


ENGINES = tuple(engine.value for engine in Engine)

_settled: Engine | None = None


def asked(option: str | None = None) -> Engine:
    """What the user asks for: by a verb's option, else by GICMODEL_ENGINE, else by NUMBA_DISABLE_JIT, else `auto`.

    Raises:
        UnusableInput: GICMODEL_ENGINE is none of `ENGINES`.
    """
    if option is not None:
        return Engine(option)
    variable = os.environ.get(VARIABLE, "")
    if variable:
        if variable not in ENGINES:
            raise UnusableInput(f"{VARIABLE}={variable!r} is none of {', '.join(ENGINES)}")
        return Engine(variable)
    return Engine.AUTO if os.environ.get(NUMBA_VARIABLE, "0") in ("", "0") else Engine.PYTHON


def is_settled() -> bool:
    """Whether it is too late to choose."""
    return _settled is not None


def settled() -> Engine:
    """The engine of this process, COMPILED or PYTHON; settled now if it was not."""
    global _settled
    if _settled is None:
        _settled = Engine.PYTHON if asked() is Engine.PYTHON else Engine.COMPILED
    return _settled


def settle(engine: Engine) -> None:
    """Let this process, and those that it starts, run kernels on an engine, COMPILED or PYTHON.

    Raises:
        UnusableInput: this process has settled for the other one.
    """
    global _settled
    if _settled not in (None, engine):
        raise UnusableInput(f"this process runs the {_settled} engine already, and has one only")
    _settled = engine
    os.environ[VARIABLE] = engine.value
