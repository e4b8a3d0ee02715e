# SPDX-License-Identifier: Apache-2.0
"""Two machines with the same tables at the same addresses: the model, and QEMU's. Software here is register writes.

The addresses are in the RAM of QEMU's `virt` machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gicmodel.benchmarks.harness import PeerMissing, require
from gicmodel.config import GicConfig
from gicmodel.fuzzing.peers.qemu.process import ITS_BASE, RAM_BASE, QemuMissing, QemuProcess
from gicmodel.hardware import Bus, Gic
from gicmodel.lab.geometry import Geometry
from gicmodel.lab.lab import Lab, Software
from gicmodel.lab.placement import Placement, TablePlace
from gicmodel.layouts.commands import COMMAND_BYTES, encode_many
from gicmodel.layouts.its_tables import CTE, DTE
from gicmodel.layouts.lpi_tables import FIRST_LPI, LPI_CONFIGURATION
from gicmodel.layouts.registers.its import GITS_CREADR
from gicmodel.layouts.table import TableType
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


def placement(config: GicConfig) -> Placement:
    """Flat tables of 64 KiB pages, far enough apart for any machine that is measured."""
    vpes = TableType.VPES.entry(config.v41)
    places = ((DTE, DEVICE_TABLE, 8), (CTE, COLLECTION_TABLE, 8), (vpes, VPE_TABLE, 32 if config.v41 else 8))
    tables = tuple(TablePlace.of(Geometry(2, False, pages), layout, address) for layout, address, pages in places)
    return Placement(
        lpi_configuration=CONFIGURATION,
        pending_tables=tuple(PENDING + rd * PENDING_STRIDE for rd in range(config.redistributors)),
        queues=(QUEUE,),
        queue_bytes=MIB,
        tables=(tables,),
        itts=tuple(ITTS + PAGE * device for device in range(DEVICES)),
        vpts=(VPTS,),
        vconfs=(VCONFIGURATION,),
        vpe_configuration=tables[2] if config.v41 else None,
    )


def booted_model(config: GicConfig, its_base: int | None = None) -> Lab:
    """The model, its ITS and redistributors enabled, collection n at redistributor n, devices 0..63 mapped."""
    gic = Gic(config, GuestMemory(RAM_BASE, RAM_BYTES))
    model = Lab(gic, Bus(gic, its_base=its_base), placement(config), ptz=0)
    furnish(model)
    return model


@contextmanager
def booted_twins() -> Iterator[tuple[Lab, Software]]:
    """The model with QEMU's choices, and QEMU, booted alike. PeerMissing without QEMU."""
    config = GicConfig.qemu("4.0", redistributors=REDISTRIBUTORS)
    try:
        process = QemuProcess(4, REDISTRIBUTORS)
    except QemuMissing as reason:
        raise PeerMissing(str(reason)) from reason
    with process:
        model = booted_model(config, ITS_BASE)
        qemu = Software(config, process, model.bus.base, process.memory, model.placement, ptz=0)
        qemu.boot()
        furnish(qemu)
        yield model, qemu


def furnish(board: Software) -> None:
    """Every LPI and vLPI enabled, collections and devices mapped."""
    configured = bytes([ENABLED_BYTE]) * ((1 << board.config.intid_bits) - FIRST_LPI)
    board.memory.write(CONFIGURATION, configured)
    board.memory.write(VCONFIGURATION, configured)
    cpus, devices = np.arange(board.config.redistributors), np.arange(DEVICES)
    architecture = board.config.architecture
    itts = np.array(board.placement.itts)
    run(board, encode_many("MAPC", architecture, ICID=cpus, RDbase=cpus, V=1))
    run(board, encode_many("MAPD", architecture, DeviceID=devices, Size=DEVICE_EVENTS_BITS - 1, ITT_addr=itts, V=1))


def load_queue(board: Software, packets: Packets) -> None:
    """An empty queue whose next commands are uint64 [n, 4] packets, not published yet."""
    board.enable_its(0, False)
    board.memory.write(QUEUE, packets.tobytes())
    board.start_queue(0)


def publish(board: Software, packets: Packets) -> None:
    """One write of GITS_CWRITER, which executes what `load_queue` left: its Offset is where it says, from bit 0 on."""
    board.its[0].write("GITS_CWRITER", len(packets) * COMMAND_BYTES)


def executed(board: Software, packets: Packets) -> None:
    """Raise Unproven unless the queue has run to its end."""
    creadr = GITS_CREADR.pack(Offset=len(packets) * COMMAND_BYTES)
    require(board.its[0].read("GITS_CREADR") == creadr, "GITS_CREADR after the last command")


def run(board: Software, packets: Packets) -> None:
    """Execute any number of commands, a queue at a time."""
    for start in range(0, len(packets), QUEUE_COMMANDS):
        some = packets[start : start + QUEUE_COMMANDS]
        load_queue(board, some)
        publish(board, some)
        executed(board, some)
