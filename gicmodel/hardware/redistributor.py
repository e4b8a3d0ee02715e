# SPDX-License-Identifier: Apache-2.0
"""The register face of a redistributor: RD_base frame at 0, SGI_base at 0x1_0000, VLPI_base at 0x2_0000."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from gicmodel.config import FIRST_PPI, FIRST_SPI, GicConfig, affinity_of
from gicmodel.errors import whole
from gicmodel.hardware.cpu_interface import CpuInterface
from gicmodel.hardware.interrupt_registers import RAZ_WI, interrupt_handlers
from gicmodel.hardware.kernels import redistributor
from gicmodel.hardware.kernels.delivery import clear_lpi, set_lpi
from gicmodel.hardware.kernels.inputs import set_ppi
from gicmodel.hardware.kernels.pending import forget_configuration
from gicmodel.hardware.kernels.state import DIST, DIST_AT, RD, Machine, rd_at, set_resident, table_words
from gicmodel.hardware.register_face import (
    MPAM_SIZES,
    Handler,
    MachineFace,
    always,
    fixed,
    partid,
    word_at,
)
from gicmodel.jit import bound
from gicmodel.layouts.its_tables import VPE_CONFIGURATION
from gicmodel.layouts.registers.identification import ARM, REDISTRIBUTOR_PART, identification
from gicmodel.layouts.registers.redistributor import (
    GICR_CTLR,
    GICR_IIDR,
    GICR_INVALLR,
    GICR_INVLPIR,
    GICR_MPAMIDR,
    GICR_PARTIDR,
    GICR_PENDBASER,
    GICR_PROPBASER,
    GICR_SETLPIR,
    GICR_SYNCR,
    GICR_TYPER,
    GICR_VPENDBASER,
    GICR_VPENDBASER_V40,
    GICR_VPROPBASER,
    GICR_VPROPBASER_V40,
    GICR_VSGIPENDR,
    GICR_VSGIR,
    GICR_WAKER,
)
from gicmodel.layouts.table import Table

LPIS_PENDING, ENABLES_PENDING = int(redistributor.LPIS_PENDING), int(redistributor.ENABLES_PENDING)
_SGIS_ARE_EDGES = 0xAAAA_AAAA
_SGIS = (1 << FIRST_PPI) - 1
_ENABLE_LPIS, _RWP = GICR_CTLR.pack(EnableLPIs=1), GICR_CTLR.pack(RWP=1)
_PTZ = GICR_PENDBASER.pack(PTZ=1)
_VALID = GICR_VPROPBASER.pack(Valid=1)
"""Of GICR_VPENDBASER, too."""
_ENTRY_SIZE = GICR_VPROPBASER.pack(Entry_Size=VPE_CONFIGURATION.bytes // 8 - 1)
_ASLEEP = GICR_WAKER.pack(ProcessorSleep=1, ChildrenAsleep=1)
_SLEEP = GICR_WAKER.pack(ProcessorSleep=1)
_BUSY = GICR_VSGIPENDR.pack(Busy=1)
_DIRTY = GICR_VPENDBASER.pack(Dirty=1)
_PROPBASER_MASK, _PENDBASER_MASK = GICR_PROPBASER.field_mask(), GICR_PENDBASER.field_mask()
_VPROPBASER_V40_MASK = GICR_VPROPBASER_V40.field_mask()
_VPROPBASER_MASK = GICR_VPROPBASER.field_mask(without=("Entry_Size", "Z"))
_INVALIDATION = frozenset({"GICR_INVLPIR", "GICR_INVALLR", "GICR_SYNCR"})
_DIRECT = frozenset({"GICR_SETLPIR", "GICR_CLRLPIR"})
_AFFINITY_BITS, _LEVEL_BITS = 32, 8
"""Redistributors share the vPE configuration table whose GICR_TYPER.CommonLPIAff highest levels are equal (DDI0601)."""


class Redistributor(MachineFace):
    """One redistributor."""

    STATUSR = RD.statusr
    _enable = bound(redistributor.write_enable, False)
    _schedule = bound(redistributor.write_vpendbaser, np.uint64(0))
    _set_ppi = bound(set_ppi, 0, False)

    def __init__(self, config: GicConfig, machine: Machine, number: int) -> None:
        words = machine.chip.data[rd_at(number) : rd_at(number + 1)]
        absent = frozenset() if config.direct_lpi else _DIRECT
        absent |= frozenset() if config.invalidation_registers else _INVALIDATION
        super().__init__(config, (machine, number), words, _constants(config, number), absent)
        self.number = number
        self.cpu = CpuInterface(config, machine, number)
        self._machine = machine
        self._vpendbaser_mask = (GICR_VPENDBASER if config.v41 else GICR_VPENDBASER_V40).field_mask()
        self._state[RD.waker] = _ASLEEP
        self._state[RD.edge] = _SGIS
        self._state[RD.group] = affinity_of(number) >> _AFFINITY_BITS - _LEVEL_BITS * config.common_lpi_aff

    def derive(self) -> None:
        """Work out from the registers what is kept beside them."""
        redistributor.limit_lpis(self._machine, self.number)
        self._derive_table()
        if self.config.v41 and self._state[RD.vpendbaser] & _VALID:
            vpe_id = GICR_VPENDBASER.unpack(self._state[RD.vpendbaser])["vPEID"]
            set_resident(self._machine, np.uint64(vpe_id), self.number)

    def _derive_table(self) -> None:
        if self.config.v41:
            table = Table.of_vpropbaser(self._state[RD.vpropbaser])
            words = table_words(table, VPE_CONFIGURATION.bytes, 1 << self.config.vpe_id_bits)
            for word, value in enumerate(words):
                self._state[RD.table + word] = value

    def step(self) -> None:
        """Finish what VPENDBASER, INVLPIR, INVALLR, VSGIR and CTLR writes have begun."""
        for word in (RD.dirty, RD.busy, RD.rwp):
            self._state[word] = 0
        self._state[RD.vsgipendr] &= ~_BUSY

    @property
    def _stepping(self) -> bool:
        return self.config.commands_per_step is not None

    def _read_ctlr(self) -> int:
        fixed = GICR_CTLR.pack(CES=self.config.ces, IR=self.config.invalidation_registers)
        return self._state[RD.ctlr] | fixed | (_RWP if self._state[RD.rwp] else 0)

    def _write_ctlr(self, value: int) -> None:
        """EnableLPIs 0 to 1 loads the pending table, 1 to 0 writes it back; the latter only with GICR_CTLR.CES = 1."""
        if value & _ENABLE_LPIS or self.config.ces:
            self._enable(bool(value & _ENABLE_LPIS))

    def implemented(self, register: int) -> bool:
        """There is every SGI and PPI."""
        return True

    def note_disabled(self) -> None:
        """GICR_CTLR.RWP stands from a write of GICR_ICENABLER0 on."""
        self._state[RD.rwp] |= ENABLES_PENDING if self._stepping else 0

    def set_line(self, intid: int, level: bool) -> None:
        """A PPI's input, 16 to 31, goes high or low. ValueError: there is no such PPI."""
        ppi = whole(intid, "Redistributor.set_line: the PPI", FIRST_PPI, FIRST_SPI - 1)
        self._set_ppi(ppi, bool(level))

    def _write_waker(self, value: int) -> None:
        """ChildrenAsleep follows ProcessorSleep at once. SPIs that may go to any PE go to one that is awake."""
        self._machine.chip[DIST_AT + DIST.stirred] = 1
        self._state[RD.waker] = _ASLEEP if value & _SLEEP else 0

    def _write_table(self, place: int, value: int) -> None:
        """GICR_PROPBASER or GICR_PENDBASER; UNPREDICTABLE, and ignored, with EnableLPIs = 1 or RWP = 1."""
        if not self._state[RD.ctlr] & _ENABLE_LPIS and not self._state[RD.rwp] & LPIS_PENDING:
            self._state[place] = value

    def _read_pendbaser(self) -> int:
        """PTZ is kept until EnableLPIs 0 to 1 uses it, and never read back."""
        return self._state[RD.pendbaser] & ~_PTZ

    def _write_setlpir(self, value: int) -> None:
        set_lpi(self._machine, self.number, np.uint64(GICR_SETLPIR.unpack(value)["pINTID"]))

    def _write_clrlpir(self, value: int) -> None:
        clear_lpi(self._machine, self.number, np.uint64(GICR_SETLPIR.unpack(value)["pINTID"]))

    def _write_invlpir(self, value: int) -> None:
        target = GICR_INVLPIR.unpack(value)
        intid = np.uint64(target["INTID"])
        if target["V"] and self.config.v41:
            redistributor.invalidate_vlpi(self._machine, self.number, np.uint64(target["vPEID"]), intid)
        else:
            redistributor.invalidate_lpi(self._machine, self.number, intid)
        self._state[RD.busy] = self._stepping

    def _write_invallr(self, value: int) -> None:
        target = GICR_INVALLR.unpack(value)
        if target["V"] and self.config.v41:
            redistributor.invalidate_all_vlpis(self._machine, self.number, np.uint64(target["vPEID"]))
        else:
            forget_configuration(self._machine, self.number)
        self._state[RD.busy] = self._stepping

    def _read_syncr(self) -> int:
        return GICR_SYNCR.pack(Busy=self._state[RD.busy])

    def _read_vpropbaser(self) -> int:
        return self._state[RD.vpropbaser] | (_ENTRY_SIZE if self.config.v41 else 0)

    def _write_vpropbaser(self, value: int) -> None:
        """GICv4.1: what is cached of the table goes, for which RWP stands on Valid 1 to 0. Z is write-only."""
        if not self.config.v41:
            self._state[RD.vpropbaser] = value & _VPROPBASER_V40_MASK
            return
        was = self._state[RD.vpropbaser] & _VALID
        self._state[RD.vpropbaser] = value & _VPROPBASER_MASK
        self._derive_table()
        if was:
            redistributor.drop_vpe_configurations(self._machine, self.number)
            self._state[RD.rwp] &= ~LPIS_PENDING
            self._state[RD.rwp] |= LPIS_PENDING if self._stepping and not value & _VALID else 0

    def _read_vpendbaser(self) -> int:
        return self._state[RD.vpendbaser] | (_DIRTY if self._state[RD.dirty] else 0)

    def _write_vpendbaser(self, value: int) -> None:
        self._schedule(np.uint64(value & self._vpendbaser_mask))

    def _write_vsgir(self, value: int) -> None:
        """Ignored while a query is running."""
        if not self._state[RD.vsgipendr] & _BUSY:
            vpe_id = np.uint64(GICR_VSGIR.unpack(value)["vPEID"])
            pending = int(redistributor.pending_vsgis(self._machine, self.number, vpe_id))
            self._state[RD.vsgipendr] = GICR_VSGIPENDR.pack(Pending=pending, Busy=self._stepping)

    HANDLERS: ClassVar[dict[str, Handler]] = {
        **fixed("GICR_TYPER", "GICR_IIDR", "GICR_MPAMIDR", *identification("GICR", 0, REDISTRIBUTOR_PART)),
        **interrupt_handlers("GICR", RD, range(1)),
        "GICR_ICFGR0": always(_SGIS_ARE_EDGES),
        "GICR_NSACR": RAZ_WI,
        "GICR_CTLR": Handler(_read_ctlr, _write_ctlr),
        "GICR_STATUSR": Handler(word_at(RD.statusr), MachineFace._clear_statusr),
        "GICR_WAKER": Handler(word_at(RD.waker), _write_waker),
        "GICR_PARTIDR": partid(RD.partidr, GICR_PARTIDR),
        "GICR_SETLPIR": Handler(write=_write_setlpir),
        "GICR_CLRLPIR": Handler(write=_write_clrlpir),
        "GICR_PROPBASER": Handler(
            word_at(RD.propbaser), lambda face, value: face._write_table(RD.propbaser, value & _PROPBASER_MASK)
        ),
        "GICR_PENDBASER": Handler(
            _read_pendbaser,
            lambda face, value: face._write_table(RD.pendbaser, value & _PENDBASER_MASK),
            word_at(RD.pendbaser),
        ),
        "GICR_INVLPIR": Handler(write=_write_invlpir),
        "GICR_INVALLR": Handler(write=_write_invallr),
        "GICR_SYNCR": Handler(_read_syncr),
        "GICR_VPROPBASER": Handler(_read_vpropbaser, _write_vpropbaser),
        "GICR_VPENDBASER": Handler(_read_vpendbaser, _write_vpendbaser),
        "GICR_VSGIR": Handler(write=_write_vsgir),
        "GICR_VSGIPENDR": Handler(word_at(RD.vsgipendr)),
    }


def _constants(config: GicConfig, number: int) -> dict[str, int]:
    affinity = affinity_of(number)
    typer = GICR_TYPER.pack(
        PLPIS=1,
        VLPIS=config.virtual,
        Dirty=config.v41,
        DirectLPI=config.direct_lpi,
        Last=number == config.redistributors - 1,
        RVPEID=config.v41,
        Processor_Number=number,
        CommonLPIAff=config.common_lpi_aff,
        MPAM=config.mpam,
        VSGI=config.v41,
        Aff1=affinity >> _LEVEL_BITS,
        Aff0=affinity & 0xFF,
    )
    mpamidr = GICR_MPAMIDR.pack(**MPAM_SIZES) if config.mpam else 0
    registers = {"GICR_TYPER": typer, "GICR_IIDR": GICR_IIDR.pack(Implementer=ARM), "GICR_MPAMIDR": mpamidr}
    return registers | identification("GICR", config.arch_rev, REDISTRIBUTOR_PART)
