# SPDX-License-Identifier: Apache-2.0
"""What there is: mappings of each ITS, pending sets of each redistributor, one VPT for each address; of SGIs, PPIs and
SPIs sets of INTIDs, and of each PE its physical and virtual CPU interface."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from gicmodel.spec.priorities import Interface

FIRST_PPI, FIRST_SPI, FIRST_SPECIAL, FIRST_LPI = 16, 32, 1020, 8192
"""SGIs are below FIRST_PPI; from FIRST_SPECIAL to 1023 no INTID is an interrupt."""
SPURIOUS = 1023
"""What an acknowledge returns when there is nothing to take."""
NO_DOORBELL = 1023
ROUTE = ("Aff3", "Interrupt_Routing_Mode", "Aff2", "Aff1", "Aff0")
LIST_REGISTER = ("State", "HW", "Group", "NMI", "Priority", "pINTID", "vINTID")
"""The fields of GICD_IROUTER<n> and ICH_LR<n>_EL2."""
SMALLEST_VPT_BITS = 14
"""The fewest vINTID bits of a VPT: enough for the first LPI (IHI0069F 5.3.18)."""


class Reason(IntEnum):
    """The last byte of a command error number."""

    DEVICE_OOR = 0x01
    MOVALL_PROCNUM_OOR = 0x01
    ITTSIZE_OOR = 0x02
    PROCNUM_OOR = 0x02
    COLLECTION_OOR = 0x03
    UNMAPPED_DEVICE = 0x04
    ID_OOR = 0x05
    PHYSICALID_OOR = 0x06
    UNMAPPED_INTERRUPT = 0x07
    UNMAPPED_COLLECTION = 0x09
    ITE_INVALID = 0x10
    VCPU_OOR = 0x11
    VPTSIZE_OOR = 0x12
    VIRTUALID_OOR = 0x13
    VCPU_INVALID = 0x14
    ID_IS_PHYSICAL = 0x15
    ITEVCPU_INVALID = 0x16
    CMDVCPU_INVALID = 0x17
    VCPU_MAPPED = 0x18
    VCPU_RESIDENT = 0x19
    UNKNOWN_COMMAND = 0xFD


class Syndrome(IntEnum):
    """GITS_STATUSR.Syndrome: why an MSI went nowhere. `FORWARDED` is our word for one that did not."""

    FORWARDED = -1
    UNKNOWN = 0b0000
    DEVICE_OOR = 0b0010
    DEVICE_UNMAPPED = 0b0011
    EVENT_OOR = 0b0100
    EVENT_UNMAPPED = 0b0101
    COLLECTION_UNMAPPED = 0b0111
    VPE_UNMAPPED = 0b1001


class Refused(Exception):
    """A command error, on its way from the check that found it to `AbstractGic.execute`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def check(condition: bool, reason: Reason) -> None:
    """One line of a command's checks. Raises Refused if `condition` does not hold."""
    if not condition:
        raise Refused(reason)


@dataclass(frozen=True)
class Device:
    """A DTE: the ITT's address, which names the ITT, and how many EventIDs it holds."""

    itt: int
    events: int


@dataclass(frozen=True)
class PhysicalEvent:
    """An ITE that leads to a collection."""

    intid: int
    icid: int


@dataclass(frozen=True)
class VirtualEvent:
    """An ITE that leads to a vPE."""

    vintid: int
    vpeid: int
    doorbell: int


Event = PhysicalEvent | VirtualEvent


@dataclass
class Vpe:
    """What VMAPP binds a vPEID to. In GICv4.1 all ITSs share one object, in GICv4.0 each has its own."""

    vpeid: int
    redistributor: int
    vpt: int
    vintid_bits: int
    vconf: int = 0
    default_doorbell: int = NO_DOORBELL
    armed: bool = False
    groups: frozenset[int] = frozenset()
    """Virtual groups enabled at the last residency."""


@dataclass(frozen=True)
class Lpi:
    """Where a physical event ends: an LPI of a redistributor."""

    redistributor: int
    intid: int


@dataclass(frozen=True)
class Vlpi:
    """Where a virtual event ends: a vLPI of a vPE, and the event's individual doorbell."""

    vpe: Vpe
    vintid: int
    doorbell: int


@dataclass(frozen=True)
class Vsgi:
    """What VSGI configures for one vSGI. `priority` is the 8-bit priority, a multiple of 16."""

    enable: bool
    priority: int
    group: int


DISABLED_VSGI = Vsgi(False, 0, 0)


@dataclass
class Vpt:
    """One virtual pending table: vINTIDs of pending vLPIs and vSGIs, and the configuration of the 16 vSGIs."""

    pending: set[int] = field(default_factory=set)
    vsgis: dict[int, Vsgi] = field(default_factory=dict)


@dataclass(frozen=True)
class Residency:
    """What GICR_VPENDBASER (and in GICv4.0 GICR_VPROPBASER) says while Valid is 1."""

    vpt: int
    vconf: int
    vintid_bits: int
    groups: frozenset[int]
    vpeid: int | None
    """None in GICv4.0, where the VPT's address tells which vPE it is."""


@dataclass
class Redistributor:
    """One redistributor: EnableLPIs, its LPI pending table, the vPE that is resident, and whether its PE sleeps."""

    asleep: bool = False
    enabled: bool = False
    pending: set[int] = field(default_factory=set)
    residency: Residency | None = None


@dataclass
class Bank:
    """The SGIs and PPIs of one PE, or all SPIs: which there are, and which of them are what.

    `latched` is what an edge, an SGI or software has made pending, `high` which inputs are. An interrupt that is not
    in `group1` is of Group 0. `routes` are the GICD_IROUTER<n>.
    """

    intids: range
    edge: set[int]
    group1: set[int] = field(default_factory=set)
    enabled: set[int] = field(default_factory=set)
    latched: set[int] = field(default_factory=set)
    high: set[int] = field(default_factory=set)
    active: set[int] = field(default_factory=set)
    priorities: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    routes: defaultdict[int, Fields] = field(default_factory=lambda: defaultdict(lambda: dict.fromkeys(ROUTE, 0)))

    @property
    def pending(self) -> set[int]:
        """A level-sensitive interrupt is pending while its input is high, too."""
        return self.latched | (self.high - self.edge)


@dataclass
class VirtualInterface(Interface):
    """What a hypervisor controls besides: the fields of ICH_HCR_EL2, and the list registers as their fields."""

    control: Fields = field(default_factory=lambda: defaultdict(int))
    list_registers: list[Fields] = field(default_factory=list)


@dataclass
class Pe:
    """What one PE has for itself: SGIs and PPIs, and its two CPU interfaces."""

    bank: Bank
    physical: Interface
    virtual: VirtualInterface


def new_pe(list_registers: int) -> Pe:
    """A PE as after reset."""
    sgis, both = set(range(FIRST_PPI)), range(FIRST_SPI)
    return Pe(
        Bank(both, edge=sgis),
        Interface(),
        VirtualInterface(list_registers=[dict.fromkeys(LIST_REGISTER, 0) for _ in range(list_registers)]),
    )


Fields = dict[str, int]
"""The fields of a register by the names that its layout has."""


class Operands(dict[str, int]):
    """The fields of a command by the names of `layouts.commands`; 0 for one that was left out."""

    def __missing__(self, name: str) -> int:
        return 0


Command = tuple[str, dict[str, int]]
"""A mnemonic and its operands."""


class Failure(NamedTuple):
    """A command error: on which ITS, the command's place among all of its queue, and the error number."""

    its: int
    place: int
    number: int


@dataclass
class Its:
    """One ITS: its mappings, and the commands that its queue still holds."""

    enabled: bool = False
    devices: dict[int, Device] = field(default_factory=dict)
    collections: dict[int, int] = field(default_factory=dict)
    vpes: dict[int, Vpe] = field(default_factory=dict)
    waiting: deque[Command] = field(default_factory=deque)
    completed: int = 0
    stalled: bool = False
