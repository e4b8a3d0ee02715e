# SPDX-License-Identifier: Apache-2.0
"""QEMU as a peer: GICv3 and GICv4.0 with QEMU's choices, and what qtest can see, which is registers and RAM.

Left out is what `differences` says QEMU takes differently, and what qtest has no access to: CPU interfaces, and
messages of another device than 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from gicmodel.config import FIRST_SPI, GicConfig
from gicmodel.driver.errors import DriverError
from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.peers.peer import Divergence, HardwareComparison, HardwarePeer
from gicmodel.fuzzing.peers.qemu.differences import avoided
from gicmodel.fuzzing.peers.qemu.process import QemuMissing, QemuProcess, find_binary
from gicmodel.fuzzing.peers.qemu.twins import QUEUE_BYTES, UNMAPPED, Difference, Twins
from gicmodel.fuzzing.programs.draw import commands_for, draw_packets, draw_steps
from gicmodel.fuzzing.programs.hardware import INTIDS, GicMachine, draw_geometry
from gicmodel.fuzzing.programs.program import CommandWords, Event, Step, runs
from gicmodel.fuzzing.programs.universe import Universe, command_of, words
from gicmodel.lab import tables_seen
from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.memory import ExternalAbort
from gicmodel.spec.distributor import REGISTERS

_QUEUED = 1000
_PART = 1000
"""Commands between two mappings of the whole universe."""
_AFTER_FAULT = 40
"""Commands of a part that find an ITT outside RAM; a queue that stalls loses the rest of its commands."""
_MOVES_VPES = frozenset({"VMAPP", "VMOVP"})
_BYTES = (0xA1, 0xA0)
"""A vLPI that is enabled, and one that is not: whether PendingLast becomes 1."""


class AgainstQemu(HardwareComparison):
    """The hardware in this process, and an emulator that ends with the comparison."""

    def __init__(self, machine: GicMachine) -> None:
        config = machine.config
        self._emulator = QemuProcess(int(config.architecture[0]), config.redistributors)
        try:
            self.twins = Twins(self._emulator, config, machine.geometry)
        except BaseException:
            self._emulator.close()
            raise
        self.universe = self.twins.universe
        self.lab = self.twins
        self.outcomes = Counter()

    def run(self, steps: Sequence[Step]) -> None:
        """After each run of commands the registers are compared."""
        for step in runs(steps):
            if isinstance(step, Event):
                if does := _DOES.get(step.verb):
                    does(self.twins, *step.values)
            else:
                self._push(step[1])
                _agree([*self.twins.stalls, *self.twins.different_registers()])

    def check(self) -> None:
        """Registers, and every byte of RAM that the hardware may write."""
        _agree(self.twins.differences())

    def close(self) -> None:
        """End the emulator."""
        self._emulator.close()

    def _push(self, commands: list[CommandWords]) -> None:
        """Execute those commands that QEMU is not known to take differently, and count what became of them."""
        decoded = [(encoded, command_of(encoded, self.twins.config.architecture)) for encoded in commands]
        kept = [(encoded, command[0]) for encoded, command in decoded if not avoided(*command)]
        for start in range(0, len(kept), _QUEUED):
            part = kept[start : start + _QUEUED]
            first = self.twins.creadr(0)
            self.twins.take_errors()
            done = self.twins.run_words(np.array([encoded for encoded, _ in part], np.uint64))
            places = [(error.offset - first) % QUEUE_BYTES // COMMAND_BYTES for error in self.twins.gic.errors]
            numbers = dict(zip(places, (error.number for error in self.twins.take_errors()), strict=True))
            self.outcomes.update((part[index][1], numbers.get(index, 0)) for index in range(done))


def _agree(differences: Sequence[Difference]) -> None:
    """Raise Divergence for the first difference."""
    for where, model, qemu in differences[:1]:
        what = f"RAM at {where}" if where.startswith("0x") else where
        raise Divergence(what, f"hardware {model:#x}", f"QEMU {qemu:#x}")


# What software does between commands. Twins start a stalled queue anew, so that there is nothing to retry.


def _translate(twins: Twins, _its: int, device_id: int, event_id: int) -> None:
    if device_id == 0:
        twins.message(event_id)


def _configure_virtual(twins: Twins, vconf: int, vintid: int, byte: int) -> None:
    if twins.config.virtual:
        twins.configure_vlpi(twins.universe.vconfs[vconf], vintid, byte)


def _enable_lpis(twins: Twins, rd: int, enable: int, ptz: int) -> None:
    twins.enable_lpis(rd, False)
    if enable:
        twins.enable_lpis(rd, True, bool(ptz))


def _zero_itt(twins: Twins, itt: int) -> None:
    address = twins.universe.itts[itt]
    if not any(device.itt == address for device in tables_seen.devices(twins, 0).values()):
        twins.zero_itt(address)


def _schedule(twins: Twins, rd: int, vpt: int, vconf: int, vintid_bits: int) -> None:
    if twins.config.virtual:
        twins.make_resident(rd, twins.universe.vpts[vpt], twins.universe.vconfs[vconf], vintid_bits)


def _deschedule(twins: Twins, rd: int, _doorbell: int, _pending_last: int) -> None:
    if rd in twins.residents():
        twins.deschedule(rd, doorbell=False, pending_last=False)


def _enable_its(twins: Twins, _its: int, _enable: int) -> None:
    twins.renew_queue()


def _sleep(twins: Twins, rd: int, asleep: int) -> None:
    twins.redistributors[rd].set("GICR_WAKER", ProcessorSleep=asleep)


def _write_gicr(name: str, twins: Twins, rd: int, number: int, value: int) -> None:
    if number < FIRST_SPI // REGISTERS[name].intids:
        twins.redistributors[rd].write(f"GICR_{name}{number}", value)


def _write_gicd(name: str, twins: Twins, number: int, value: int) -> None:
    if number < INTIDS // REGISTERS[name].intids:
        twins.distributor.write(f"GICD_{name}{number}", value)


def _write_irouter(twins: Twins, intid: int, value: int) -> None:
    if intid >= FIRST_SPI:
        twins.distributor.write(f"GICD_IROUTER{intid}", value)


_DOES: dict[str, Callable[..., None]] = {
    "set_line": Twins.set_line,
    "set_priority": Twins.set_priority,
    "sleep": _sleep,
    "GICD_CTLR": lambda twins, value: twins.distributor.write("GICD_CTLR", value & 0xFFFF_FFFF),
    "GICD_IROUTER": _write_irouter,
    **{f"GICR_{name}": partial(_write_gicr, name) for name in REGISTERS},
    **{f"GICD_{name}": partial(_write_gicd, name) for name in REGISTERS},
    "translate": _translate,
    "configure_virtual": _configure_virtual,
    "enable_lpis": _enable_lpis,
    "zero_itt": _zero_itt,
    "schedule_v40": _schedule,
    "deschedule": _deschedule,
    "enable_its": _enable_its,
}


class QemuPeer(HardwarePeer):
    """`qemu-system-aarch64`, one process for each comparison."""

    name: ClassVar[str] = "qemu"
    architectures: ClassVar[tuple[str, ...]] = ("3", "4.0")
    chunk: ClassVar[int] = 10_000

    def require(self) -> None:
        """QEMU."""
        try:
            find_binary()
        except QemuMissing as missing:
            raise UnusableInput(f"cannot compare with QEMU: {missing}") from None

    def machine(self, random: np.random.Generator, architecture: str) -> GicMachine:
        """Two to five redistributors, and any geometry."""
        config = _config_like_qemu(architecture, int(random.integers(2, 6)))
        return GicMachine(config, draw_geometry(random))

    def start(self, machine: GicMachine) -> AgainstQemu:
        """Boot both. Raises UnusableInput without QEMU, and for a machine that is not QEMU's."""
        config = machine.config
        if config.architecture not in self.architectures:
            raise UnusableInput(f"QEMU has no GICv{config.architecture}: one of {', '.join(self.architectures)}")
        if config != _config_like_qemu(config.architecture, config.redistributors):
            raise UnusableInput("a config for QEMU has its choices (GicConfig.qemu), and any number of redistributors")
        try:
            return AgainstQemu(machine)
        except QemuMissing as missing:
            raise UnusableInput(f"cannot compare with QEMU: {missing}") from None
        except (DriverError, ExternalAbort, MemoryError) as error:
            raise UnusableInput(f"a machine that is too large for fuzzing: {error}") from error

    def steps(self, random: np.random.Generator, universe: Universe, commands: int) -> list[Step]:
        """Parts that each map the universe first; in every other no vPE moves, so that PendingLast can be compared."""
        steps: list[Step] = []
        for number, first in enumerate(range(0, commands, _PART)):
            count = min(_PART, commands - first)
            if number % 2:
                steps += self._at_home(random, universe, draw_steps(random, universe, count, _MOVES_VPES))
            else:
                steps += draw_steps(random, universe, count)
            steps += self._fault(random, universe)
        return steps

    def _at_home(self, random: np.random.Generator, universe: Universe, steps: list[Step]) -> Iterator[Step]:
        """The steps, with vPEs that come and go on the redistributors where `boot_steps` maps them."""
        homes = [(index % universe.config.redistributors, index) for index in range(len(universe.vpts))]
        for step in [*(Event("deschedule", (rd, 0, 0)) for rd, _ in homes), *steps]:
            yield step
            if isinstance(step, Event) and step.verb == "recover":
                rd, vpt = homes[int(random.integers(len(homes)))]
                vconf, byte = int(random.integers(len(universe.vconfs))), _BYTES[int(random.integers(len(_BYTES)))]
                yield Event("deschedule", (rd, 0, 0))
                yield from (Event("configure_virtual", (vconf, vintid, byte)) for vintid in universe.intids)
                yield Event("schedule_v40", (rd, vpt, vconf, universe.config.intid_bits))

    def _fault(self, random: np.random.Generator, universe: Universe) -> list[Step]:
        """A device gets an ITT outside RAM, and its commands stall."""
        device = int(random.choice(np.array(universe.device_ids)))
        mapd = words(
            ("MAPD", {"DeviceID": device, "Size": 3, "ITT_addr": UNMAPPED, "V": 1}), universe.config.architecture
        )
        packets = draw_packets(random, universe, _AFTER_FAULT).tolist()
        return [step for packet in (mapd, *packets) for step in (*commands_for(0, [packet]), Event("retry", (0, 0)))]


def _config_like_qemu(architecture: Any, redistributors: int) -> GicConfig:
    return GicConfig.qemu(architecture, redistributors=redistributors)


PEER = QemuPeer()
