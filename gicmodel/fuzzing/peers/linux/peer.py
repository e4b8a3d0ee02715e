# SPDX-License-Identifier: Apache-2.0
"""Peers that are code of a kernel's source."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from gicmodel.fuzzing.peers.linux.build import Recipe, built, compiler
from gicmodel.fuzzing.peers.linux.source import KernelSource, source_for
from gicmodel.fuzzing.peers.peer import Peer


class LinuxPeer(Peer):
    """What a library is compared with that `recipe` makes of a source: this one, or the newest that is installed."""

    recipe: ClassVar[Recipe]

    def __init__(self, linux_source: Path | None = None) -> None:
        self._where = linux_source

    def made_of(self, linux_source: Path | None) -> Self:
        """One of this source."""
        return type(self)(linux_source)

    def require(self) -> None:
        """A source, and a compiler for it."""
        compiler()
        built(self.source, self.recipe)

    @property
    def source(self) -> KernelSource:
        """The kernel's source; errors as `source_for`."""
        return source_for(self._where)
