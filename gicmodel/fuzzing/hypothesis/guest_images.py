# SPDX-License-Identifier: Apache-2.0
"""Guests as KVM saves them: RAM with ITS tables (ABI revision 0), LPI tables and pending bits, and the registers.

An image is drawn as what a guest has mapped, which shrinks to little; `segments` and `registers` are what a tool that
restores it, or looks into it, is given.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from gicmodel.images.segments import Segment
from gicmodel.layouts.kvm_abi import COLLECTION_NOT_MAPPED, KVM_CTE, KVM_DTE, KVM_ITE
from gicmodel.layouts.lpi_tables import FIRST_LPI, bit_of, byte_of
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER, GITS_CTLR
from gicmodel.layouts.registers.redistributor import GICR_CTLR, GICR_PENDBASER, GICR_PROPBASER
from gicmodel.layouts.table import TableType

RAM_BASE, BLOCK = 0x4000_0000, 0x1_0000
DEVICE_TABLE, COLLECTION_TABLE, QUEUE, CONFIGURATION_TABLE, PENDING_TABLES = (RAM_BASE + n * BLOCK for n in range(5))
INTID_BITS = 16
EVENT_BITS = 5
MOST_VCPUS, MOST_DEVICES = 4, 4
ITTS = PENDING_TABLES + MOST_VCPUS * BLOCK
RAM_BYTES = ITTS + BLOCK - RAM_BASE
_PAGE_64K = 2
_ENTRY_BYTES = 8
_ADDRESSES = (0, ITTS, DEVICE_TABLE, RAM_BASE + RAM_BYTES - 0x100, RAM_BASE + RAM_BYTES, 1 << 51)
_TARGETS = (0, MOST_VCPUS, COLLECTION_NOT_MAPPED, (1 << 36) - 1)
"""What a damaged table may name."""

Mapping = tuple[int, int]
"""(INTID, ICID)."""


@dataclass(frozen=True)
class GuestImage:
    """What a guest has mapped: `collections` [ICID] is a vCPU, None for one without; `devices` [DeviceID][EventID].

    `configuration` [INTID] is a byte of the LPI configuration table, 0 where there is none. `pending` are INTIDs, each
    in the pending table of the vCPU that it goes to. `damage` [address] is a 64-bit word of RAM that is another one.
    """

    vcpus: int
    collections: dict[int, int | None]
    devices: dict[int, dict[int, Mapping]]
    configuration: dict[int, int]
    pending: frozenset[int]
    damage: dict[int, int] = field(default_factory=dict)

    def targets(self) -> set[tuple[int, int]]:
        """(vCPU, INTID) of every event whose collection has a vCPU."""
        mapped = [mapping for events in self.devices.values() for mapping in events.values()]
        vcpus = [(self.collections.get(icid), intid) for intid, icid in mapped]
        return {(vcpu, intid) for vcpu, intid in vcpus if vcpu is not None}

    def waiting(self) -> set[tuple[int, int]]:
        """(vCPU, INTID) of everything that is pending."""
        return {(vcpu, intid) for vcpu, intid in self.targets() if intid in self.pending}

    def segments(self) -> list[Segment]:
        """The guest's RAM, as `gicmodel.images.segments` has it."""
        ram = np.zeros(RAM_BYTES, np.uint8)
        words = ram.view("<u8")
        self._write_tables(words)
        for intid, byte in self.configuration.items():
            ram[CONFIGURATION_TABLE - RAM_BASE + intid - FIRST_LPI] = byte
        for vcpu, intid in self.waiting():
            ram[PENDING_TABLES - RAM_BASE + vcpu * BLOCK + byte_of(intid)] |= 1 << bit_of(intid)
        for address, word in self.damage.items():
            words[(address - RAM_BASE) // _ENTRY_BYTES] = word
        return [Segment(RAM_BASE, ram)]

    def registers(self) -> dict[str, dict[str, int]]:
        """The registers beside it, by frame, as `gicmodel.images.registers` has them."""
        redistributor = {
            "CTLR": GICR_CTLR.pack(EnableLPIs=1),
            "PROPBASER": GICR_PROPBASER.pack(Physical_Address=CONFIGURATION_TABLE, IDbits=INTID_BITS - 1),
        }
        frames = {
            f"GICR{vcpu}": redistributor | {"PENDBASER": GICR_PENDBASER.pack(Physical_Address=table)}
            for vcpu, table in enumerate(range(PENDING_TABLES, PENDING_TABLES + self.vcpus * BLOCK, BLOCK))
        }
        its = {
            "CTLR": GITS_CTLR.pack(Enabled=1),
            "CBASER": GITS_CBASER.pack(Valid=1, Physical_Address=QUEUE, Size=BLOCK // 0x1000 - 1),
            "BASER0": _baser(TableType.DEVICES, DEVICE_TABLE),
            "BASER1": _baser(TableType.COLLECTIONS, COLLECTION_TABLE),
        }
        return {"guest": {"ram_base": RAM_BASE, "vcpus": self.vcpus}, "GITS0": its, **frames}

    def _write_tables(self, words: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> None:
        for index, (icid, vcpu) in enumerate(self.collections.items()):
            target = COLLECTION_NOT_MAPPED if vcpu is None else vcpu
            words[_index(COLLECTION_TABLE) + index] = KVM_CTE.pack(V=1, RDBase=target, ICID=icid)
        for index, device_id in enumerate(sorted(self.devices)):
            itt = ITTS + index * (_ENTRY_BYTES << EVENT_BITS)
            following = _distance(self.devices, device_id)
            dte = KVM_DTE.pack(V=1, next=following, ITT_addr=itt, Size=EVENT_BITS - 1)
            words[_index(DEVICE_TABLE) + device_id] = dte
            events = self.devices[device_id]
            for event, (intid, icid) in events.items():
                ite = KVM_ITE.pack(next=_distance(events, event), pINTID=intid, ICID=icid)
                words[_index(itt) + event] = ite


@st.composite
def guest_images(draw: DrawFn, damaged: bool = False) -> GuestImage:
    """Guests of one to four vCPUs with a few devices; `damaged`: some words of their tables are something else."""
    vcpus = draw(st.integers(1, MOST_VCPUS))
    vcpu = st.none() | st.integers(0, vcpus - 1)
    collections = draw(st.dictionaries(st.integers(0, vcpus), vcpu, min_size=1, max_size=vcpus + 1))
    layout = st.lists(st.integers(0, (1 << EVENT_BITS) - 1), unique=True, max_size=4)
    drawn = draw(st.dictionaries(st.integers(0, BLOCK // _ENTRY_BYTES - 1), layout, max_size=MOST_DEVICES))
    events = [(device_id, event) for device_id, of_device in drawn.items() for event in of_device]
    intid = st.integers(FIRST_LPI, FIRST_LPI + 20) | st.integers(FIRST_LPI, (1 << INTID_BITS) - 1)
    intids = draw(st.lists(intid, unique=True, min_size=len(events), max_size=len(events)))
    devices: dict[int, dict[int, Mapping]] = {device_id: {} for device_id in drawn}
    for (device_id, event), number in zip(events, intids, strict=True):
        devices[device_id][event] = number, draw(st.sampled_from(sorted(collections)))
    configuration = {number: draw(st.sampled_from([0xA1, 0xA0, 0x11])) for number in intids}
    pending = draw(st.frozensets(st.sampled_from(intids))) if intids else frozenset()
    return GuestImage(vcpus, collections, devices, configuration, pending, draw(_damage()) if damaged else {})


def _damage() -> SearchStrategy[dict[int, int]]:
    """A few words of the tables: whatever, or a plausible one."""
    places = [range(table, table + 0x80, _ENTRY_BYTES) for table in (DEVICE_TABLE, COLLECTION_TABLE, ITTS)]
    address = st.one_of([st.sampled_from(place) for place in places])
    addresses, targets = st.sampled_from(_ADDRESSES), st.sampled_from(_TARGETS)
    dte = st.builds(lambda size, itt: KVM_DTE.pack(V=1, Size=size, ITT_addr=itt), st.integers(0, 31), addresses)
    ite = st.builds(
        lambda intid, icid: KVM_ITE.pack(pINTID=intid, ICID=icid), st.integers(0, 70_000), st.integers(0, 9)
    )
    cte = st.builds(lambda target, icid: KVM_CTE.pack(V=1, RDBase=target, ICID=icid), targets, st.integers(0, 9))
    word = dte | ite | cte | st.integers(0, (1 << 64) - 1)
    return st.dictionaries(address, word, min_size=1, max_size=3)


def _baser(kind: TableType, address: int) -> int:
    where = {"Physical_Address": address, "Page_Size": _PAGE_64K, "Entry_Size": _ENTRY_BYTES - 1}
    return GITS_BASER.pack(Valid=1, Type=kind, **where)


def _index(address: int) -> int:
    """Place of an address in RAM's words."""
    return (address - RAM_BASE) // _ENTRY_BYTES


def _distance(table: dict[int, object] | dict[int, Mapping] | dict[int, dict[int, Mapping]], identifier: int) -> int:
    """To the next one that is mapped; 0 for the last."""
    return min((other - identifier for other in table if other > identifier), default=0)
