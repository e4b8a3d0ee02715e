# SPDX-License-Identifier: Apache-2.0
"""What only a kernel's debug information leads to: how Linux handles an LPI, and what KVM has of a guest's events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.memory import ADDRESS_BITS

_ALIGNMENT = 1 << 12
_MOST_ID_BITS = 16
"""ITS_MAX_LPI_NRBITS."""


class Interrupt(NamedTuple):
    """How Linux handles an LPI: its number, the names of its handlers, its device and that one's driver, its CPUs.

    `pending` is IRQS_PENDING: it came while it could not be handled, and waits in software. None: not in the dump.
    """

    irq: int
    handlers: str | None
    device: str | None
    driver: str | None
    cpus: str | None
    pending: bool | None

    def __str__(self) -> str:
        return f"irq {self.irq} {'(handler unknown)' if self.handlers is None else self.handlers or '(no handler)'}"


class Guest(NamedTuple):
    """A VM of KVM: the process that runs it, and its name, None where the dump lacks it."""

    pid: int
    name: str | None

    def __str__(self) -> str:
        return f"VM of pid {self.pid} ({self.name})" if self.name else f"VM of pid {self.pid}"


class GuestEvent(NamedTuple):
    """An event of a guest's own ITS, at `its` in its addresses, as KVM has it: struct its_ite and its struct vgic_irq.

    `host_irq` is Linux's number of the interrupt that is forwarded to it, where `hw` says that one is. `vcpu` is None
    while the event's collection is not mapped.
    """

    pid: int
    its: int
    device_id: int
    event_id: int
    vintid: int
    vcpu: int | None
    enabled: bool
    pending_latch: bool
    active: bool
    hw: bool
    host_irq: int
    priority: int


@dataclass
class Rdists:
    """struct rdists: the LPI configuration table, the bits of an LPI's INTID, and by CPU the pending table and the
    redistributor."""

    property_table: int
    id_bits: int
    pending_tables: dict[int, int] = field(default_factory=dict)
    redistributors: dict[int, int] = field(default_factory=dict)

    @property
    def problem(self) -> str:
        """Why it cannot be as Linux has it; empty if nothing is wrong."""
        places = (self.property_table, *self.pending_tables.values(), *self.redistributors.values())
        if not FIRST_LPI < 1 << min(self.id_bits, 64) <= 1 << _MOST_ID_BITS or any(at % _ALIGNMENT for at in places):
            return f"struct rdists has {self.id_bits} bits of an LPI, tables at {places[0]:#x}"
        if any(place >> ADDRESS_BITS for place in places):
            return f"struct rdists has a table beyond {ADDRESS_BITS} bits of address"
        return ""
