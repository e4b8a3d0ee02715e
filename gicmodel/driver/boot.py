# SPDX-License-Identifier: Apache-2.0
"""From reset to a GIC that delivers LPIs: the boot of Linux' irq-gic-v3-its.c."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from gicmodel.driver import commands
from gicmodel.driver.allocator import FreeRanges, PageAllocator
from gicmodel.driver.configuration import TABLE_ALIGN, ConfigurationTable, aligned
from gicmodel.driver.errors import DriverError
from gicmodel.driver.its import ItsNode
from gicmodel.driver.objects import ItsDevice, ItsVpe
from gicmodel.driver.port import GicPort, Relax
from gicmodel.driver.redistributor import Redistributor
from gicmodel.driver.residency import evict, forget_vpes, prepare
from gicmodel.driver.vpe_tables import join_vpe_table
from gicmodel.layouts.registers import TableType
from gicmodel.layouts.vpt import FIRST_LPI, table_bytes
from gicmodel.memory import GuestMemory


class Boot:
    """The GIC as probing finds it, and what the driver keeps of it. Collection n belongs to CPU n.

    `devices` are found by (ITS, DeviceID), `vpes` by vPEID.

    Args:
        gic: the registers.
        memory: the RAM that tables are in.
        allocator: the part of `memory` that is this driver's.
        lpi_id_bits: width of INTIDs, physical and virtual (GICD_TYPER.IDbits + 1).
        vpe_id_bits: width of vPEIDs (GICD_TYPER2.VID + 1).
        redistributor_bases: physical address of each RD_base, as firmware tells it; for GITS_TYPER.PTA = 1 only.
        relax: called between two reads of a register that is polled, to let a GIC that runs in steps run.
    """

    def __init__(
        self,
        gic: GicPort,
        memory: GuestMemory,
        allocator: PageAllocator,
        lpi_id_bits: int = 16,
        vpe_id_bits: int = 16,
        redistributor_bases: Sequence[int] = (),
        relax: Relax = lambda: None,
    ) -> None:
        self.memory = memory
        self.allocator = allocator
        self.lpi_id_bits = lpi_id_bits
        self.vpe_id_bits = vpe_id_bits
        self.redistributor_bases = redistributor_bases
        self.redistributors = [Redistributor(cpu, face, relax) for cpu, face in enumerate(gic.redistributors)]
        self.its = [ItsNode(number, face, allocator, relax) for number, face in enumerate(gic.its)]
        has_vlpis = all(rd.is_v4 for rd in self.redistributors)
        self.is_v4 = has_vlpis and any(its.is_v4 for its in self.its)
        self.is_v41 = self.is_v4 and all(rd.is_v41 for rd in self.redistributors)
        self.direct_lpi = all(rd.direct_lpi for rd in self.redistributors)
        self.its_list: list[int] = []
        self.lpi_configuration = ConfigurationTable(allocator, lpi_id_bits)
        self.lpi_ids = FreeRanges(FIRST_LPI, 1 << lpi_id_bits)
        self.vpe_ids = FreeRanges(0, 1 << vpe_id_bits)
        self.devices: dict[tuple[int, int], ItsDevice] = {}
        self.vpes: dict[int, ItsVpe] = {}
        self._devices_by_lpi: list[ItsDevice] = []
        self._vmovp_sequence = 0

    @property
    def nr_cpus(self) -> int:
        return len(self.redistributors)

    @property
    def its_nodes(self) -> list[ItsNode]:
        """The ITSs in the order of Linux' list, at whose head its_probe_one puts each: the last one is the first."""
        return self.its[::-1]

    @property
    def v4_its(self) -> list[ItsNode]:
        """The ITSs that can map vPEs, in Linux' order. Where any one will do, it is the first."""
        return [its for its in self.its_nodes if its.is_v4] if self.is_v4 else []

    @property
    def commands_issued(self) -> Counter[str]:
        """How many commands of each mnemonic went to all ITSs."""
        return sum((its.queue.commands_issued for its in self.its), Counter())

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Commands sent inside go to the hardware at the end, or when a queue is full or must be empty earlier."""
        with ExitStack() as holds:
            for its in self.its:
                holds.enter_context(its.queue.hold())
            yield

    def drain(self) -> None:
        """Wait until every ITS has read its commands: a register write or a look at RAM that follows comes after them.

        Inside `batch` too. Errors as `CommandQueue.flush`.
        """
        for its in self.its:
            its.queue.flush()

    def probe(self) -> None:
        """Boot: every ITS gets its tables and its queue, every redistributor its tables, every CPU its collections.

        The other CPUs come up when the first has set up the ITSs.

        Raises:
            DriverError: what the hardware refuses, or ENOMEM.
        """
        for rd in self.redistributors:
            forget_vpes(rd)
        first, *others = self.redistributors
        first.wake()
        self._its_init()
        self._its_cpu_init(first)
        for rd in others:
            rd.wake()
            self._its_cpu_init(rd)

    def _its_init(self) -> None:
        for its in self.its:
            its.quiesce()
        for its in self.its:
            self._its_probe_one(its)

    def _its_probe_one(self, its: ItsNode) -> None:
        if its.is_v4 and not its.single_vmovp:
            self.its_list.append(its.assign_list_number(self.its_list))
        its.set_up_tables(self.nr_cpus, self.vpe_id_bits, self._vpe_table_sibling(its))
        its.enable()

    def _vpe_table_sibling(self, its: ItsNode) -> ItsNode | None:
        """An ITS that is set up and whose vPE table `its` must use too (Linux' find_sibling_its)."""
        for other in reversed(self.its[: its.number]):
            shares = its.svpet and other.svpet and its.affinity_group() == other.affinity_group()
            if shares and TableType.VPES in other.tables:
                return other
        return None

    def _its_cpu_init(self, rd: Redistributor) -> None:
        pending_table = self.allocator.alloc(aligned(table_bytes(self.lpi_id_bits)), TABLE_ALIGN)
        rd.enable_lpis(self.lpi_configuration.address, pending_table, self.lpi_id_bits)
        if self.is_v41:
            evict(rd)
            join_vpe_table(rd, self.redistributors[: rd.cpu], self.its_nodes, self.allocator, self.vpe_id_bits)
        elif self.is_v4:
            prepare(rd, self.lpi_id_bits)
        for its in self.its_nodes:
            its.targets.append(self._rdbase(its, rd))
            its.send(commands.mapc(rd.cpu, its.targets[rd.cpu]), its.sync(rd.cpu))
            its.send(commands.invall(rd.cpu), its.sync(rd.cpu))

    def _rdbase(self, its: ItsNode, rd: Redistributor) -> int:
        if not its.pta:
            return rd.processor_number
        if rd.cpu >= len(self.redistributor_bases):
            raise DriverError(
                "EINVAL", f"{its.name} has GITS_TYPER.PTA = 1, and the address of CPU {rd.cpu}'s RD is unknown"
            )
        return self.redistributor_bases[rd.cpu] >> 16
