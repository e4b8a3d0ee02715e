# SPDX-License-Identifier: Apache-2.0
"""The register face of an ITS: control frame at 0, translation frame at 0x1_0000, vSGI frame at 0x2_0000."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gicmodel.config import MOST_COMMANDS, GicConfig
from gicmodel.errors import whole
from gicmodel.hardware.kernels.entries import drop_its
from gicmodel.hardware.kernels.queue import run_queue
from gicmodel.hardware.kernels.state import ITS, ITS_WORDS, Machine, its_at, table_at, table_words
from gicmodel.hardware.kernels.tables import COLLECTION_TABLE, DEVICE_TABLE, VPE_TABLE
from gicmodel.hardware.kernels.translation import inject_vsgi, translate, translate_many
from gicmodel.hardware.register_face import (
    MPAM_SIZES,
    Handler,
    MachineFace,
    changed,
    fixed,
    partid,
    word_at,
)
from gicmodel.jit import bound
from gicmodel.layouts.its_tables import ITE
from gicmodel.layouts.registers.identification import ARM, ITS_PART, identification
from gicmodel.layouts.registers.its import (
    BASERS,
    GITS_BASER,
    GITS_CBASER,
    GITS_CREADR,
    GITS_CTLR,
    GITS_CWRITER,
    GITS_IIDR,
    GITS_MPAMIDR,
    GITS_MPIDR,
    GITS_PARTIDR,
    GITS_SGIR,
    GITS_STATUSR,
    GITS_TYPER,
)
from gicmodel.layouts.table import PAGE_SIZES, Table, TableType

TRANSLATER, EVENT_ID_BYTES = 0x1_0040, 2

_BASER_MASK = GITS_BASER.field_mask(without=("Type", "Entry_Size"))
_CBASER_MASK = GITS_CBASER.field_mask()
_STATUSR_MASK = GITS_STATUSR.field_mask(without=("Syndrome",))
_OFFSET_MASK = GITS_CWRITER.field_mask(without=("Retry",))
_ENABLED, _QUIESCENT = GITS_CTLR.pack(Enabled=1), GITS_CTLR.pack(Quiescent=1)
_STALLED, _RETRY = GITS_CREADR.pack(Stalled=1), GITS_CWRITER.pack(Retry=1)


def _baser(number: int) -> Handler:
    """GITS_BASER<n>."""
    return Handler(word_at(ITS.baser + number), lambda its, value: its.write_baser(number, value))


class Its(MachineFace):
    """One ITS."""

    STATUSR = ITS.statusr
    _run_queue = bound(run_queue, MOST_COMMANDS)
    _translate = bound(translate, np.uint64(0), np.uint64(0))

    def __init__(self, config: GicConfig, machine: Machine, number: int) -> None:
        words = machine.chip.data[its_at(number) : its_at(number) + ITS_WORDS]
        super().__init__(config, (machine, number), words, _constants(config, number))
        self.number = number
        self._machine = machine
        self._tables = _tables(config)
        self._types = [0] * BASERS
        """The fixed bits of each GITS_BASER<n>, 0 where there is no table."""
        self._ctlr_mask = GITS_CTLR.field_mask(without=("Quiescent", "ITS_Number", "UMSIirq"))
        if not config.virtual:
            self._ctlr_mask &= ~GITS_CTLR.pack(ImDe=1)
        page_size = GITS_BASER.pack(Page_Size=PAGE_SIZES.index(config.baser_page_bytes))
        for index, (kind, _) in self._tables.items():
            self._types[index] = GITS_BASER.pack(Type=kind, Entry_Size=kind.entry(config.v41).bytes - 1)
            self._state[ITS.baser + index] = self._types[index] | page_size

    def derive(self) -> None:
        """Work out from the registers what is kept beside them."""
        for index, (kind, identifiers) in self._tables.items():
            at = table_at(0, index) - its_at(0)
            table = Table.of_baser(self._state[ITS.baser + index])
            for word, value in enumerate(table_words(table, kind.entry(self.config.v41).bytes, identifiers)):
                self._state[at + word] = value

    def translate(self, device_id: int, event_id: int) -> int:
        """A device's write of GITS_TRANSLATER; 0, or the reason byte for which the message was dropped.

        0 also of a message that is ignored: while the ITS is disabled, or a table that it needs is not valid.
        ValueError: the DeviceID or the EventID has not 64 bits.
        """
        device, event = whole(device_id, "a DeviceID"), whole(event_id, "an EventID")
        return int(self._translate(np.uint64(device), np.uint64(event)))

    def translate_many(self, device_ids: ArrayLike, event_ids: ArrayLike) -> int:
        """Writes of GITS_TRANSLATER in order, given as arrays of one length; how many were not dropped.

        None of those that a disabled ITS ignores (DDI0601 GITS_TRANSLATER). ValueError as of `translate`.

        Other threads may run meanwhile, but not on this `Gic`: it belongs to one thread at a time.
        """
        devices, events = _words(device_ids, "a DeviceID"), _words(event_ids, "an EventID")
        if devices.shape != events.shape or devices.ndim != 1:
            raise ValueError(f"translate_many: {devices.shape} DeviceIDs for {events.shape} EventIDs")
        return int(translate_many(self._machine, self.number, devices, events))

    def step(self, commands: int) -> int:
        """A write of Enabled takes effect, then execute at most `commands` commands; how many were executed."""
        self._state[ITS.busy] = 0
        budget = whole(commands, "Its.step: the number of commands", 0, MOST_COMMANDS)
        return int(self._run_queue(budget))

    def write(self, offset: int, value: int, size: int = 8, *, device_id: int = 0) -> None:
        """A bus write; `device_id` comes with a write of GITS_TRANSLATER, which also takes 16 bits."""
        if offset == TRANSLATER and size in (EVENT_ID_BYTES, 4):
            self.translate(device_id, whole(value, "Its.write: the value") & ((1 << (8 * size)) - 1))
        else:
            super().write(offset, value, size)

    @property
    def _enabled(self) -> bool:
        return bool(self._state[ITS.ctlr] & _ENABLED)

    @property
    def _fixed(self) -> bool:
        """Enabled = 1 or Quiescent = 0: to write GITS_CBASER or GITS_BASER<n> is UNPREDICTABLE, and ignored."""
        return self._enabled or bool(self._state[ITS.busy])

    def _read_ctlr(self) -> int:
        s = self._state
        number = GITS_CTLR.pack(ITS_Number=self.number) if self.config.virtual else 0
        return s[ITS.ctlr] | number | (_QUIESCENT if self._quiescent else 0)

    @property
    def _quiescent(self) -> bool:
        """Disabled: that is complete. Enabled: that is not in effect yet (GICv4.1), or no command waits (UNKNOWN)."""
        s = self._state
        if not self._enabled:
            return not s[ITS.busy]
        if self.config.v41:
            return bool(s[ITS.busy])
        return not (s[ITS.creadr] ^ s[ITS.cwriter]) & _OFFSET_MASK

    def _write_ctlr(self, value: int) -> None:
        """Enabled 1 to 0 makes every cache of mapping data consistent; 0 to 1 takes up the queue where it stands.

        To enable while Quiescent is 0 is UNPREDICTABLE, and ignored.
        """
        s = self._state
        was = self._enabled
        s[ITS.ctlr] = value & self._ctlr_mask & ~(_ENABLED if self._fixed and not was else 0)
        if was == self._enabled:
            return
        s[ITS.busy] = self.config.commands_per_step is not None
        if was:
            drop_its(self._machine, self.number)
        else:
            self._run()

    def _write_cbaser(self, value: int) -> None:
        """GITS_CREADR becomes 0."""
        if not self._fixed:
            self._state[ITS.cbaser] = value & _CBASER_MASK
            self._state[ITS.creadr] = 0

    def _write_cwriter(self, value: int) -> None:
        """Publish commands; Retry resumes a stalled queue at the command that stalled it."""
        s = self._state
        s[ITS.cwriter] = value & _OFFSET_MASK
        if value & _RETRY:
            s[ITS.creadr] &= ~_STALLED
        self._run()

    def write_baser(self, index: int, value: int) -> None:
        """RES0 where there is no table; Type and Entry_Size are fixed."""
        if self._types[index] and not self._fixed:
            self._state[ITS.baser + index] = changed(self._types[index], value, _BASER_MASK)
            self.derive()

    def _write_statusr(self, value: int) -> None:
        """Write 1 to clear; Syndrome and Overflow go with UMSI."""
        remaining = self._state[ITS.statusr] & ~(value & _STATUSR_MASK)
        if not remaining & GITS_STATUSR.pack(UMSI=1):
            remaining &= ~GITS_STATUSR.pack(Syndrome=0xF, Overflow=1)
        self._state[ITS.statusr] = remaining

    def _write_sgir(self, value: int) -> None:
        sgi = GITS_SGIR.unpack(value)
        inject_vsgi(self._machine, self.number, np.uint64(sgi["vPEID"]), np.uint64(sgi["vINTID"]))

    def _run(self) -> None:
        if self.config.commands_per_step is None:
            self._run_queue(MOST_COMMANDS)

    HANDLERS: ClassVar[dict[str, Handler]] = {
        **fixed("GITS_TYPER", "GITS_IIDR", "GITS_MPAMIDR", "GITS_MPIDR", *identification("GITS", 0, ITS_PART)),
        **{f"GITS_BASER{n}": _baser(n) for n in range(BASERS)},
        "GITS_CTLR": Handler(_read_ctlr, _write_ctlr),
        "GITS_PARTIDR": partid(ITS.partidr, GITS_PARTIDR),
        "GITS_STATUSR": Handler(word_at(ITS.statusr), _write_statusr),
        "GITS_UMSIR": Handler(word_at(ITS.umsir)),
        "GITS_CBASER": Handler(word_at(ITS.cbaser), _write_cbaser),
        "GITS_CWRITER": Handler(word_at(ITS.cwriter), _write_cwriter),
        "GITS_CREADR": Handler(word_at(ITS.creadr)),
        "GITS_TRANSLATER": Handler(write=lambda its, event_id: its.translate(0, event_id)),
        "GITS_SGIR": Handler(write=_write_sgir, halves=()),
    }


def _words(values: ArrayLike, what: str) -> NDArray[np.uint64]:
    """An array as a kernel takes it. ValueError: it has more than one dimension, or a number that has not 64 bits."""
    array = np.asarray(values)
    if array.dtype != np.uint64 and array.size:
        for value in (array.min(), array.max()) if array.dtype.kind in "iu" else array.flat:
            whole(value, what)
    return np.ascontiguousarray(array, np.uint64)


def _tables(config: GicConfig) -> dict[int, tuple[TableType, int]]:
    """What the tables that the ITS has are of, and for how many identifiers at most, by GITS_BASER<n>.

    That is the allocation that GICv4.1 mandates. ICIDs below HCC have no entry.
    """
    tables = {
        DEVICE_TABLE: (TableType.DEVICES, 1 << config.device_id_bits),
        COLLECTION_TABLE: (TableType.COLLECTIONS, (1 << config.collection_id_bits) - config.hcc),
    }
    return tables | ({VPE_TABLE: (TableType.VPES, 1 << config.vpe_id_bits)} if config.virtual else {})


def _constants(config: GicConfig, number: int) -> dict[str, int]:
    typer = GITS_TYPER.pack(
        Physical=1,
        Virtual=config.virtual,
        CCT=config.hcc > 0,
        ITT_entry_size=ITE.bytes - 1,
        ID_bits=config.event_id_bits - 1,
        Devbits=config.device_id_bits - 1,
        SEIS=config.seis,
        PTA=config.pta,
        HCC=config.hcc,
        CIDbits=config.collection_id_bits - 1,
        CIL=1,
        VMOVP=config.virtual and config.vmovp,
        MPAM=config.mpam,
        VSGI=config.v41,
        VMAPP=config.v41,
        SVPET=config.svpet if config.v41 else 0,
        nID=config.v41 and config.nid,
        UMSI=config.umsi,
        INV=config.inv,
    )
    mpamidr = GITS_MPAMIDR.pack(**MPAM_SIZES) if config.mpam else 0
    iidr = GITS_IIDR.pack(Implementer=ARM)
    registers = {"GITS_TYPER": typer, "GITS_IIDR": iidr, "GITS_MPAMIDR": mpamidr, "GITS_MPIDR": GITS_MPIDR.pack()}
    return registers | identification("GITS", config.arch_rev, ITS_PART)
