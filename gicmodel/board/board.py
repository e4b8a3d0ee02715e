# SPDX-License-Identifier: Apache-2.0
"""The board: processing elements in turn over one RAM, a GIC, and devices, put together.

Time is instructions executed, one a tick of the generic timer, so that the same run gives the same bytes. One PE runs
at a time, for a quantum or until it waits; when all wait, time goes on to the next timer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from enum import Enum

import numpy as np

from gicmodel.board import addresses, pci, psci, timers
from gicmodel.board.cells import BOARD, FIRST_ROW, PE, PE_WORDS, Cells, row_at
from gicmodel.board.cpu import CannotGoOn, Cpu, forgotten_interrupts
from gicmodel.board.device import Device, check_map
from gicmodel.board.device_tree import DeviceTree, pair
from gicmodel.board.encodings import FREQUENCY
from gicmodel.board.frames import ITS, GicFrames, describe_gic, windows
from gicmodel.board.interface import Interface
from gicmodel.board.pci import Msix
from gicmodel.board.pl011 import Pl011
from gicmodel.board.smmu import SMMU, Smmu
from gicmodel.board.trace import Trace
from gicmodel.board.watch import Watch
from gicmodel.config import GicConfig, affinity_of
from gicmodel.hardware import Gic
from gicmodel.hardware.bus import Bus
from gicmodel.hardware.lines import Line
from gicmodel.memory import ExternalAbort, GuestMemory

QUANTUM, LONG_QUANTUM = 20_000, 1_000_000
"""Instructions that a PE executes before it is another's turn; the long one where there is no other, nor an ITS that
goes on in steps."""
_PFR0_EL1, _PFR0_EL2 = 0x11, 0x111
"""ID_AA64PFR0_EL1: AArch64 only at each exception level; FP and Advanced SIMD."""
_PFR0_GIC_SHIFT, _GIC_V3, _GIC_V41 = 24, 1, 3
_END_OF_TIME = 1 << 62
PCI_DEVICE, PCI_VECTORS = 1, 64
"""Of the only function: 00:01.0, RequesterID 8."""


class Ending(Enum):
    """Why a board stopped."""

    OFF = "the software powered off"
    RESET = "the software asked for a reset"
    EXPECTED = "the console showed what was expected"
    LEFT = "left"
    TIMED_OUT = "the time ran out"
    STUCK = "every PE waits, and nothing will come"
    BROKEN = "a PE cannot go on"


class Board:
    """A machine around a GIC and its RAM, which `new_gic` makes; EL2 is the software's with `el2`.

    `send` gets each octet of the console, `trace` each line that `gicmodel replay` reads. Devices can be added
    until PEs are made.

    Raises:
        UnusableInput: unicorn is not the release that the board knows, devices overlap, or the GIC cannot be traced.
    """

    def __init__(
        self,
        gic: Gic,
        *,
        el2: bool = False,
        send: Callable[[int], None] = lambda octet: None,
        trace: Callable[[str], object] | None = None,
    ) -> None:
        config = gic.config
        self.config = config
        self.el2 = el2
        self.gic = gic
        self.memory = gic.memory
        self.bus = Bus(gic, its_base=addresses.ITS_BASE)
        self.watch = Watch(gic) if trace is None else Trace(gic, trace)
        self.cells: Cells = np.zeros(FIRST_ROW + PE_WORDS * config.redistributors, np.uint64)
        self.cells[BOARD.pes], self.cells[BOARD.el2] = config.redistributors, el2
        self.cells[BOARD.pfr0] = _pfr0(config, el2)
        self.cells[BOARD.row] = row_at(0)
        self.frames = GicFrames(self.bus, self.watch, self._soon)
        self.uart = Pl011(addresses.UART_BASE, addresses.UART_INTID, send, self._spi(addresses.UART_INTID))
        self.smmu = Smmu(addresses.SMMU_BASE, addresses.SMMU_INTIDS[0], self.memory)
        self.function = Msix(PCI_DEVICE, PCI_VECTORS, self.message)
        window = pci.Window(addresses.PCI_WINDOW_BASE, addresses.PCI_WINDOW_BYTES, [self.function])
        bridge = pci.Ecam(addresses.ECAM_BASE, window, ITS, SMMU)
        self.devices: list[Device] = [*windows(self.frames), self.uart, self.smmu, window, bridge]
        self.cpus: list[Cpu] = []
        self.timers: list[timers.Timers] = []
        self.ending: Ending | None = None
        self.reason = ""
        self.gic.on_line(self._on_line)

    # Putting it together

    def add(self, device: Device) -> None:
        """Put a device at its addresses. Raises ValueError once there are PEs."""
        if self.cpus:
            raise ValueError("devices are added before PEs are made")
        self.devices.append(device)

    def message(self, device_id: int, address: int, data: int) -> None:
        """A device's MSI, through the SMMU. One that it refuses, or that comes to no register, is lost."""
        place = self.smmu.translate(device_id, address)
        if place is not None:
            self.watch.message(device_id, data)
            with suppress(ExternalAbort):
                self.frames.message(device_id, place, data)

    def device_tree(self, bootargs: str, initrd: tuple[int, int] | None = None) -> bytes:
        """What describes the board, flattened. `initrd` is from where to where one is."""
        tree = DeviceTree()
        tree.node("/", {"compatible": "gicmodel,board", "model": "gicmodel board"})
        tree.node("/chosen", {"bootargs": bootargs})
        if initrd is not None:
            tree.node("/chosen", {"linux,initrd-start": pair(initrd[0]), "linux,initrd-end": pair(initrd[1])})
        reg = [*pair(self.memory.base), *pair(self.memory.size)]
        tree.node(f"/memory@{self.memory.base:x}", {"device_type": "memory", "reg": reg})
        self._describe_cpus(tree)
        describe_gic(tree, self.bus, self.config, el2=self.el2)
        timers.describe(tree)
        for device in self.devices:
            device.describe(tree)
        return tree.blob()

    def power_on(self, entry: int, context: int) -> None:
        """Make the PEs, and let the first one begin at `entry` with `context` in X0. Raises UnusableInput."""
        self.make_cpus()
        self.cpus[0].power_on(entry, context)

    def restore_cells(self, cells: Cells) -> None:
        """Take time and timers as they were; what the board is, and where PEs' states lie, is as it is now.

        Raises ValueError: so much time cannot have passed.
        """
        for name in ("now", "instructions", "code_lines"):
            if int(value := cells[getattr(BOARD, name)]) >= _END_OF_TIME:
                raise ValueError(f"{name} of the board is {value}")
        rows = (row_at(cpu.number) + word for cpu in self.cpus for word in (PE.mpidr, PE.state))
        kept = [BOARD.row, BOARD.pes, BOARD.el2, BOARD.pfr0, BOARD.ram, *rows]
        own = self.cells[kept]
        self.cells[:] = cells
        self.cells[kept] = own

    # Running

    @property
    def now(self) -> int:
        """The time in ticks of `FREQUENCY`."""
        return int(self.cells[BOARD.now])

    @property
    def seconds(self) -> float:
        """The time in the guest's seconds."""
        return self.now / FREQUENCY

    @property
    def instructions(self) -> int:
        """How many were executed."""
        return int(self.cells[BOARD.instructions])

    def run(self, seconds: float = math.inf, on_turn: Callable[[float], Ending | None] = lambda wait: None) -> Ending:
        """Run until something ends it, for at most so many seconds of the host.

        After each turn of all PEs `on_turn` is called, with the seconds for which nothing will happen (0: the PEs have
        work), which it may wait or not; what it returns ends the run.
        """
        end = time.monotonic() + seconds
        with forgotten_interrupts() as forgotten:
            while self.ending is None:
                busy = [self._turn(cpu) for cpu in self.cpus if cpu.is_on and self.ending is None]
                if forgotten:
                    raise forgotten[0]
                wait = 0.0 if any(busy) or self.ending else self._idle()
                left = end - time.monotonic()
                ending = on_turn(min(wait, max(left, 0.0)))
                if self.ending is None:
                    self.ending = ending or (Ending.TIMED_OUT if left <= 0 else None)
                if self.ending is None and wait == math.inf and not self.uart.received:
                    self.ending = Ending.STUCK
        ended, self.ending = self.ending, None
        return ended

    def _turn(self, cpu: Cpu) -> bool:
        """Let a PE run for a quantum; whether it did anything."""
        stepping = self.config.commands_per_step is not None
        alone = not stepping and sum(other.is_on for other in self.cpus) == 1
        budget = self.now + (LONG_QUANTUM if alone else QUANTUM)
        own, row, ran = self.timers[cpu.number], row_at(cpu.number), False
        while cpu.is_on and self.ending is None and self.now < budget:
            own.update()
            if self.cells[row + PE.inputs]:
                cpu.is_waiting = False
            if cpu.is_waiting:
                break
            due = own.next()
            ran = True
            try:
                cpu.run(budget if due is None else min(budget, due))
            except CannotGoOn as error:
                self.ending, self.reason = Ending.BROKEN, str(error)
            self.frames.settle()
            if stepping:
                self.watch.step()
        return ran

    def _idle(self) -> float:
        """All PEs wait: go on to the next timer. The seconds until then; infinity: there is none."""
        if self.config.commands_per_step is not None and self.watch.step():
            return 0.0
        dues = [due for cpu in self.cpus if cpu.is_on and (due := self.timers[cpu.number].next()) is not None]
        if not dues:
            return math.inf
        ticks = min(dues) - self.now
        self.cells[BOARD.now] = min(dues)
        return ticks / FREQUENCY

    # What PEs and devices ask for

    def _soon(self) -> None:
        """The PE that runs is to stop at its next block. Unicorn executes an access again if it is stopped in it."""
        self.cells[BOARD.deadline] = 0

    def _on_line(self, pe: int, line: Line, level: bool) -> None:
        at = row_at(pe) + PE.inputs
        inputs = int(self.cells[at])
        self.cells[at] = inputs | 1 << line if level else inputs & ~(1 << line)

    def _spi(self, intid: int) -> Callable[[bool], None]:
        return lambda level: self.gic.distributor.set_line(intid, level)

    def _firmware(self, cpu: Cpu, arguments: list[int]) -> int | None:
        answer = psci.call(self.cpus, arguments)
        if isinstance(answer, int):
            return answer
        if answer is psci.Power.STANDBY:
            cpu.is_waiting = True
            cpu.stop()
            return 0
        self.ending = {psci.Power.OFF: Ending.OFF, psci.Power.RESET: Ending.RESET}.get(answer)
        for one in self.cpus if self.ending else [cpu]:
            one.is_on = False
        cpu.stop()
        return None

    def make_cpus(self) -> None:
        """Make the PEs, all of them off. Raises UnusableInput."""
        check_map((device.name, device.base, device.size) for device in self.devices)
        interface = Interface(self.gic, self.watch)
        for number, redistributor in enumerate(self.gic.redistributors):
            cpu = Cpu(number, self.memory, self.devices, self.cells, el2=self.el2)
            cpu.on_system_register = interface.access
            cpu.on_firmware_call = self._firmware
            self.cpus.append(cpu)
            self.timers.append(timers.Timers(self.cells, row_at(number), redistributor.set_line))

    def _describe_cpus(self, tree: DeviceTree) -> None:
        tree.node("/cpus", {"#address-cells": 1, "#size-cells": 0})
        for number in range(self.config.redistributors):
            reg = affinity_of(number)
            tree.node(
                f"/cpus/cpu@{reg:x}",
                {"device_type": "cpu", "compatible": "arm,cortex-a72", "reg": reg, "enable-method": "psci"},
            )
        method = "smc" if self.el2 else "hvc"
        tree.node("/psci", {"compatible": ["arm,psci-1.0", "arm,psci-0.2"], "method": method})


def new_gic(config: GicConfig, memory_bytes: int) -> Gic:
    """A GIC with the board's RAM, and its redistributors where the board has room for them, unless `config` says where.

    Raises ValueError: no RAM has so many bytes.
    """
    if config.redistributor_base == GicConfig.redistributor_base:
        config = replace(config, redistributor_base=addresses.REDISTRIBUTOR_BASE)
    return Gic(config, GuestMemory(addresses.RAM_BASE, memory_bytes))


def _pfr0(config: GicConfig, el2: bool) -> int:
    gic = _GIC_V41 if config.v41 else _GIC_V3
    return (_PFR0_EL2 if el2 else _PFR0_EL1) | gic << _PFR0_GIC_SHIFT
