# SPDX-License-Identifier: Apache-2.0
"""The register face of the distributor: features and sizes, the enables of groups, and SPIs.

There is one Security state (GICD_CTLR.DS = 1), and affinity routing is always on (GICD_CTLR.ARE = 1).
"""

from __future__ import annotations

from typing import ClassVar

from gicmodel.config import FIRST_SPI, GicConfig
from gicmodel.errors import whole
from gicmodel.hardware.interrupt_registers import RAZ_WI, interrupt_handlers
from gicmodel.hardware.kernels.inputs import message_spi, set_spi
from gicmodel.hardware.kernels.state import DIST, DIST_AT, DIST_WORDS, Machine
from gicmodel.hardware.register_face import (
    WORD_BITS,
    Handler,
    MachineFace,
    changed,
    fixed,
    word_at,
)
from gicmodel.jit import bound
from gicmodel.layouts.registers.distributor import (
    GICD_CTLR,
    GICD_IIDR,
    GICD_IROUTER,
    GICD_SETSPI_NSR,
    GICD_TYPER,
    GICD_TYPER2,
    LAST_SPI,
    WORDS_OF_SPIS,
)
from gicmodel.layouts.registers.identification import ARM, DISTRIBUTOR_PART, identification

_ALWAYS = GICD_CTLR.pack(DS=1, ARE=1)
_GROUPS = GICD_CTLR.pack(EnableGrp1=1, EnableGrp0=1)
_NASSGIREQ, _RWP = GICD_CTLR.pack(nASSGIreq=1), GICD_CTLR.pack(RWP=1)
_IROUTER_MASK = GICD_IROUTER.field_mask()


def _router(intid: int) -> Handler:
    """GICD_IROUTER<n>."""
    return Handler(word_at(DIST.router + intid), lambda face, value: face._write_router(intid, value))


class Distributor(MachineFace):
    """The distributor."""

    STATUSR = DIST.statusr
    _set_spi = bound(set_spi, 0, False)
    _message_spi = bound(message_spi, 0, False)

    def __init__(self, config: GicConfig, machine: Machine) -> None:
        words = machine.chip.data[DIST_AT : DIST_AT + DIST_WORDS]
        super().__init__(config, (machine,), words, _constants(config))

    def set_line(self, intid: int, level: bool) -> None:
        """An SPI's input goes high or low. ValueError: there is no such SPI."""
        spi = whole(intid, "Distributor.set_line: the SPI", FIRST_SPI, FIRST_SPI + self.config.spis - 1)
        self._set_spi(spi, bool(level))

    def step(self) -> None:
        """Finish what writes have begun that GICD_CTLR.RWP stands for."""
        self._state[DIST.ctlr] &= ~_RWP

    def implemented(self, register: int) -> bool:
        """Whether the 32 interrupts from 32 * `register` on are SPIs: all or none are."""
        return self._has(register * WORD_BITS)

    def note_disabled(self) -> None:
        """GICD_CTLR.RWP stands from a write of GICD_ICENABLER<n> on, or of GICD_CTLR that disables a group."""
        if self.config.commands_per_step is not None:
            self._state[DIST.ctlr] |= _RWP

    def _has(self, intid: int) -> bool:
        return FIRST_SPI <= intid < FIRST_SPI + self.config.spis

    def _read_ctlr(self) -> int:
        return self._state[DIST.ctlr] | _ALWAYS

    def _write_ctlr(self, value: int) -> None:
        """nASSGIreq changes only if no group is enabled, before the write or after it (as Linux' vgic has it)."""
        was = self._state[DIST.ctlr]
        disabled = not was & _GROUPS or not value & _GROUPS
        mask = _GROUPS | (_NASSGIREQ if self.config.v41 and disabled else 0)
        self._state[DIST.ctlr] = changed(was, value, mask)
        if was & ~value & _GROUPS:
            self.note_disabled()

    def _write_message(self, pending: bool, value: int) -> None:
        """No effect on what is no SPI."""
        intid = GICD_SETSPI_NSR.unpack(value)["INTID"]
        if self._has(intid):
            self._message_spi(intid, pending)

    def _write_router(self, intid: int, value: int) -> None:
        if self._has(intid):
            self._state[DIST.router + intid] = value & _IROUTER_MASK

    HANDLERS: ClassVar[dict[str, Handler]] = {
        **fixed("GICD_TYPER", "GICD_TYPER2", "GICD_IIDR", *identification("GICD", 0, DISTRIBUTOR_PART)),
        **interrupt_handlers("GICD", DIST, WORDS_OF_SPIS),
        **{f"GICD_IROUTER{intid}": _router(intid) for intid in range(FIRST_SPI, LAST_SPI + 1)},
        **{f"GICD_NSACR{n}": RAZ_WI for n in range(2 * len(WORDS_OF_SPIS))},
        "GICD_CTLR": Handler(_read_ctlr, _write_ctlr),
        "GICD_STATUSR": Handler(word_at(DIST.statusr), MachineFace._clear_statusr),
        "GICD_SETSPI_NSR": Handler(write=lambda face, value: face._write_message(True, value)),
        "GICD_CLRSPI_NSR": Handler(write=lambda face, value: face._write_message(False, value)),
        "GICD_SETSPI_SR": Handler(write=RAZ_WI.write),
        "GICD_CLRSPI_SR": Handler(write=RAZ_WI.write),
    }


def _constants(config: GicConfig) -> dict[str, int]:
    typer = GICD_TYPER.pack(
        RSS=1,
        A3V=1,
        IDbits=config.intid_bits - 1,
        DVIS=config.virtual,
        LPIS=1,
        MBIS=config.spis > 0,
        ITLinesNumber=config.spis // WORD_BITS,
    )
    typer2 = GICD_TYPER2.pack(nASSGIcap=1, VIL=1, VID=config.vpe_id_bits - 1)
    registers = {"GICD_TYPER": typer, "GICD_TYPER2": typer2, "GICD_IIDR": GICD_IIDR.pack(Implementer=ARM)}
    return registers | identification("GICD", config.arch_rev, DISTRIBUTOR_PART)
