# SPDX-License-Identifier: Apache-2.0
"""From reset to a GIC that delivers LPIs: the boot of Linux' irq-gic-v3-its.c, and what every part works with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from gicmodel.driver.allocator import PageAllocator
from gicmodel.driver.commands import Operand, command, within
from gicmodel.driver.errors import DriverError
from gicmodel.driver.its import ItsNode
from gicmodel.driver.port import GicPort, Relax
from gicmodel.driver.redistributor import Redistributor
from gicmodel.driver.tables import ConfigurationTable, its_allocate_pending_table
from gicmodel.layouts.commands import INVALL, MAPC


class HostGic:
    """The GIC as probing finds it: ITSs, redistributors, the LPI configuration table. Collection n belongs to CPU n.

    The arguments are those of `GicDriver`.
    """

    def __init__(
        self,
        gic: GicPort,
        allocator: PageAllocator,
        lpi_id_bits: int,
        vpe_id_bits: int,
        redistributor_bases: Sequence[int],
        relax: Relax,
    ) -> None:
        self.memory = allocator.memory
        self.allocator = allocator
        self.lpi_id_bits = lpi_id_bits
        self.vpe_id_bits = vpe_id_bits
        self.redistributor_bases = redistributor_bases
        self.redistributors = [Redistributor(cpu, frame, relax) for cpu, frame in enumerate(gic.redistributors)]
        self.its = [ItsNode(number, frame, allocator, relax) for number, frame in enumerate(gic.its)]
        has_vlpis = all(rd.is_v4 for rd in self.redistributors)
        self.is_v4 = has_vlpis and any(its.is_v4 for its in self.its)
        self.is_v41 = self.is_v4 and all(rd.is_v41 for rd in self.redistributors)
        self.direct_lpi = all(rd.direct_lpi for rd in self.redistributors)
        self.its_list: list[int] = []
        self.lpi_configuration = ConfigurationTable(allocator, lpi_id_bits)

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

    def check_cpus(self, cpus: Operand) -> None:
        """DriverError EINVAL unless all of `cpus` are CPUs."""
        if not within(cpus, self.nr_cpus):
            raise DriverError("EINVAL", f"CPUs are 0..{self.nr_cpus - 1}")

    def its_init(self) -> None:
        """Give every ITS its tables and its queue. DriverError: what the hardware refuses, or ENOMEM."""
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
            if its.svpet and other.shares_vpe_table() and its.affinity_group() == other.affinity_group():
                return other
        return None

    def its_cpu_init(self, rd: Redistributor) -> None:
        """Give a CPU's redistributor its tables, and the CPU its collections; errors as `its_init`."""
        pending_table = its_allocate_pending_table(self.allocator, self.lpi_id_bits)
        rd.enable_lpis(self.lpi_configuration.address, pending_table, self.lpi_id_bits)
        if self.is_v41:
            rd.evict()
            earlier = self.redistributors[: rd.cpu]
            rd.allocate_vpe_l1_table(earlier, self.its_nodes, self.allocator, self.vpe_id_bits)
        elif self.is_v4:
            rd.prepare(self.lpi_id_bits)
        for its in self.its_nodes:
            its.targets.append(self._rdbase(its, rd))
            its.send(command(MAPC, ICID=rd.cpu, RDbase=its.targets[rd.cpu], V=1), its.sync(rd.cpu))
            its.send(command(INVALL, ICID=rd.cpu), its.sync(rd.cpu))

    def _rdbase(self, its: ItsNode, rd: Redistributor) -> int:
        if not its.pta:
            return rd.processor_number
        if rd.cpu >= len(self.redistributor_bases):
            raise DriverError(
                "EINVAL", f"{its.name} has GITS_TYPER.PTA = 1, and the address of CPU {rd.cpu}'s RD is unknown"
            )
        return self.redistributor_bases[rd.cpu] >> 16
