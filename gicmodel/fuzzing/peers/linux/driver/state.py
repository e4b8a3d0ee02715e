# SPDX-License-Identifier: Apache-2.0
"""What there is on a host, as its devices, CPUs and guests see it: no command, no register, no table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gicmodel.config import GicConfig
from gicmodel.fuzzing.peers.linux.driver.machine import EventKey, VpeKey
from gicmodel.layouts.lpi_tables import LPI_CONFIGURATION, VSGIS


@dataclass(eq=False)
class Interrupt:
    """An event of a device: the LPI that it is, or the vLPI of `vpe`."""

    key: EventKey
    intid: int
    requested: bool = False
    masked: bool = False
    pending: bool = False
    cpu: int = 0
    vpe: Vpe | None = None
    vintid: int = 0

    @property
    def is_physical(self) -> bool:
        """Whether the kernel has it, and no guest."""
        return self.requested and self.vpe is None


@dataclass(eq=False)
class Vsgi:
    """A vSGI of a vPE; `began`: the driver has it."""

    began: bool = False
    enabled: bool = False
    group: int = 0
    priority: int = 0


@dataclass(eq=False)
class Vpe:
    """A vPE: where it runs, what is pending, whether its doorbell is to ring, where one may be waiting already.

    `must_ring`: one waits for sure, and nobody has taken it yet. `old`: what may wait is of before the vPE ran last;
    when one is taken then, it is `doubtful` whether another may come.
    """

    key: VpeKey
    vm: Vm
    doorbell: int
    may_ring: bool
    pending: set[int] = field(default_factory=set)
    cpu: int | None = None
    group0: bool = False
    armed: bool = False
    must_ring: bool = False
    old: bool = False
    doubtful: bool = False
    vsgis: list[Vsgi] = field(default_factory=lambda: [Vsgi() for _ in range(VSGIS)])

    def enables(self, intid: int) -> bool:
        """Whether a vSGI or vLPI is enabled."""
        if intid >= VSGIS:
            return bool(LPI_CONFIGURATION.unpack(self.vm.bytes[intid])["Enable"])
        vsgi = self.vsgis[intid]
        return vsgi.enabled and bool(vsgi.group or self.group0)

    def priority(self, intid: int) -> int:
        """The priority of a vSGI or vLPI."""
        if intid >= VSGIS:
            return LPI_CONFIGURATION.unpack(self.vm.bytes[intid])["Priority"]
        return self.vsgis[intid].priority


@dataclass(eq=False)
class Vm:
    """A VM, with the configuration bytes of its vLPIs; `moved`: a vPE of it may be elsewhere than on the first CPU."""

    number: int
    vpes: list[Vpe] = field(default_factory=list)
    bytes: dict[int, int] = field(default_factory=dict)
    moved: bool = False

    @property
    def stands_still(self) -> bool:
        """Whether no vPE runs."""
        return all(vpe.cpu is None for vpe in self.vpes)


class HostState:
    """A host.

    `stale`: doorbells of VMs that have ended, which may be pending yet for whoever gets their LPIs.
    """

    def __init__(self, config: GicConfig) -> None:
        self.config = config
        self.clear()

    def clear(self) -> None:
        """It has just booted."""
        self.online = set(range(self.config.redistributors))
        self.devices: dict[tuple[int, int], list[Interrupt]] = {}
        self.vms: dict[int, Vm] = {}
        self.stale: set[int] = set()

    def event(self, its: int, device_id: int, number: int) -> Interrupt | None:
        """An event of a device, if there is one."""
        device = self.devices.get((its, device_id), [])
        return device[number] if number < len(device) else None

    def vm(self, number: int) -> Vm | None:
        """A VM, if there is one."""
        return self.vms.get(number)

    def vpe(self, vm: int, vcpu: int) -> Vpe | None:
        """The vPE of a vCPU, if there is one."""
        vpes = self.vms[vm].vpes if vm in self.vms else []
        return vpes[vcpu] if vcpu < len(vpes) else None

    @property
    def events(self) -> Iterator[Interrupt]:
        """Every event of every device."""
        for device in self.devices.values():
            yield from device

    @property
    def vpes(self) -> Iterator[Vpe]:
        """Every vPE."""
        for vm in self.vms.values():
            yield from vm.vpes

    def forwarded_to(self, vm: Vm) -> list[Interrupt]:
        """The events that are vLPIs of a VM."""
        return [each for each in self.events if each.vpe is not None and each.vpe.vm is vm]
