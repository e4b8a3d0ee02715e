# SPDX-License-Identifier: Apache-2.0
"""The error of the host driver, Linux's errno by name and the cause, and how an operation that fails is undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from gicmodel.errors import LinuxError


class DriverError(LinuxError):
    """An operation that Linux' irq-gic-v3-its.c would refuse, or that the hardware did not complete."""


@contextmanager
def all_or_nothing() -> Iterator[ExitStack]:
    """If the block fails, what its steps have pushed on the stack is called, last first, and each whatever becomes of
    the others."""
    with ExitStack() as undo:
        yield undo
        undo.pop_all()
