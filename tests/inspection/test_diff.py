# SPDX-License-Identifier: Apache-2.0
"""Two dumps compared, in one format and across formats."""

import pytest

from gicmodel.errors import UnusableInput
from gicmodel.inspection.diff import MOST, Change, compare
from gicmodel.layouts.registers.its import GITS_BASER
from tests.inspection.machine import (
    COLLECTIONS,
    CONFIGURATION,
    DEVICES,
    ITT8,
    ITT16,
    PENDING0,
    PENDING1,
    SPARE,
    VCONF,
    VPES,
    VPT0,
    VPT1,
    Machine,
    SavedGuest,
)


def changes(before, after, make=Machine, **options):
    one, two = make(), make()
    before(one)
    after(two)
    return compare(one.inspect(), two.inspect(), **options).told


def nothing(machine):
    """Change nothing."""


@pytest.mark.parametrize("make", [Machine, SavedGuest])
def test_a_dump_does_not_differ_from_itself(make):
    comparison = compare(make().inspect(), make().inspect())
    assert (comparison.told, comparison.differs) == ([], False)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda m: m.virtual(ITT8, 2, 8200, vpe=1),
            Change("mapping", "added", "device 0x8 event 2", "-", "vINTID 8200 of vPE 1"),
        ),
        (
            lambda m: m.memory.zero(ITT16, 12),
            Change("mapping", "removed", "device 0x10 event 0", "vINTID 8194 of vPE 1", "-"),
        ),
        (
            lambda m: m.physical(ITT8, 0, 8192, icid=1),
            Change(
                "mapping", "changed", "device 0x8 event 0", "INTID 8192 of collection 0", "INTID 8192 of collection 1"
            ),
        ),
        (lambda m: m.collection(1, 0), Change("mapping", "changed", "collection 1", "RDbase 1", "RDbase 0")),
        (lambda m: m.vpe(1, VPT1, RDbase=0), Change("mapping", "changed", "vPE 1", "RDbase 1", "RDbase 0")),
        (
            lambda m: m.configure(CONFIGURATION, 8192, enable=0),
            Change(
                "configuration",
                "changed",
                "INTID 8192 of redistributor 0",
                "enabled, priority 0xa0",
                "disabled, priority 0xa0",
            ),
        ),
        (lambda m: m.pend(VPT0, 8193), Change("pending", "invented", "vINTID 8193 of vPE 0", "-", "pending")),
        (
            lambda m: m.pend(PENDING1, 8192),
            Change("pending", "invented", "INTID 8192 of redistributor 1", "-", "pending"),
        ),
    ],
)
def test_a_change_is_told_and_so_is_its_reverse(change, expected):
    assert expected in changes(nothing, change)
    opposite = {"added": "removed", "removed": "added", "changed": "changed", "invented": "lost"}[expected.what]
    assert expected._replace(what=opposite, before=expected.after, after=expected.before) in changes(change, nothing)


def test_a_moved_table_is_told_and_is_no_difference():
    def move(machine):
        machine.memory.write(SPARE, machine.memory.read(COLLECTIONS, 64))
        machine.set("GITS0", "BASER1", GITS_BASER, Physical_Address=SPARE)

    one, two = Machine(), Machine()
    move(two)
    comparison = compare(one.inspect(), two.inspect())
    assert comparison.told == [
        Change("table", "moved", "collection table (GITS0_BASER1)", hex(COLLECTIONS), hex(SPARE)),
    ]
    assert not comparison.differs


def saved(pending=((PENDING0, 8193), (PENDING1, 8194))):
    """The guest of `Machine`: vLPI 8193 on vCPU 0 and 8194 on vCPU 1, and an interrupt that is not forwarded."""
    guest = SavedGuest()
    guest.memory.zero(ITT8, 64)
    guest.memory.zero(ITT16, 64)
    guest.event(ITT8, 0, 8193, 0, next=1)
    guest.event(ITT8, 1, 8194, 1)
    guest.event(ITT16, 0, 8240, 0)
    for table, intid in pending:
        guest.pend(table, intid)
    return guest


def stopped(pending=((VPT0, 8193), (VPT1, 8194))):
    host = Machine()
    for table, intid in pending:
        host.pend(table, intid)
    return host


def test_a_hosts_vpts_and_the_guests_saved_tables_agree():
    assert compare(stopped().inspect(), saved().inspect()).told == []
    assert compare(saved().inspect(), stopped().inspect()).told == []


def test_a_vlpi_that_the_save_lost_or_invented():
    lost = compare(stopped().inspect(), saved([(PENDING0, 8193)]).inspect())
    assert lost.told == [Change("pending", "lost", "vLPI 8194 of vCPU 1", "pending", "-")]
    assert lost.differs
    invented = compare(stopped([(VPT0, 8193)]).inspect(), saved().inspect())
    assert invented.told == [Change("pending", "invented", "vLPI 8194 of vCPU 1", "-", "pending")]


def test_interrupts_that_are_not_forwarded_are_left_out():
    guest = saved()
    guest.pend(PENDING0, 8240)
    assert compare(stopped().inspect(), guest.inspect()).told == []


def test_a_forwarded_interrupt_that_the_guest_does_not_map_or_configures_otherwise():
    guest = saved()
    guest.memory.zero(ITT8 + 8, 8)
    assert (
        Change("mapping", "removed", "vLPI 8194 of vCPU 1", "mapped", "-")
        in compare(stopped().inspect(), guest.inspect()).told
    )
    host = stopped()
    host.configure(VCONF, 8193, enable=0)
    (change,) = compare(host.inspect(), saved().inspect()).told
    assert (change.kind, change.subject) == ("configuration", "vLPI 8193 of vCPU 0")


def test_vpes_are_named_in_the_order_of_vcpus():
    swapped = compare(stopped().inspect(), saved().inspect(), vpes=[1, 0]).counts
    assert swapped[("pending", "lost")] == 2
    with pytest.raises(UnusableInput, match="the guest has 2 vCPUs and the host 1 vPEs"):
        compare(stopped().inspect(), saved().inspect(), vpes=[1])
    with pytest.raises(UnusableInput, match="vPE 7 is not mapped on the host"):
        compare(stopped().inspect(), saved().inspect(), vpes=[0, 7])


def test_of_many_changes_the_first_are_told_and_all_are_counted():
    one, two = Machine(), Machine()
    for intid in range(9000, 9000 + MOST + 5):
        two.pend(VPT0, intid)
    comparison = compare(one.inspect(), two.inspect())
    assert comparison.counts == {("pending", "invented"): MOST + 5}
    assert len(comparison.told) == MOST


def hole(start, size=0x1_0000):
    return lambda machine: machine.holes.append((start, start + size))


def both(*steps):
    return lambda machine: [step(machine) for step in steps]


def unknown(kind, subject, before, after="?"):
    return Change(kind, "unknown", subject, before, after)


UNTOLD_THINGS = [
    (
        lambda m: m.pend(VPT1, 8194),
        hole(VPT1),
        [unknown("pending", "vINTID 8194 of vPE 1", "pending")],
    ),
    (
        lambda m: m.pend(PENDING0, 8192),
        hole(PENDING0 + 0x400, 0x1000),
        [unknown("pending", "INTID 8192 of redistributor 0", "pending")],
    ),
    (
        lambda m: m.pend(PENDING1, 8192),
        lambda m: m.registers["GICR1"].pop("PENDBASER"),
        [unknown("pending", "INTID 8192 of redistributor 1", "pending")],
    ),
    (
        nothing,
        hole(ITT16, 16),
        [unknown("mapping", "device 0x10 event 0", "vINTID 8194 of vPE 1")],
    ),
    (
        nothing,
        hole(DEVICES, 0x100),
        [
            unknown("mapping", "device 0x8 event 0", "INTID 8192 of collection 0"),
            unknown("mapping", "device 0x8 event 1", "vINTID 8193 of vPE 0"),
            unknown("mapping", "device 0x10 event 0", "vINTID 8194 of vPE 1"),
        ],
    ),
    (
        nothing,
        hole(COLLECTIONS),
        [unknown("mapping", f"collection {n}", f"RDbase {n}") for n in range(2)],
    ),
    (nothing, hole(VPES + 8, 8), [unknown("mapping", "vPE 1", "RDbase 1")]),
    (
        nothing,
        hole(CONFIGURATION),
        [unknown("configuration", "INTID 8192 of redistributor 0", "enabled, priority 0xa0")],
    ),
]


@pytest.mark.parametrize(("there", "lacking", "expected"), UNTOLD_THINGS)
def test_what_a_dump_lacks_is_neither_lost_nor_removed(there, lacking, expected):
    """A pending table that was not in the second dump made every interrupt of it lost."""
    of_interest = {change.kind for change in expected}
    told = [change for change in changes(there, both(there, lacking)) if change.kind in of_interest]
    assert [change for change in told if change in expected or change.kind == "pending"] == expected
    assert {change.what for change in told} == {"unknown"}
    reverse = [change for change in changes(both(there, lacking), there) if change.kind in of_interest]
    assert [change._replace(before=change.after, after=change.before) for change in reverse] == told
    one, two = Machine(), Machine()
    there(one)
    both(there, lacking)(two)
    assert compare(one.inspect(), two.inspect()).differs, "equal is what is known to be equal"


def test_what_a_dump_shows_is_lost_or_removed_though_other_parts_are_absent():
    def removed(machine):
        machine.memory.zero(ITT8, 12)
        machine.memory.zero(VPT0 + 0x400, 16)
        machine.holes += [(VPT1, VPT1 + 0x1_0000), (ITT16, ITT16 + 16)]

    def there(machine):
        machine.pend(VPT0, 8193)
        machine.pend(VPT0, 8192 + 65)

    told = changes(there, both(there, removed))
    assert Change("mapping", "removed", "device 0x8 event 0", "INTID 8192 of collection 0", "-") in told
    assert [change.subject for change in told if change.what == "lost"] == [
        "vINTID 8193 of vPE 0",
        "vINTID 8257 of vPE 0",
    ]


def test_an_its_whose_registers_are_not_given_has_removed_nothing():
    told = changes(nothing, lambda m: m.registers.pop("GITS0"))
    assert {change.what for change in told if change.kind == "mapping"} == {"unknown"}


def test_what_was_not_read_to_its_end_has_lost_nothing():
    one, two = Machine(), Machine()
    one.pend(VPT1, 8194)
    comparison = compare(one.inspect(), two.inspect(limit=2))
    assert {what for kind, what in comparison.counts if kind != "table"} == {"unknown"}


@pytest.mark.parametrize("side", ["host", "guest"])
def test_a_save_loses_nothing_that_cannot_be_seen(side):
    host, guest = stopped(), saved()
    if side == "guest":
        guest.holes.append((PENDING1, PENDING1 + 0x1_0000))
        told = compare(host.inspect(), guest.inspect()).told
    else:
        host.holes.append((VPT1, VPT1 + 0x1_0000))
        told = compare(guest.inspect(), host.inspect()).told
    assert told == [unknown("pending", "vLPI 8194 of vCPU 1", "pending")]
    guest, host = saved(), stopped()
    guest.holes.append((ITT8, ITT8 + 0x10))
    told = compare(host.inspect(), guest.inspect()).told
    assert {change.what for change in told} == {"unknown"}
    assert [change for change in told if change.kind == "mapping"] == [
        unknown("mapping", f"vLPI {8193 + n} of vCPU {n}", "mapped") for n in range(2)
    ]
