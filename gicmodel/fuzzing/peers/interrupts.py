# SPDX-License-Identifier: Apache-2.0
"""SGIs, PPIs, SPIs and CPU interfaces of a pair: each function does one thing to both, and compares what it returns.

What the machine does not have, such as an SPI beyond its last, does nothing on either side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from gicmodel.config import FIRST_PPI, FIRST_SPI
from gicmodel.fuzzing.peers.peer import agree
from gicmodel.fuzzing.programs.hardware import INTIDS
from gicmodel.fuzzing.programs.program import Event
from gicmodel.hardware.kernels.state import DIST_AT, DIST_WORDS, RD, RD_WORDS, rd_at
from gicmodel.hardware.lines import Line
from gicmodel.layouts.registers.by_name import register, system_register
from gicmodel.spec import distributor
from gicmodel.spec.cpu_interface import route
from gicmodel.spec.distributor import REGISTERS
from gicmodel.spec.gic import READS, TAKES, WRITES

if TYPE_CHECKING:
    from gicmodel.fuzzing.peers.pair import Pair

_SIGNALLED_HOW = ("PMR", "BPR0", "BPR1", "CTLR", "AP0R0", "AP1R0")
_OF_ONE_PE = {
    *("set_lpi", "clear_lpi", "acknowledge", "enable_lpis", "take", "set_line", "set_priority"),
    *(f"GICR_{name}" for name in REGISTERS),
    *(f"read_{name}" for name in READS if not name.startswith("ICV_IAR")),
    *(f"write_{interface}_{name}_EL1" for interface in ("ICC", "ICV") for name in _SIGNALLED_HOW),
    *(f"write_{name}" for name in WRITES if name.startswith("ICH")),
}
"""Events of a redistributor that change what its PE sees, at most: of no SPI, nor of a VPT that others may have."""
LIST_REGISTERS = {f"ICH_LR{number}_EL2": number for number in range(16)}
_HIGHEST = {"ICC_HPPIR0_EL1", "ICC_HPPIR1_EL1", "ICV_HPPIR0_EL1", "ICV_HPPIR1_EL1"}
"""Registers that show LPIs and vLPIs, too."""


def check_lines(pair: Pair, event: Event | None = None) -> None:
    """What each PE has been told of its lines is what it must see; unless `concerned` in an `event`, as before it."""
    if not pair.oracle.may_signal:
        pair.lines = [set() for _ in pair.told]
    else:
        for pe in range(len(pair.told)) if event is None else concerned(pair, event):
            if is_away(pair, pe):
                pair.lab.redistributors[pe].write("GICR_STATUSR", 0)
            pair.lines[pe] = pair.oracle.lines(pe)
    if pair.told != pair.lines:
        pe = next(pe for pe, told in enumerate(pair.told) if told != pair.lines[pe])
        agree(f"lines of {pe}", pair.told[pe], pair.lines[pe])


def concerned(pair: Pair, event: Event) -> Sequence[int]:
    """The PEs whose lines an event may change: its own, the one that an SPI goes to, or all."""
    if event.verb in ("set_line", "set_priority") and event.values[1] in pair.oracle.spis.intids:
        pe = route(pair.oracle, event.values[1])
        return () if pe is None else (pe,)
    return event.values[:1] if event.verb in _OF_ONE_PE else range(len(pair.told))


def is_away(pair: Pair, pe: int) -> bool:
    """GICv4.0: whether a VPT is resident here and elsewhere, or its vPE is not mapped here alone (UNPREDICTABLE).

    Then nobody is told of what becomes pending or is taken, before this redistributor is accessed.
    """
    residencies = [redistributor.residency for redistributor in pair.oracle.redistributors]
    if pair.config.architecture != "4.0" or (here := residencies[pe]) is None:
        return False
    vpes = (vpe for its in pair.oracle.its for vpe in its.vpes.values())
    homes = {vpe.redistributor for vpe in vpes if vpe.vpt == here.vpt}
    return homes != {pe} or sum(one is not None and one.vpt == here.vpt for one in residencies) > 1


def check_registers(pair: Pair) -> None:
    """Every register of SGIs, PPIs, SPIs and CPU interfaces that can be read without changing anything, and lines.

    Those that LPIs do not change need no look while the state behind them is on both sides as it was at the last one.
    """
    for pe in range(pair.config.redistributors):
        high = {line.name for line in Line if pair.lab.gic.line(pe, line)}
        agree(f"lines of {pe} that were not told", high, pair.oracle.lines(pe))
        for name in sorted(_HIGHEST):
            read_system(name, pair, pe)
    state = _state(pair)
    if state != pair.agreed_on:
        _check_all_registers(pair)
        pair.agreed_on = state


def _state(pair: Pair) -> bytes:
    """The hardware's words behind the registers of SGIs, PPIs, SPIs and CPU interfaces."""
    chip = pair.lab.gic.machine.chip
    places = [rd_at(rd) for rd in range(pair.config.redistributors)]
    words = [chip[DIST_AT : DIST_AT + DIST_WORDS], *(chip[at + RD.igroup : at + RD_WORDS] for at in places)]
    return b"".join(part.tobytes() for part in words)


def _check_all_registers(pair: Pair) -> None:
    gicd, spis = pair.lab.distributor, pair.oracle.spis
    routes = {f"GICD_IROUTER{intid}": pair.oracle.read_irouter(intid) for intid in spis.routes}
    for name, fields in ({"GICD_CTLR": pair.oracle.read_gicd_ctlr()} | routes).items():
        agree(name, gicd.read(name), gicd.layout(name).pack(**fields))
    frames = [("GICD", "", gicd, spis, FIRST_SPI + pair.config.spis)]
    for rd, gicr in enumerate(pair.lab.redistributors):
        frames.append(("GICR", f" of {rd}", gicr, pair.oracle.pes[rd].bank, FIRST_SPI))
    for name, kind in REGISTERS.items():
        for frame, where, registers, bank, intids in frames:
            for number in range(intids // kind.intids):
                seen = registers.read(f"{frame}_{name}{number}")
                agree(f"{frame}_{name}{number}{where}", seen, distributor.read(bank, name, number))
    for name in sorted(READS.keys() - TAKES - _HIGHEST):
        for rd in range(pair.config.redistributors):
            read_system(name, pair, rd)


# Inputs and registers of the distributor and the redistributors.


def set_line(pair: Pair, rd: int, intid: int, level: int) -> None:
    """The input of a PPI or SPI; that of the maintenance interrupt is the CPU interface's own."""
    if FIRST_PPI <= intid < FIRST_SPI and intid != pair.config.maintenance_intid:
        pair.lab.gic.redistributors[rd].set_line(intid, bool(level))
    elif intid in pair.oracle.spis.intids:
        pair.lab.gic.distributor.set_line(intid, bool(level))
    else:
        return
    pair.oracle.set_line(rd, intid, bool(level))


def set_priority(pair: Pair, rd: int, intid: int, priority: int) -> None:
    """Write one byte of a GICR_IPRIORITYR<n> or GICD_IPRIORITYR<n>."""
    frame, name = (pair.lab.gic.redistributors[rd], "GICR") if intid < FIRST_SPI else (pair.lab.gic.distributor, "GICD")
    frame.write(register(f"{name}_IPRIORITYR0").offset + intid, priority, 1)
    pair.oracle.set_priority(rd, intid, priority)


def sleep(pair: Pair, rd: int, asleep: int) -> None:
    """Write GICR_WAKER.ProcessorSleep."""
    pair.lab.redistributors[rd].set("GICR_WAKER", ProcessorSleep=asleep)
    pair.oracle.redistributors[rd].asleep = bool(asleep)


def write_gicd_ctlr(pair: Pair, value: int) -> None:
    """GICD_CTLR."""
    pair.lab.distributor.write("GICD_CTLR", value)
    pair.oracle.write_gicd_ctlr(pair.lab.distributor.layout("GICD_CTLR").unpack(value))


def write_irouter(pair: Pair, intid: int, value: int) -> None:
    """GICD_IROUTER<n>, of those that there are."""
    if intid >= FIRST_SPI:
        name = f"GICD_IROUTER{intid}"
        pair.lab.distributor.write(name, value)
        pair.oracle.write_irouter(intid, pair.lab.distributor.layout(name).unpack(value))


def write_message(name: str, pair: Pair, intid: int) -> None:
    """GICD_SETSPI_NSR or GICD_CLRSPI_NSR."""
    pair.lab.distributor.write(name, intid)
    pair.oracle.write_message(intid, name == "GICD_SETSPI_NSR")


def write_gicd(name: str, pair: Pair, number: int, value: int) -> None:
    """A register for some SPIs, of those below INTID 1020."""
    if number < -(-INTIDS // REGISTERS[name].intids):
        pair.lab.distributor.write(f"GICD_{name}{number}", value)
        distributor.write(pair.oracle.spis, name, number, value & 0xFFFF_FFFF)


def write_gicr(name: str, pair: Pair, rd: int, number: int, value: int) -> None:
    """A register for some SGIs and PPIs."""
    if number < FIRST_SPI // REGISTERS[name].intids:
        pair.lab.redistributors[rd].write(f"GICR_{name}{number}", value)
        distributor.write(pair.oracle.pes[rd].bank, name, number, value & 0xFFFF_FFFF)


# System registers.


def is_there(pair: Pair, name: str) -> bool:
    """Whether the machine has a system register: it may have fewer than 16 list registers."""
    return LIST_REGISTERS.get(name, 0) < pair.config.list_registers


def read_system(name: str, pair: Pair, rd: int) -> int:
    """Read a system register, and return what was read."""
    if not is_there(pair, name):
        return 0
    entry, cpu = system_register(name), pair.lab.gic.redistributors[rd].cpu
    seen = cpu.read(entry.encoding, virtual=name.startswith("ICV"))
    agree(f"{name} of {rd}", seen, entry.layout.pack(**pair.oracle.read_system(rd, name)))
    return seen


def write_system(name: str, pair: Pair, rd: int, value: int) -> None:
    """Write a system register."""
    if is_there(pair, name):
        entry, cpu = system_register(name), pair.lab.gic.redistributors[rd].cpu
        cpu.write(entry.encoding, value, virtual=name.startswith("ICV"))
        pair.oracle.write_system(rd, name, entry.layout.unpack(value))


def take(which: str, pair: Pair, rd: int, group: int, ends: int) -> None:
    """Software takes the interrupt that is signalled, and ends it."""
    intid = read_system(f"{which}_IAR{group}_EL1", pair, rd)
    if ends >= 1:
        write_system(f"{which}_EOIR{group}_EL1", pair, rd, intid)
    if ends >= 2:
        write_system(f"{which}_DIR_EL1", pair, rd, intid)


DOES: dict[str, Callable[..., object]] = {
    "set_line": set_line,
    "set_priority": set_priority,
    "sleep": sleep,
    "take": partial(take, "ICC"),
    "take_virtual": partial(take, "ICV"),
    "GICD_CTLR": write_gicd_ctlr,
    "GICD_IROUTER": write_irouter,
    **{name: partial(write_message, name) for name in ("GICD_SETSPI_NSR", "GICD_CLRSPI_NSR")},
    **{f"GICD_{name}": partial(write_gicd, name) for name in REGISTERS},
    **{f"GICR_{name}": partial(write_gicr, name) for name in REGISTERS},
    **{f"read_{name}": partial(read_system, name) for name in READS},
    **{f"write_{name}": partial(write_system, name) for name in WRITES},
}
"""What each event does."""
