# SPDX-License-Identifier: Apache-2.0
"""A GICv3, GICv4.0 or GICv4.1 driver as Linux has one: the only software that writes commands.

Commands and register writes are those of Linux 6.12's irq-gic-v3-its.c and irq-gic-v4.c, in their order. It differs on
purpose in this:

- An operation on many events, such as `lpis.free_device`, shares SYNCs among them, and reloads their configuration by
  INV where Linux writes GICR_INVLPIR for each (`lpis`). Inside `gic.batch` the ITS is told later.
- vPEs that are mapped or unmapped together have the bytes of their doorbells written first, and then their commands,
  those of one vPE after the other as Linux sends them, published at once for each ITS.
- The caller says which CPU an interrupt goes to (Linux: its_select_cpu). `lpis.mask` and its like are refused for a
  forwarded event, and so is `vlpis.map` under another vINTID, which Linux notes and then sends VMOVI.
- `vpes.set_affinity` of a GICv4.0 vPE that is not mapped yet notes the CPU. Linux changes the effective affinity and
  not col_idx, so that a vPE that runs while its VM gets its first vLPI is mapped to the wrong redistributor.
- Physical LPIs and doorbells have priority 0xA0, GICD_INT_DEF_PRI, as in Linux 6.1. Linux 6.12 takes 0xC0 or 0x80, by
  the security states that the distributor and the CPU have (gic_prio_init), which no part of this model has.
- A redistributor need not have two-level vPE tables: GICR_VPROPBASER.Indirect is probed with the page size. A
  collection table has an entry for every CPU, where Linux makes it one page; no table is rounded up to a power of two.
- A table or number space that is exhausted is an error at once: Linux first tries fewer LPIs for a device.
- What is not there: errata, tables that an earlier kernel reserved, suspend, CPUs that go offline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gicmodel.driver.allocator import PageAllocator
from gicmodel.driver.doorbells import Doorbells
from gicmodel.driver.host_gic import HostGic
from gicmodel.driver.lpis import PhysicalLpis
from gicmodel.driver.port import GicPort, Relax
from gicmodel.driver.vlpis import VirtualLpis
from gicmodel.driver.vpes import VirtualPes
from gicmodel.driver.vsgis import VirtualSgis


class GicDriver:
    """A driver of one GIC, through its registers and tables in RAM alone.

    Its parts bear the subjects of Linux' functions: `vpes.schedule` is its_vpe_schedule, `vlpis.map` its_vlpi_map,
    `lpis.create_device` its_create_device. `gic` is what probing found. Every operation returns when the ITS has read
    its commands, except inside `gic.batch`. A driver that does something else has its own class for that part.

        driver = GicDriver(gic, PageAllocator(memory, start, end))
        driver.probe()
        device = driver.lpis.create_device(0x42, 8)

    Args:
        gic: the registers.
        allocator: the part of RAM that is this driver's, for tables.
        lpi_id_bits: width of INTIDs, physical and virtual (GICD_TYPER.IDbits + 1).
        vpe_id_bits: width of vPEIDs (GICD_TYPER2.VID + 1).
        redistributor_bases: physical address of each RD_base, as firmware tells it; for GITS_TYPER.PTA = 1 only.
        relax: called between two reads of a register that is polled, to let a GIC that runs in steps run.
    """

    lpis_class: ClassVar[type[PhysicalLpis]] = PhysicalLpis
    vpes_class: ClassVar[type[VirtualPes]] = VirtualPes
    vlpis_class: ClassVar[type[VirtualLpis]] = VirtualLpis

    def __init__(
        self,
        gic: GicPort,
        allocator: PageAllocator,
        lpi_id_bits: int = 16,
        vpe_id_bits: int = 16,
        redistributor_bases: Sequence[int] = (),
        relax: Relax = lambda: None,
    ) -> None:
        self.gic = HostGic(gic, allocator, lpi_id_bits, vpe_id_bits, redistributor_bases, relax)
        self.lpis = self.lpis_class(self.gic)
        self.doorbells = Doorbells(self.gic, self.lpis)
        self.vpes = self.vpes_class(self.gic, self.lpis, self.doorbells)
        self.vlpis = self.vlpis_class(self.gic, self.lpis, self.vpes)
        self.vsgis = VirtualSgis(self.gic)

    def probe(self) -> None:
        """Boot: every ITS gets its tables and its queue, every redistributor its tables, every CPU its collections.

        The other CPUs come up when the first has set up the ITSs.

        Raises:
            DriverError: what the hardware refuses, or ENOMEM.
        """
        for rd in self.gic.redistributors:
            rd.forget_vpes()
        first, *others = self.gic.redistributors
        first.wake()
        self.gic.its_init()
        self.doorbells.its_init_vpe_domain()
        self.gic.its_cpu_init(first)
        for rd in others:
            rd.wake()
            self.gic.its_cpu_init(rd)
