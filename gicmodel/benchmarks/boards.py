# SPDX-License-Identifier: Apache-2.0
"""Two machines with the same tables at the same addresses: the model, and QEMU's. Software here is register writes.

The addresses are in the RAM of QEMU's `virt` machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gicmodel.benchmarks.harness import PeerMissing, require
from gicmodel.config import GicConfig
from gicmodel.fuzzing.peers.qemu.process import RAM_BASE, QemuMissing, QemuProcess
from gicmodel.hardware import Gic
from gicmodel.layouts.commands import COMMAND_BYTES, encode_many
from gicmodel.layouts.lpi_tables import FIRST_LPI, LPI_CONFIGURATION
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER, GITS_CREADR, GITS_CTLR, GITS_CWRITER
from gicmodel.layouts.registers.redistributor import GICR_CTLR, GICR_PENDBASER, GICR_PROPBASER, GICR_VPROPBASER
from gicmodel.memory import GuestMemory

MIB = 1 << 20
PAGE = 1 << 16
RAM_BYTES = 1 << 30
QUEUE, DEVICE_TABLE, COLLECTION_TABLE, VPE_TABLE, CONFIGURATION, VCONFIGURATION, PENDING, ITTS, VPTS = (
    RAM_BASE + n * MIB for n in (0, 1, 2, 4, 16, 32, 48, 64, 128)
)
PENDING_STRIDE = 1 << 17
"""From one redistributor's pending table to the next: room for 20-bit INTIDs."""

QUEUE_COMMANDS = MIB // COMMAND_BYTES - 1
"""As many as one CWRITER write can publish."""

DEVICES, DEVICE_EVENTS_BITS = 64, 10
REDISTRIBUTORS = 4
ENABLED_BYTE = LPI_CONFIGURATION.pack(Priority=0x28, Enable=1)

Packets = NDArray[np.uint64]
Fields = dict[str, Any]
"""Arrays, or scalars, by operand of a command."""


@cache
def place(name: str, architecture: str) -> tuple[int, int]:
    """(offset in its frames, bytes) of a register."""
    entry = register(name, architecture)
    return entry.offset, entry.bits // 8


class Board(Protocol):
    """What both machines can do."""

    config: GicConfig

    def write_its(self, name: str, value: int) -> None: ...

    def read_its(self, name: str) -> int: ...

    def write_redistributor(self, number: int, name: str, value: int) -> None: ...

    def read_redistributor(self, number: int, name: str) -> int: ...

    def write_memory(self, address: int, data: bytes) -> None: ...

    def read_memory(self, address: int, length: int) -> bytes: ...

    def zero_memory(self, address: int, length: int) -> None: ...


class ModelBoard:
    """The model over its RAM."""

    def __init__(self, config: GicConfig) -> None:
        self.config = config
        self.memory = GuestMemory(RAM_BASE, RAM_BYTES)
        self.gic = Gic(config, self.memory)
        self.write_memory, self.read_memory = self.memory.write, self.memory.read
        self.zero_memory = self.memory.zero

    def write_its(self, name: str, value: int) -> None:
        offset, size = place(name, self.config.architecture)
        self.gic.its[0].write(offset, value, size)

    def read_its(self, name: str) -> int:
        return self.gic.its[0].read(*place(name, self.config.architecture))

    def write_redistributor(self, number: int, name: str, value: int) -> None:
        offset, size = place(name, self.config.architecture)
        self.gic.redistributors[number].write(offset, value, size)

    def read_redistributor(self, number: int, name: str) -> int:
        return self.gic.redistributors[number].read(*place(name, self.config.architecture))


class QemuBoard:
    """QEMU's `virt` machine over qtest."""

    def __init__(self, peer: QemuProcess, config: GicConfig) -> None:
        self.config = config
        self._peer = peer

    def write_its(self, name: str, value: int) -> None:
        offset, size = place(name, self.config.architecture)
        self._peer.write(self._peer.its(offset), value, size)

    def read_its(self, name: str) -> int:
        offset, size = place(name, self.config.architecture)
        return self._peer.read(self._peer.its(offset), size)

    def write_redistributor(self, number: int, name: str, value: int) -> None:
        offset, size = place(name, self.config.architecture)
        self._peer.write(self._peer.redistributor(number, offset), value, size)

    def read_redistributor(self, number: int, name: str) -> int:
        offset, size = place(name, self.config.architecture)
        return self._peer.read(self._peer.redistributor(number, offset), size)

    def write_memory(self, address: int, data: bytes) -> None:
        self._octets(address, len(data))[:] = np.frombuffer(data, np.uint8)

    def read_memory(self, address: int, length: int) -> bytes:
        return self._octets(address, length).tobytes()

    def zero_memory(self, address: int, length: int) -> None:
        self._octets(address, length)[:] = 0

    def _octets(self, address: int, length: int) -> NDArray[np.uint8]:
        return self._peer.ram[address - RAM_BASE :][:length]


def booted_model(config: GicConfig) -> ModelBoard:
    """The model, its ITS and redistributors enabled, collection n at redistributor n, devices 0..63 mapped."""
    board = ModelBoard(config)
    boot(board)
    return board


@contextmanager
def booted_twins() -> Iterator[tuple[ModelBoard, QemuBoard]]:
    """The model with QEMU's choices, and QEMU, booted alike. PeerMissing without QEMU."""
    config = GicConfig.qemu("4.0", redistributors=REDISTRIBUTORS)
    try:
        peer = QemuProcess(4, REDISTRIBUTORS)
    except QemuMissing as reason:
        raise PeerMissing(str(reason)) from reason
    with peer:
        twins = booted_model(config), QemuBoard(peer, config)
        boot(twins[1])
        yield twins


def boot(board: Board) -> None:
    """Tables, LPIs on, collections and devices."""
    vpe_pages = 32 if board.config.v41 else 8
    for number, table, pages in ((0, DEVICE_TABLE, 8), (1, COLLECTION_TABLE, 8), (2, VPE_TABLE, vpe_pages)):
        baser = GITS_BASER.pack(Valid=1, Physical_Address=table, Page_Size=2, Size=pages - 1)
        board.write_its(f"GITS_BASER{number}", baser)
    configured = bytes([ENABLED_BYTE]) * ((1 << board.config.intid_bits) - FIRST_LPI)
    board.write_memory(CONFIGURATION, configured)
    board.write_memory(VCONFIGURATION, configured)
    for rd in range(board.config.redistributors):
        _boot_redistributor(board, rd, vpe_pages)
    cpus, devices = np.arange(board.config.redistributors), np.arange(DEVICES)
    architecture = board.config.architecture
    itts = ITTS + PAGE * devices
    run(board, encode_many("MAPC", architecture, ICID=cpus, RDbase=cpus, V=1))
    run(board, encode_many("MAPD", architecture, DeviceID=devices, Size=DEVICE_EVENTS_BITS - 1, ITT_addr=itts, V=1))


def _boot_redistributor(board: Board, rd: int, vpe_pages: int) -> None:
    id_bits = board.config.intid_bits - 1
    board.write_redistributor(rd, "GICR_PROPBASER", GICR_PROPBASER.pack(Physical_Address=CONFIGURATION, IDbits=id_bits))
    board.write_redistributor(rd, "GICR_PENDBASER", GICR_PENDBASER.pack(Physical_Address=PENDING + rd * PENDING_STRIDE))
    board.write_redistributor(rd, "GICR_CTLR", GICR_CTLR.pack(EnableLPIs=1))
    if board.config.v41:
        vpropbaser = GICR_VPROPBASER.pack(Valid=1, Physical_Address=VPE_TABLE, Page_Size=2, Size=vpe_pages - 1)
        board.write_redistributor(rd, "GICR_VPROPBASER", vpropbaser)


def load_queue(board: Board, packets: Packets) -> None:
    """An empty queue whose next commands are uint64 [n, 4] packets, not published yet."""
    board.write_its("GITS_CTLR", 0)
    board.write_its("GITS_CBASER", GITS_CBASER.pack(Valid=1, Physical_Address=QUEUE, Size=MIB // 4096 - 1))
    board.write_its("GITS_CWRITER", 0)
    board.write_memory(QUEUE, packets.tobytes())
    board.write_its("GITS_CTLR", GITS_CTLR.pack(Enabled=1))


def publish(board: Board, packets: Packets) -> None:
    """One write of GITS_CWRITER, which executes what `load_queue` left."""
    board.write_its("GITS_CWRITER", GITS_CWRITER.pack(Offset=len(packets) * COMMAND_BYTES))


def executed(board: Board, packets: Packets) -> None:
    """Raise Unproven unless the queue has run to its end."""
    creadr = GITS_CREADR.pack(Offset=len(packets) * COMMAND_BYTES)
    require(board.read_its("GITS_CREADR") == creadr, "GITS_CREADR after the last command")


def run(board: Board, packets: Packets) -> None:
    """Execute any number of commands, a queue at a time."""
    for start in range(0, len(packets), QUEUE_COMMANDS):
        some = packets[start : start + QUEUE_COMMANDS]
        load_queue(board, some)
        publish(board, some)
        executed(board, some)
