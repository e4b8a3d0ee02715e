# SPDX-License-Identifier: Apache-2.0
"""A GICv3, GICv4.0 or GICv4.1 driver as Linux has one: the only software that writes commands.

Commands and register writes are those of Linux 6.12's irq-gic-v3-its.c and irq-gic-v4.c, in their order. It differs on
purpose in this:

- An operation on many events, such as `its_free_device`, shares SYNCs among them, and reloads their configuration by
  INV where Linux writes GICR_INVLPIR for each (`lpis`). Inside `batch` the ITS is told later.
- The caller says which CPU an interrupt goes to (Linux: its_select_cpu). `irq_mask` and its like are refused for a
  forwarded event, and so is `its_map_vlpi` under another vINTID, which Linux notes and then sends VMOVI.
- `vpe_set_affinity` of a GICv4.0 vPE that is not mapped yet notes the CPU. Linux changes the effective affinity and not
  col_idx, so that a vPE that runs while its VM gets its first vLPI is mapped to the wrong redistributor.
- Physical LPIs and doorbells have priority 0xA0, GICD_INT_DEF_PRI, as in Linux 6.1. Linux 6.12 takes 0xC0 or 0x80, by
  the security states that the distributor and the CPU have (gic_prio_init), which no part of this model has.
- A redistributor need not have two-level vPE tables: GICR_VPROPBASER.Indirect is probed with the page size. A
  collection table has an entry for every CPU, where Linux makes it one page; no table is rounded up to a power of two.
- A table or number space that is exhausted is an error at once: Linux first tries fewer LPIs for a device.
- What is not there: errata, tables that an earlier kernel reserved, suspend, CPUs that go offline.
"""

from __future__ import annotations

from gicmodel.driver.vsgis import VirtualSgis


class GicDriver(VirtualSgis):
    """A driver of one GIC, through its registers and tables in RAM alone.

    Each base class adds one subject to the one before: `Boot`, `PhysicalLpis`, `Doorbells`, `VirtualPes`,
    `VirtualLpis`, `VirtualSgis`. Names are Linux' too. Every operation returns when the ITS has read its commands,
    except inside `batch`.

        driver = GicDriver(gic, memory, PageAllocator(memory, start, end))
        driver.probe()
    """
