# SPDX-License-Identifier: Apache-2.0
"""Operations of several steps that are done as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def all_or_nothing() -> Iterator[ExitStack]:
    """If the block fails, what its steps have pushed on the stack is called, last first, and each whatever becomes of
    the others."""
    with ExitStack() as undo:
        yield undo
        undo.pop_all()
