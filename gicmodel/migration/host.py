# SPDX-License-Identifier: Apache-2.0
"""A host: RAM, a GIC, the driver that has booted it, and which KVM it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gicmodel.config import GicConfig
from gicmodel.driver import GicDriver, PageAllocator
from gicmodel.driver.port import GicPort
from gicmodel.hardware import Gic
from gicmodel.kvm.behaviour import NEWEST, KvmBehaviour
from gicmodel.layouts.lpi_tables import SPURIOUS
from gicmodel.layouts.registers.distributor import GICD_CTLR
from gicmodel.memory import GuestMemory

RAM_BASE, RAM_BYTES = 0x8000_0000, 4 << 30
"""A window that costs nothing until it is touched."""

WIDEST_INTID, NARROWEST_INTID, FIRST_LPI_BITS = 24, 16, 13


class Host:
    """One machine. Raises DriverError if its GIC cannot be brought up.

    Args:
        name: how messages call it.
        config: the GIC; see `config_for` for one with room for a given number of LPIs.
        ram_bytes: RAM for the GIC's tables, in whole pages.
        behaviour: the Linux release that its KVM is of.
        port: what stands between the driver and the GIC, such as a stopwatch; by default nothing.
        driver_class: another driver than the model's.
    """

    def __init__(
        self,
        name: str,
        config: GicConfig,
        ram_bytes: int = RAM_BYTES,
        behaviour: KvmBehaviour = NEWEST,
        port: Callable[[Gic], GicPort] | None = None,
        driver_class: type[GicDriver] = GicDriver,
    ) -> None:
        self.name = name
        self.config = config
        self.behaviour = behaviour
        self.unresponsive: set[int] = set()
        """DeviceIDs of devices that no longer answer, until they are reset; they go on with what they do."""
        self.broken: set[int] = set()
        """DeviceIDs of devices that cannot be reset."""
        self.memory = GuestMemory(RAM_BASE, ram_bytes)
        self.gic = Gic(config, self.memory)
        allocator = PageAllocator(self.memory, RAM_BASE, RAM_BASE + ram_bytes)
        self.driver = driver_class(
            port(self.gic) if port else self.gic,
            allocator,
            lpi_id_bits=config.intid_bits,
            vpe_id_bits=config.vpe_id_bits,
            redistributor_bases=[config.redistributor_frames(cpu) for cpu in range(config.redistributors)],
            relax=self.gic.step,
        )
        # What Linux' irq-gic-v3.c writes before its ITS driver begins (gic_dist_init). Without vSGIs nASSGIreq is RES0.
        self.gic.distributor.write(0, GICD_CTLR.pack(EnableGrp0=1, EnableGrp1=1, ARE=1, nASSGIreq=1), 4)
        self.driver.probe()

    @property
    def cpus(self) -> int:
        """Host CPUs, one a redistributor."""
        return len(self.gic.redistributors)

    def take_interrupts(self) -> list[int]:
        """Acknowledge every pending physical LPI on every CPU, as the host's interrupt handler does; their INTIDs."""
        taken = []
        for redistributor in self.gic.redistributors:
            while (intid := redistributor.cpu.acknowledge()) != SPURIOUS:
                taken.append(intid)
        return taken


def config_for(config: GicConfig, lpis: int) -> GicConfig:
    """`config` with INTIDs wide enough for `lpis` physical LPIs, doorbells included.

    Raises:
        ValueError: there is no such width.
    """
    bits = max(NARROWEST_INTID, (lpis + (1 << FIRST_LPI_BITS) - 1).bit_length())
    if bits > WIDEST_INTID:
        raise ValueError(f"{lpis} LPIs need {bits} INTID bits; the model has at most {WIDEST_INTID}")
    return replace(config, intid_bits=max(bits, config.intid_bits))
