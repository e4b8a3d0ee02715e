# SPDX-License-Identifier: Apache-2.0
"""The commands that software has put into the queue of an ITS."""

from __future__ import annotations

from collections.abc import Iterator

from gicmodel.hardware import Gic
from gicmodel.images.qemu_trace.packets import Words
from gicmodel.layouts.commands import COMMAND_BYTES, decode_command
from gicmodel.layouts.registers.by_name import NamedRegisters
from gicmodel.layouts.registers.its import queue_bytes
from gicmodel.memory import ExternalAbort

UNKNOWN = "unknown"


class Queue:
    """The ring of commands of an ITS, as its registers say that it lies in RAM."""

    def __init__(self, gic: Gic, number: int) -> None:
        self._memory = gic.memory
        self._registers = NamedRegisters(gic.its[number], gic.config.architecture)

    def registers(self, name: str) -> dict[str, int]:
        """The fields of GITS_<name>."""
        return self._registers.fields(f"GITS_{name}")

    def offsets(self, start: int, end: int) -> Iterator[int]:
        """Where each command from `start` up to `end` is; none if the ring has no such place."""
        size = self.size
        if max(start, end) < size:
            yield from ((start + done) % size for done in range(0, (end - start) % size, COMMAND_BYTES))

    def words(self, offset: int) -> Words:
        """A command. ExternalAbort: the ring is not in RAM."""
        address = self.registers("CBASER")["Physical_Address"] + offset
        return tuple(self._memory.read_u64(address + 8 * word) for word in range(COMMAND_BYTES // 8))

    def command(self, offset: int) -> tuple[str, dict[str, int]]:
        """A command, `decoded`; an unknown one, too, if the ring is not in RAM."""
        try:
            return decoded(self.words(offset), self._registers.architecture)
        except ExternalAbort:
            return UNKNOWN, {}

    def after(self, offset: int) -> int:
        """Where the command is that follows."""
        return (offset + COMMAND_BYTES) % self.size

    @property
    def size(self) -> int:
        """Its bytes."""
        return queue_bytes(self.registers("CBASER"))


def decoded(words: Words, architecture: str) -> tuple[str, dict[str, int]]:
    """Mnemonic and fields of a command; `UNKNOWN` and none, if the architecture has none of its opcode."""
    try:
        return decode_command(words, architecture)
    except ValueError:
        return UNKNOWN, {}
