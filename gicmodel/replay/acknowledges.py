# SPDX-License-Identifier: Apache-2.0
"""The judgement of a replay: was each interrupt that a CPU acknowledged pending in the model at that moment?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gicmodel.hardware import Gic, Redistributor
from gicmodel.images.qemu_trace.events import Acknowledge
from gicmodel.lab.tables import events_of, itt_of, table_of
from gicmodel.layouts.its_tables import INTTYPE_VIRTUAL
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import NamedRegisters
from gicmodel.layouts.table import TableType

_GROUP_1 = 1


class Acknowledges:
    """Takes each acknowledged LPI and vLPI from the model; `not_pending` lists those that were not pending there.

    `count` is how many acknowledges there were, `judged` how many of an LPI or vLPI. `processors` is the
    Processor_Number by affinity.
    """

    def __init__(self, gic: Gic, processors: Mapping[int, int]) -> None:
        self.count = self.judged = 0
        self.not_pending: list[Acknowledge] = []
        self._gic = gic
        self._processors = processors
        self._vlpis: set[tuple[int, int]] | None = None

    def take(self, event: Acknowledge) -> None:
        """Acknowledge the same interrupt in the model. SGIs, PPIs, SPIs and 1023 are only counted; LPIs are Group 1."""
        self.count += 1
        if event.intid < FIRST_LPI or event.group != _GROUP_1:
            return
        redistributor = self._redistributor(event)
        pending = redistributor.cpu.take_virtual(event.intid) if event.virtual else redistributor.cpu.take(event.intid)
        if event.virtual and not pending and not self._is_vlpi(redistributor, event.intid):
            return
        self.judged += 1
        if not pending:
            self.not_pending.append(event)

    def has_lpis(self, event: Acknowledge) -> bool:
        """Whether LPIs are enabled in the redistributor of the PE that acknowledged."""
        return bool(NamedRegisters(self._redistributor(event), "3").fields("GICR_CTLR")["EnableLPIs"])

    def mappings_changed(self) -> None:
        """A command may have changed which vLPIs exist."""
        self._vlpis = None

    def _redistributor(self, event: Acknowledge) -> Redistributor:
        return self._gic.redistributors[self._processors[event.cpu]]

    def _is_vlpi(self, redistributor: Redistributor, vintid: int) -> bool:
        """Whether the resident vPE has that vLPI. If not, a hypervisor injected the INTID through a list register."""
        config = self._gic.config
        if not config.virtual:
            return False
        vpendbaser = NamedRegisters(redistributor, config.architecture).fields("GICR_VPENDBASER")
        if not vpendbaser["Valid"]:
            return False
        if self._vlpis is None:
            self._vlpis = set(self._mapped_vlpis())
        return (vpendbaser["vPEID" if config.v41 else "Physical_Address"], vintid) in self._vlpis

    def _mapped_vlpis(self) -> Iterator[tuple[int, int]]:
        """(what GICR_VPENDBASER says of the vPE, vINTID) of every event that is mapped to a vLPI of a mapped vPE.

        That is its vPEID, or in GICv4.0 the address of its VPT.
        """
        its, v41 = self._gic.its[0], self._gic.config.v41
        vpe_ids, vtes = table_of(its, TableType.VPES, self._gic.memory)
        vpts = dict(zip(vpe_ids.tolist(), (vpe_ids if v41 else vtes["VPT_addr"]).tolist(), strict=True))
        for dte in table_of(its, TableType.DEVICES, self._gic.memory)[1] if vpts else ():
            _, ites = events_of(self._gic.memory, itt_of(dte))
            for ite in ites[ites["IntType"] == INTTYPE_VIRTUAL]:
                if int(ite["vPEID"]) in vpts:
                    yield vpts[int(ite["vPEID"])], int(ite["IntID"])
