# SPDX-License-Identifier: Apache-2.0
"""The command queue of one ITS, as software keeps it (DDI0601 GITS_CBASER, GITS_CWRITER, GITS_CREADR)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from gicmodel.driver.commands import Commands
from gicmodel.driver.errors import DriverError
from gicmodel.driver.port import DriverRegisters, Fields
from gicmodel.layouts.commands import COMMAND_BYTES, OPCODES, format_command
from gicmodel.memory import GuestMemory

QUEUE_BYTES = 0x1_0000
"""Linux' ITS_CMD_QUEUE_SZ, 2048 commands; 64 KiB aligned, because GITS_CBASER bits [15:12] should be zero."""


class CommandQueue:
    """The ring at `base`, of which the ITS has read everything when no batch is held.

    Inside `hold`, commands stay in the ring until it is full or `flush` is called. `name` is for the message about a
    command on which the ITS stalls.
    """

    def __init__(self, registers: DriverRegisters, memory: GuestMemory, base: int, name: str) -> None:
        self.base = base
        self._holds = 0
        self._registers = registers
        self._memory = memory
        self._name = name
        self._slots = memory.view(base, QUEUE_BYTES // 8, np.uint64).reshape(-1, COMMAND_BYTES // 8)
        self._next = 0
        self._taken = 0
        self._opcodes = np.zeros(256, np.int64)

    @property
    def commands_issued(self) -> Counter[str]:
        """How many commands of each mnemonic were written to the ring."""
        return Counter({mnemonic: int(self._opcodes[opcode]) for mnemonic, opcode in OPCODES.items()})

    def send(self, *blocks: Commands) -> None:
        """Write commands to the ring and, unless held, wait until the ITS has read them all; errors as `flush`."""
        block = np.concatenate(blocks)
        self._opcodes += np.bincount((block[:, 0] & np.uint64(0xFF)).astype(np.int64), minlength=256)
        self._write(block)
        if not self._holds:
            self.flush()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep commands in the ring, and publish them when the outermost block ends, also by an error."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if not self._holds:
                self.flush()

    def flush(self) -> None:
        """Ring GITS_CWRITER for every command in the ring and wait until GITS_CREADR is past the last.

        Raises:
            DriverError: EIO, the queue stalled on a command; ETIMEDOUT, GITS_CREADR stands still.
        """
        if self._taken == self._next:
            return
        end = self._next * COMMAND_BYTES
        self._registers.write("GITS_CWRITER", end)
        creadr = self._registers.poll("GITS_CREADR", lambda fields: bool(fields["Stalled"]) or fields["Offset"] == end)
        if creadr["Stalled"]:
            raise DriverError("EIO", self._stalled(creadr))
        self._taken = self._next

    def _write(self, block: Commands) -> None:
        while len(block):
            if (room := self._room()) == 0:
                self.flush()
                continue
            run = min(len(block), room, len(self._slots) - self._next)
            self._slots[self._next : self._next + run] = block[:run]
            self._memory.mark(self.base + self._next * COMMAND_BYTES, run * COMMAND_BYTES)
            self._next = (self._next + run) % len(self._slots)
            block = block[run:]

    def _room(self) -> int:
        """One slot stays empty: GITS_CWRITER equal to GITS_CREADR means an empty queue."""
        return len(self._slots) - 1 - (self._next - self._taken) % len(self._slots)

    def _stalled(self, creadr: Fields) -> str:
        words = self._slots[creadr["Offset"] // COMMAND_BYTES]
        return f"{self._name} stalled at {creadr['Offset']:#x} on {format_command(words, self._registers.architecture)}"
